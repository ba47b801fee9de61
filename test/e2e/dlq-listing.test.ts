/** `runner dlq ls` knows what is done, and shows every record, whatever the sink, the dlq, a switch or a header is. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { brokers, consumeAll, createTopic, produce } from '../support/kafka.ts'
import { database, sql } from '../support/postgres.ts'
import { cli, redisUrl } from '../support/redis.ts'
import { runRunner, tempDir } from '../support/runner.ts'
import { unique } from '../support/unique.ts'

const FLOWS = new URL('../../pipelines/', import.meta.url).pathname
const INPUT = '{"n":1}\n{"n":"x"}\n{"n":3}\n{"n":"y"}\n'

/** `env` also for the dlq, whose topic is `dead`. */
type Sinks = () => Promise<{ sinks: string; delivery?: string; env?: Record<string, string>; dlq?: string; made?: number }>

const cases: Record<string, Sinks> = {
  'PostgreSQL, exactly once': async () => ({ ...(await table()), delivery: 'exactly_once' }),
  'PostgreSQL, at least once': async () => table(),
  'PostgreSQL, and a dlq on brokers': async () => ({
    ...(await table()),
    env: { KAFKA_BROKERS: brokers() },
    dlq: `kafka: ${await createTopic(unique('dead'))}`,
  }),
  'PostgreSQL, and a dlq that is a file': async () => ({ ...(await table()), dlq: 'file: dead.jsonl' }),
  PGlite: async () => ({ sinks: `[{ postgres: { dsn: "pglite:", statements: [{ sql: "select $message::text" }], idempotent: true } }]` }),
  Redis: async () => ({ sinks: `[{ redis: { url: "${redisUrl()}", list: ${unique('list')} } }]` }),
  'a file': async () => ({ sinks: '[{ file: out.jsonl }]' }),
  'Kafka on brokers': async () => ({
    sinks: `[{ kafka: ${await createTopic(unique('out'))} }]`,
    env: { KAFKA_BROKERS: brokers() },
    dlq: `kafka: ${await createTopic(unique('dead'))}`,
  }),
  'Kafka, embedded': async () => ({ sinks: '[{ kafka: out }]' }),
  'PostgreSQL and a file': async () => {
    const { sinks } = await table()
    return { sinks: sinks.replace(/\]$/, ', { file: out.jsonl }]') }
  },
}

async function table(): Promise<{ sinks: string }> {
  const dsn = await database()
  await sql(dsn, 'create table numbers (n numeric)')
  return { sinks: `[{ postgres: { dsn: "${dsn}", table: numbers, columns: { n: n } } }]` }
}

describe.each(Object.entries(cases))('the sink is %s', (_, setting) => {
  test('replayed and discarded dead letters are done, and a second replay writes nothing', async () => {
    const { sinks, delivery = 'at_least_once', env = {}, dlq = 'kafka: dead' } = await setting()
    const cwd = tempDir({ 'in.jsonl': INPUT })
    const name = unique('p')
    const write = (map: string): void =>
      writeFileSync(
        join(cwd, 'p.yaml'),
        `name: ${name}\nsources: [{ file: in.jsonl }]\ntransforms: [{ map: { fields: { n: "${map}" } } }]\nsinks: ${sinks}\ndlq: { ${dlq} }\ndelivery: ${delivery}\n`,
      )
    write('n * 2.0')
    const runner = (...args: string[]) => runRunner(args, { cwd, env: { KAFKA_BROKERS: undefined, ...env } })
    const json = async (...args: string[]) => {
      const { stdout, stderr } = await runner('dlq', ...args, '--json')
      expect(stdout, stderr).not.toBe('')
      return JSON.parse(stdout)
    }
    const first = await runner('run', 'p.yaml')
    expect(first.code, first.stderr).toBe(0)
    const { letters, ...before } = await json('ls', 'p.yaml')
    expect([before.open, before.done, before.unknown]).toEqual([2, 0, []])
    write('1.0')
    expect((await json('replay', 'p.yaml', '--to', 'step', letters[0].id)).replayed).toBe(1)
    expect(await json('ls', 'p.yaml')).toMatchObject({ open: 1, done: 1 })
    expect(await json('show', 'p.yaml', letters[0].id)).toMatchObject({ done: true, source_type: 'file' })
    expect((await json('discard', 'p.yaml', letters[1].id, '--yes')).discarded).toBe(1)
    expect(await json('ls', 'p.yaml')).toMatchObject({ open: 0, done: 2 })
    expect(await json('replay', 'p.yaml', '--to', 'step')).toMatchObject({ replayed: 0, left: [] })
  })
})

