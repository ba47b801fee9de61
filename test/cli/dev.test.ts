/** `runner dev`, without a terminal: rounds on save, samples, and nothing written without `--sinks`. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Runner, runRunner, startRunner, tempDir } from '../support/runner.ts'

const PIPELINE = `name: a
sources: [{ stdin: {} }]
transforms:
  - filter: price > 5
  - map: { fields: { id: id, double: price * 2 } }
sinks: [{ file: { path: out.jsonl } }]
dlq: { file: { path: dead.jsonl, envelope: true } }
`
const TESTS = `tests:
  - name: one
    steps: [{ input: [{ value: { id: 1, price: 7 } }] }]
    expect: { outputs: [{ value: { id: 1, double: 14 } }] }
`
const SAMPLES = '{"id":1,"price":1.10}\n{"id":2,"price":7}\n{"id":3}\n'

const events = (text: string): any[] =>
  text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))

/** Starts `dev --json` and collects its events. */
function developing(cwd: string, ...args: string[]): { runner: Runner; event: (pattern: RegExp) => Promise<any> } {
  const runner = startRunner(['dev', 'a.yaml', '--json', ...args], { cwd, openStdin: true })
  return { runner, event: async pattern => JSON.parse(await runner.line(pattern)) }
}

describe('--once', () => {
  test('samples before and after each step', async () => {
    const cwd = tempDir({ 'a.yaml': PIPELINE, 'a.test.yaml': TESTS, 's.jsonl': SAMPLES })
    const { code, stdout } = await runRunner(['dev', 'a.yaml', '--once', '--input', 's.jsonl', '--json'], { cwd })
    expect(code).toBe(0)
    expect(events(stdout)).toEqual([
      { event: 'valid', file: 'a.yaml', warnings: [] },
      { event: 'tests', file: 'a.test.yaml', problems: [], passed: 1, failed: [] },
      {
        event: 'replay',
        records: 3,
        steps: [
          { step: 'filter', in: 3, out: 1, before: [{ id: 1, price: 1.1 }, { id: 2, price: 7 }, { id: 3 }], after: [{ id: 2, price: 7 }] },
          { step: 'map', in: 1, out: 1, before: [{ id: 2, price: 7 }], after: [{ id: 2, double: 14 }] },
        ],
        sinks: [{ sink: 'file', count: 1, samples: [{ id: 2, double: 14 }] }],
        dead: [{ step: 'filter', message: expect.stringContaining('price'), value: { id: 3 } }],
      },
    ])
    // Numbers keep their digits.
    expect(stdout).toContain('{"id":1,"price":1.10}')
    expect(existsSync(join(cwd, 'out.jsonl')) || existsSync(join(cwd, 'dead.jsonl'))).toBe(false)
  })

  test('the same for people', async () => {
    const cwd = tempDir({ 'a.yaml': PIPELINE, 's.jsonl': SAMPLES })
    const { code, stdout } = await runRunner(['dev', 'a.yaml', '--once', '--input', 's.jsonl', '--last', '2'], { cwd })
    expect(code).toBe(0)
    expect(stdout).toContain('2 records through 2 steps, without earlier state')
    expect(stdout).toMatch(/filter +2 → 1\n +- \{"id":2,"price":7\}\n +- \{"id":3\}\n +\+ \{"id":2,"price":7\}/)
  })

  test.each([
    ['an invalid file', { 'a.yaml': PIPELINE.replace('price > 5', 'price >') }, 2],
    ['an invalid test', { 'a.yaml': PIPELINE, 'a.test.yaml': 'test: 1' }, 2],
    ['a test that fails', { 'a.yaml': PIPELINE, 'a.test.yaml': TESTS.replace('14', '15') }, 4],
    ['no file', {}, 3],
    ['a file that is not JSON', { 'a.yaml': PIPELINE, 's.jsonl': '{' }, 2],
  ])('%s', async (_, files, code) => {
    const result = await runRunner(['dev', 'a.yaml', '--once', '--input', 's.jsonl'], { cwd: tempDir({ 's.jsonl': SAMPLES, ...files }) })
    expect(result).toMatchObject({ code })
    expect(result.stderr).not.toContain('    at ')
  })

  test('a topic is read without its group, from the newest records; with --sinks it is a run', async () => {
    const cwd = tempDir({
      'fill.yaml': 'name: fill\nsources: [{ stdin: {} }]\nsinks: [{ kafka: { topic: t } }]\n',
      'a.yaml':
        'name: a\nsources: [{ kafka: { topics: [t], group: g } }]\ntransforms: [{ filter: id > 3 }]\nsinks: [{ file: { path: out.jsonl } }]\n',
    })
    const env = { KAFKA_BROKERS: undefined, RUNNER_STATE_DIR: undefined }
    await runRunner(['run', 'fill.yaml'], { cwd, env, stdin: '{"id":1}\n{"id":2}\n{"id":3}\n{"id":4}\n{"id":5}\n' })
    const dry = await runRunner(['dev', 'a.yaml', '--once', '--last', '3', '--json'], { cwd, env })
    expect(events(dry.stdout).at(-1)).toMatchObject({ event: 'replay', records: 3, steps: [{ in: 3, out: 2 }] })
    expect(existsSync(join(cwd, 'out.jsonl'))).toBe(false)
    const real = await runRunner(['dev', 'a.yaml', '--once', '--sinks', '--json'], { cwd, env })
    expect(events(real.stdout).at(-1)).toMatchObject({ event: 'replay', records: 5 })
    expect(readFileSync(join(cwd, 'out.jsonl'), 'utf8')).toBe('{"id":4}\n{"id":5}\n')
    // Its position is committed.
    const again = await runRunner(['dev', 'a.yaml', '--once', '--sinks', '--json'], { cwd, env })
    expect(events(again.stdout).map(e => e.event)).toEqual(['valid', 'started'])
  })
})