test('without the file, the done status is reported as unknown if replays are recorded in another system', async () => {
  const cwd = tempDir({ 'in.jsonl': INPUT })
  const { sinks } = await table()
  writeFileSync(
    join(cwd, 'p.yaml'),
    `name: p\nsources: [{ file: in.jsonl }]\ntransforms: [{ map: { fields: { n: "n * 2.0" } } }]\nsinks: ${sinks}\ndlq: { kafka: dead }\n`,
  )
  const runner = (...args: string[]) => runRunner(args, { cwd, env: { KAFKA_BROKERS: undefined } })
  await runner('run', 'p.yaml')
  await runner('dlq', 'discard', 'p.yaml', '--all', '--yes')
  const { stdout } = await runner('dlq', 'ls', '--topic', 'dead')
  expect(stdout).toMatch(/dead .*: 2 to do\n/)
  expect(stdout).toContain('cannot determine which dead letters of p are done: run runner dlq ls with the pipeline file')
  expect((await runner('dlq', 'ls', 'p.yaml')).stdout).not.toContain('cannot determine')
})

describe('a dlq that is switched off', () => {
  test('can be listed and discarded from without a change of the file; a replay reports the fix', async () => {
    const cwd = tempDir({
      'in.jsonl': INPUT,
      'p.yaml': `
name: p
sources: [{ file: in.jsonl, enabled: "\${ON:-false}" }]
transforms: [{ map: { fields: { n: "n * 2.0" } } }]
sinks: [{ kafka: out, enabled: "\${ON:-false}" }]
dlq: { enabled: "\${ON:-false}", when_off: drop, kafka: dead }
`,
    })
    const runner = (on: string | undefined, ...args: string[]) => runRunner(args, { cwd, env: { KAFKA_BROKERS: undefined, ON: on } })
    expect((await runner('true', 'run', 'p.yaml')).code).toBe(0)
    const { code, stdout, stderr } = await runner(undefined, 'dlq', 'ls', 'p.yaml', '--json')
    expect([code, stderr]).toEqual([0, ''])
    const [one, two] = JSON.parse(stdout).letters
    expect((await runner(undefined, 'dlq', 'show', 'p.yaml', one.id)).code).toBe(0)
    const off = await runner(undefined, 'dlq', 'replay', 'p.yaml', '--to', 'step')
    expect([off.code, off.stderr]).toEqual([2, expect.stringMatching(/switched off|every source is disabled/)])
    const dark = await runner(
      undefined,
      'dlq',
      'replay',
      'p.yaml',
      '--to',
      'step',
      '--set',
      'dlq.enabled=true',
      '--set',
      'sources[0].enabled=true',
    )
    expect([dark.code, dark.stderr]).toEqual([2, expect.stringContaining('every sink of p.yaml is switched off')])
    expect((await runner(undefined, 'dlq', 'discard', 'p.yaml', one.id, '--yes')).code).toBe(0)
    // Noted where the running pipeline looks.
    expect(JSON.parse((await runner('true', 'dlq', 'ls', 'p.yaml', '--json')).stdout)).toMatchObject({ open: 1, done: 1 })
    expect((await runner('true', 'dlq', 'show', 'p.yaml', two.id)).code).toBe(0)
    expect((await runner(undefined, 'dlq', 'ls', join(FLOWS, 'exchange-feed.yaml'))).code).toBe(0)
    expect((await runner(undefined, 'dlq', 'ls', join(FLOWS, 'journal.yaml'))).code).toBe(0)
    expect((await runner(undefined, 'dlq', 'ls', join(FLOWS, 'txns-ingest.yaml'))).stderr).toContain('has no dlq')
  })
})