test('the steps of branches get the records of their branch', async () => {
  const cwd = tempDir({
    's.jsonl': '{"n":20}\n{"n":-5}\n{"n":5}\n',
    'a.yaml': `name: a
sources: [{ stdin: {} }]
transforms:
  - name: sizes
    route:
      - { name: large, when: n > 10, steps: [{ map: { keep: true, fields: { big: "true" } } }], to: alerts }
      - { name: refund, when: n < 0, steps: [{ map: { keep: true, fields: { n: -n } } }] }
  - map: { keep: true, fields: { last: "1" } }
sinks: [{ name: out, stdout: {} }, { name: alerts, file: { path: alerts.jsonl } }]
`,
  })
  const { stdout } = await runRunner(['dev', 'a.yaml', '--once', '--input', 's.jsonl', '--json'], { cwd })
  expect(events(stdout).at(-1)).toMatchObject({
    steps: [
      { step: 'sizes', in: 3, out: 2 },
      { step: 'sizes/large/map', in: 1, out: 1, before: [{ n: 20 }], after: [{ n: 20, big: true }] },
      { step: 'sizes/refund/map', in: 1, out: 1, before: [{ n: -5 }], after: [{ n: 5 }] },
      { step: 'map', in: 2, out: 2 },
    ],
    sinks: [
      {
        sink: 'out',
        samples: [
          { n: 5, last: 1 },
          { n: 5, last: 1 },
        ],
      },
      { sink: 'alerts', samples: [{ n: 20, big: true }] },
    ],
  })
})

test('--once ends on a feed that is never idle', async () => {
  const cwd = tempDir({
    'a.yaml': PIPELINE.replace('stdin: {}', 'generate: { rate: 20, fields: { id: { sequence: 1 }, price: { value: 7 } } }'),
  })
  const { code, stdout } = await runRunner(['dev', 'a.yaml', '--once', '--json'], { cwd })
  expect(code).toBe(0)
  expect(events(stdout).at(-1)).toMatchObject({ event: 'replay', records: 10 })
})

test('a pipeline that cannot start is an error of the run', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const metrics = `metrics: { host: 127.0.0.1, port: ${port} }\n`
  const result = await runRunner(['dev', 'a.yaml', '--once', '--sinks', '--json'], { cwd: tempDir({ 'a.yaml': PIPELINE + metrics }) })
  server.close()
  expect(events(result.stdout).at(-1)).toMatchObject({ event: 'failed' })
  expect(result.code).toBe(1)
})

test('entries of a Redis stream stay for the consumers of its group', async () => {
  const cwd = tempDir({
    'fill.yaml': 'name: fill\nsources: [{ stdin: {} }]\nsinks: [{ redis: { stream: s, value_field: payload } }]\n',
    'a.yaml': 'name: a\nsources: [{ redis: { streams: [s], group: g, field: payload } }]\nsinks: [{ file: { path: out.jsonl } }]\n',
  })
  const env = { REDIS_URL: undefined, RUNNER_STATE_DIR: undefined }
  await runRunner(['run', 'fill.yaml'], { cwd, env, stdin: '{"id":1}\n{"id":2}\n{"id":3}\n' })
  const other = ['--set', 'sources[0].redis.consumer=dev']
  const sampled = await runRunner(['dev', 'a.yaml', '--once', '--json', ...other], { cwd, env })
  expect(events(sampled.stdout).at(-1)).toMatchObject({ event: 'replay', records: 3 })
  const dry = await runRunner(['run', 'a.yaml', '--dry-run', '--until-idle', '1s', ...other], { cwd, env })
  expect(dry.stdout.match(/"id":/g)).toHaveLength(3)
  await runRunner(['run', 'a.yaml', '--until-idle', '1s'], { cwd, env })
  expect(readFileSync(join(cwd, 'out.jsonl'), 'utf8')).toBe('{"id":1}\n{"id":2}\n{"id":3}\n')
})