describe('a dlq that is a file', () => {
  test('without envelope: a jsonl file keeps the headers all the same', async () => {
    const cwd = tempDir({
      'in.jsonl': INPUT,
      'p.yaml':
        'name: p\nsources: [{ file: in.jsonl }]\ntransforms: [{ map: { fields: { n: "n * 2.0" } } }]\nsinks: [{ file: out.jsonl }]\ndlq: { file: dead.jsonl }\n',
    })
    const runner = (...args: string[]) => runRunner(args, { cwd, env: { KAFKA_BROKERS: undefined } })
    await runner('run', 'p.yaml')
    const { letters, open } = JSON.parse((await runner('dlq', 'ls', 'p.yaml', '--json')).stdout)
    expect([open, letters[0].step, letters[0].source.offset]).toEqual([2, 'map', 2])
    // Lines of 0.1.0, which have the value only, are shown, cannot be replayed, and can be discarded.
    writeFileSync(join(cwd, 'dead.jsonl'), `{"n":"old"}\n${readFileSync(join(cwd, 'dead.jsonl'), 'utf8')}`)
    const listed = await runner('dlq', 'ls', 'p.yaml')
    expect(listed.stdout).toMatch(/3 to do/)
    expect(listed.stdout).toMatch(/^0\/1 .*not a dead letter/m)
    const replay = await runner('dlq', 'replay', 'p.yaml', '--to', 'step', '0/1', '--json')
    expect([replay.code, JSON.parse(replay.stdout).left]).toEqual([
      4,
      [{ reason: 'not a dead letter of a runner: it has none of their headers', count: 1 }],
    ])
    expect((await runner('dlq', 'discard', 'p.yaml', '0/1', '--yes')).code).toBe(0)
    expect(JSON.parse((await runner('dlq', 'ls', 'p.yaml', '--json')).stdout)).toMatchObject({ open: 2, done: 1 })
  })

  test('a csv is rejected; a text and an envelope that is off: every record is shown', async () => {
    for (const dlq of ['{ path: dead.csv }', '{ path: dead.txt }', '{ path: dead.jsonl, envelope: false }']) {
      const cwd = tempDir({
        'in.jsonl': INPUT,
        'p.yaml': `name: p\nsources: [{ file: in.jsonl }]\ntransforms: [{ map: { fields: { n: "n * 2.0" } } }]\nsinks: [{ file: out.jsonl }]\ndlq: { file: ${dlq} }\n`,
      })
      const runner = (...args: string[]) => runRunner(args, { cwd, env: { KAFKA_BROKERS: undefined } })
      const { code, stderr } = await runner('run', 'p.yaml')
      if (dlq.includes('csv')) expect([code, stderr]).toEqual([2, expect.stringContaining('CSV cannot hold the original bytes')])
      else expect(JSON.parse((await runner('dlq', 'ls', 'p.yaml', '--json')).stdout).open).toBe(2)
    }
  })
})

test('a dead letter with invalid headers hides no other; it is named, not replayed, and can be discarded', async () => {
  const dead = await createTopic(unique('dead'))
  const out = await createTopic(unique('out'))
  const name = unique('p')
  const cwd = tempDir({
    'in.jsonl': INPUT,
    'p.yaml': `name: ${name}\nsources: [{ file: in.jsonl }]\ntransforms: [{ map: { fields: { n: "n * 2.0" } } }]\nsinks: [{ kafka: ${out} }]\ndlq: { kafka: ${dead} }\n`,
  })
  const own = {
    source_topic: 'in',
    source_partition: '0',
    pipeline: name,
    step: 'map',
    error_type: 'data',
    error_message: '\u001b[31mred\u001b]0;t\u0007',
  }
  await produce(dead, [
    { key: 'k', value: '1', headers: { ...own, source_offset: 'x', source_timestamp: 'NaN', failed_at: 'yesterday', attempts: '1e999' } },
    { key: 'k', value: '2', headers: { ...own, source_offset: '5', step_input: '{', original_size: '-', truncated: 'true' } },
  ])
  const runner = (...args: string[]) => runRunner(args, { cwd, env: { KAFKA_BROKERS: brokers() } })
  expect((await runner('run', 'p.yaml')).code).toBe(0)
  const { code, stdout } = await runner('dlq', 'ls', 'p.yaml')
  expect([code, stdout]).toEqual([0, expect.stringContaining('4 to do')])
  expect(stdout).toContain('unreadable: source_timestamp, source_offset, attempts, failed_at')
  // eslint-disable-next-line no-control-regex
  expect(stdout).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f]/)
  const show = await runner('dlq', 'show', 'p.yaml', '0/0')
  expect([show.code, show.stdout]).toEqual([0, expect.stringContaining('the record cannot be replayed')])
  writeFileSync(join(cwd, 'p.yaml'), readFileSync(join(cwd, 'p.yaml'), 'utf8').replace('n * 2.0', '1.0'))
  const replay = await runner('dlq', 'replay', 'p.yaml', '--to', 'step', '--json')
  expect([replay.code, JSON.parse(replay.stdout).replayed, JSON.parse(replay.stdout).left.length]).toEqual([4, 2, 2])
  await runner('dlq', 'discard', 'p.yaml', '--all', '--yes')
  expect(JSON.parse((await runner('dlq', 'ls', 'p.yaml', '--json')).stdout)).toMatchObject({ open: 0, done: 4 })
})

test('a dead letter of a Redis stream is never written to a Kafka topic of that name, by the flow or by the command', async () => {
  const stream = await createTopic(unique('journal'))
  const [dead, parked] = [await createTopic(unique('dead')), await createTopic(unique('parked'))]
  await cli(['XADD', stream, '*', 'payload', 'not json'], redisUrl())
  const env = {
    KAFKA_BROKERS: brokers(),
    REDIS_URL: redisUrl(),
    KAFKA_DLQ_TOPIC: dead,
    KAFKA_DLQ_PARKED_TOPIC: parked,
    KAFKA_DLQ_REPLAY_GROUP: `${dead}-replay`,
  }
  const cwd = tempDir({
    'p.yaml': `
name: ${stream}
sources: [{ redis: { streams: [${stream}], group: g, field: payload } }]
transforms: [{ validate: { schema: { type: object } } }]
sinks: [{ kafka: ${await createTopic(unique('out'))} }]
dlq: { kafka: ${dead} }
`,
  })
  const runner = (...args: string[]) => runRunner(args, { cwd, env })
  const run = await runner('run', 'p.yaml', '--until-idle', '1s')
  expect(run.code, run.stderr).toBe(0)
  expect(JSON.parse((await runner('dlq', 'ls', 'p.yaml', '--json')).stdout).letters[0]).toMatchObject({ source_type: 'redis' })

  // The command, with a file whose only source is now the topic.
  writeFileSync(
    join(cwd, 'other.yaml'),
    readFileSync(join(cwd, 'p.yaml'), 'utf8').replace(/redis: .*/, `kafka: { topics: [${stream}] } }]`),
  )
  const replay = await runner('dlq', 'replay', 'other.yaml', '--to', 'source', '--json')
  expect([replay.code, replay.stderr]).toEqual([4, ''])
  expect(JSON.parse(replay.stdout)).toMatchObject({
    replayed: 0,
    left: [{ reason: 'it came from a redis source, which the file no longer has: use --to step', count: 1 }],
  })

  const flow = await runner('run', join(FLOWS, 'dlq-replay.yaml'), '--until-idle', '1s', '--set', `name=${dead}-replay`)
  expect(flow.code, flow.stderr).toBe(0)
  expect((await consumeAll(stream)).length).toBe(0)
  const [left] = await consumeAll(parked, { headers: true })
  expect(left.headers!.findLast(([h]) => h === 'error_message')![1]).toContain(`it came from ${stream} of a redis source, not from kafka`)
})