describe('on save', () => {
  test('an invalid edit leaves the last valid version; a valid one replays the records', async () => {
    const cwd = tempDir({ 'a.yaml': PIPELINE, 'a.test.yaml': TESTS })
    const { runner, event } = developing(cwd)
    await event(/"event":"waiting"/)
    runner.input.write(SAMPLES)
    expect(await event(/"event":"replay"/)).toMatchObject({ records: 3, sinks: [{ samples: [{ id: 2, double: 14 }] }] })

    writeFileSync(join(cwd, 'a.yaml'), PIPELINE.replace('price > 5', 'prce >'))
    expect(await event(/"event":"invalid"/)).toMatchObject({ last_valid_version_runs: true, problems: [{ line: 4 }] })
    // The last valid version still has its input.
    runner.input.write('{"id":4,"price":9}\n')
    expect(await event(/"records":4/)).toMatchObject({
      sinks: [
        {
          samples: [
            { id: 2, double: 14 },
            { id: 4, double: 18 },
          ],
        },
      ],
    })

    writeFileSync(join(cwd, 'a.yaml'), PIPELINE.replace('price * 2', 'price * 3'))
    expect(await event(/"failed":\["one"\]/)).toMatchObject({ passed: 0 })
    expect(await event(/"double":21/)).toMatchObject({ event: 'replay', records: 4 })
    // A save of the tests is a round, too.
    writeFileSync(join(cwd, 'a.test.yaml'), TESTS.replace('14', '21'))
    await event(/"passed":1,"failed":\[\]\}$/)
    expect(existsSync(join(cwd, 'out.jsonl'))).toBe(false)
    runner.kill('SIGTERM')
    await runner.exit(0)
  })

  test('with --sinks, each valid version writes', async () => {
    const source = PIPELINE.replace('stdin: {}', 'file: { path: in.jsonl, follow: true }')
    const cwd = tempDir({ 'a.yaml': source, 'in.jsonl': '{"id":1,"price":6}\n' })
    const { runner, event } = developing(cwd, '--sinks')
    const out = (): string => (existsSync(join(cwd, 'out.jsonl')) ? readFileSync(join(cwd, 'out.jsonl'), 'utf8') : '')
    await event(/"event":"replay"/)
    await expect.poll(out, { timeout: 20_000 }).toBe('{"id":1,"double":12}\n')
    writeFileSync(join(cwd, 'a.yaml'), '[')
    await event(/"event":"invalid"/)
    appendFileSync(join(cwd, 'in.jsonl'), '{"id":2,"price":7}\n')
    await expect.poll(out, { timeout: 20_000 }).toContain('{"id":2,"double":14}\n')
    writeFileSync(join(cwd, 'a.yaml'), source.replace('* 2', '* 3'))
    await event(/"double":21/)
    appendFileSync(join(cwd, 'in.jsonl'), '{"id":3,"price":8}\n')
    await expect.poll(out, { timeout: 20_000 }).toBe('{"id":1,"double":12}\n{"id":2,"double":14}\n{"id":3,"double":24}\n')
    runner.kill('SIGINT')
    await runner.exit(0)
    expect(runner.stdout).not.toContain('"event":"ended"')
  })

  test('standard input cannot be read again, so --sinks refuses it', async () => {
    const { runner, event } = developing(tempDir({ 'a.yaml': PIPELINE }), '--sinks')
    expect(await event(/"event":"failed"/)).toMatchObject({ message: expect.stringContaining('standard input cannot be read again') })
    runner.kill('SIGINT')
    await runner.exit(0)
  })

  test('an invalid file at the start waits for a valid one', async () => {
    const cwd = tempDir({ 'a.yaml': 'name: a', 's.jsonl': SAMPLES })
    const { runner, event } = developing(cwd, '--input', 's.jsonl')
    expect(await event(/"event":"invalid"/)).toMatchObject({ last_valid_version_runs: false })
    await event(/"event":"waiting"/)
    writeFileSync(join(cwd, 'a.yaml'), PIPELINE)
    expect(await event(/"event":"replay"/)).toMatchObject({ records: 3 })
    runner.kill('SIGTERM')
    await runner.exit(0)
  })
})
