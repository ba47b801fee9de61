/** Dates that a topic of Kafka 4 rejects or deletes at once: the run continues, and no record is lost silently. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { brokers, consumeAll, createTopic, unique, withAdmin } from '../../support/kafka.ts'
import { runRunner, tempDir } from '../../support/runner.ts'

const HOUR = 3_600_000

/** Runs a pipeline over these records with a real broker. @returns what it wrote, with dates. */
async function flow(name: string, records: readonly object[], steps: string, sink = '', config: Record<string, string> = {}) {
  // Kafka's own default since 4.0; the shared broker of the tests allows any date.
  const hourAhead = { 'message.timestamp.after.max.ms': String(HOUR) }
  const out = await createTopic(unique(`${name}.out`), { config: { ...hourAhead, ...config } })
  const dlq = await createTopic(unique(`${name}.dlq`), { config: hourAhead })
  const dir = tempDir({ 'in.jsonl': records.map(r => `${JSON.stringify(r)}\n`).join('') })
  writeFileSync(
    join(dir, 'p.yaml'),
    `name: ${unique(name)}
sources: [{ file: in.jsonl }]
transforms: [${steps}]
sinks: [{ kafka: { topic: ${out}${sink} } }]
dlq: { kafka: { topic: ${dlq} } }
`,
  )
  const run = await runRunner(['run', 'p.yaml'], { cwd: dir, env: { KAFKA_BROKERS: brokers() } })
  const written = await withAdmin(admin => admin.fetchTopicOffsets(out))
  return {
    run,
    written: written.reduce((n, p) => n + Number(p.high), 0),
    out: await consumeAll(out),
    dlq: await consumeAll(dlq, { headers: true }),
  }
}

test("the timestamp of today's daily bar is that of its newest trade, and the broker accepts it", async () => {
  const now = Date.now()
  const { run, out } = await flow('daily', [{ symbol: 'A', price: 1, volume: 1, ts: now }], '{ bars: { interval: 1d } }')
  expect(run.code, run.stderr).toBe(0)
  expect(out.map(r => r.time)).toEqual([now])
})

const ahead = { timestamp: '2199-06-01T00:00:00Z', producer_service: 'x', data: { a: 1 } }

test('a record with a timestamp too far in the future goes to the dead-letter queue with the current time', async () => {
  const before = Date.now()
  const { run, out, dlq } = await flow(
    'ahead',
    [ahead, { ...ahead, timestamp: new Date().toISOString() }],
    '{ envelope: { unwrap: true } }',
  )
  expect(run.code, run.stderr).toBe(0)
  expect(out).toHaveLength(1)
  expect(dlq).toHaveLength(1)
  expect(dlq[0].time).toBeGreaterThanOrEqual(before - 1000)
  expect(dlq[0].value?.toString()).toBe(JSON.stringify(ahead))
  expect(run.stderr).toMatch(/rejects records dated more than 1h in the future.*2199-06-01.*timestamp: record/)
})

test.each(['record', 'now'])('with timestamp: %s the record is written', async timestamp => {
  const { run, out, dlq } = await flow('ahead', [ahead], '{ envelope: { unwrap: true } }', `, timestamp: ${timestamp}`)
  expect(run.code, run.stderr).toBe(0)
  expect([out.length, dlq.length]).toEqual([1, 0])
  expect(Math.abs(out[0].time - Date.now())).toBeLessThan(HOUR)
})

test('a record older than the retention is written, and one warning reports that it will be deleted', async () => {
  const old = [1, 2, 3].map(a => ({ timestamp: '2020-01-01T00:00:00Z', producer_service: 'x', data: { a } }))
  const { run, written } = await flow('old', old, '{ envelope: { unwrap: true } }', '', { 'retention.ms': String(24 * HOUR) })
  expect(run.code, run.stderr).toBe(0)
  // The broker may have deleted them by now.
  expect(written).toBe(3)
  expect(run.stderr.match(/older than retention.ms/g)).toHaveLength(1)
})

test('the timestamp of a dead letter is the time of the failure, and a header has the time of the record', async () => {
  const before = Date.now()
  const old = { timestamp: '2020-01-01T00:00:00Z', producer_service: 'x', data: { symbol: 'A', price: 'bad', volume: 1, ts: 1 } }
  const { run, dlq } = await flow('dead', [old], '{ envelope: { unwrap: true } }, { bars: { interval: 1m } }')
  expect(run.code, run.stderr).toBe(0)
  expect(dlq[0].time).toBeGreaterThanOrEqual(before - 1000)
  expect(dlq[0].headers!.find(([name]) => name === 'source_timestamp')?.[1]?.toString()).toBe(String(Date.UTC(2020, 0, 1)))
})

test('check reports the timestamps that the topic rejects and deletes, except where it accepts all or the sink sets the time', async () => {
  const strict = await createTopic(unique('strict'), {
    config: { 'message.timestamp.after.max.ms': String(HOUR), 'retention.ms': String(24 * HOUR) },
  })
  const open = await createTopic(unique('open'))
  const dir = tempDir({ 'in.jsonl': '' })
  const file = (topic: string, timestamp: string): string => `name: ${unique('check')}
sources: [{ file: in.jsonl }]
sinks: [{ kafka: { topic: ${topic}, timestamp: ${timestamp} } }]
dlq: { kafka: { topic: ${strict} } }
`
  const dates = async (topic: string, timestamp: string): Promise<string[]> => {
    writeFileSync(join(dir, 'p.yaml'), file(topic, timestamp))
    const { code, stdout, stderr } = await runRunner(['check', 'p.yaml'], { cwd: dir, env: { KAFKA_BROKERS: brokers() } })
    expect(code, stderr).toBe(0)
    return stdout.split('\n').filter(line => line.includes('dates in topic'))
  }
  expect(await dates(strict, 'event')).toEqual([
    expect.stringMatching(/ok +dates in topic strict.*more than 1h in the future go to the dead-letter queue.*older than 1d are deleted/),
  ])
  expect(await dates(strict, 'now')).toEqual([])
  expect(await dates(open, 'event')).toEqual([])
})

test('check compares the timestamps in the input topics with those that the output topic accepts and keeps', async () => {
  const output = await createTopic(unique('compared'), {
    config: {
      'message.timestamp.after.max.ms': String(HOUR),
      'message.timestamp.before.max.ms': String(48 * HOUR),
      'retention.ms': String(24 * HOUR),
    },
  })
  const long = await createTopic(unique('long'), {
    config: { 'message.timestamp.after.max.ms': String(2 * HOUR), 'retention.ms': '-1' },
  })
  const short = await createTopic(unique('short'), {
    config: { 'message.timestamp.after.max.ms': String(HOUR), 'retention.ms': String(24 * HOUR) },
  })
  const arrival = await createTopic(unique('arrival'), {
    config: { 'message.timestamp.type': 'LogAppendTime', 'retention.ms': String(36 * HOUR) },
  })
  const check = async (topic: string, timestamp = 'event'): Promise<string[]> => {
    const dir = tempDir({
      'p.yaml': `name: ${unique('compare')}
sources: [{ kafka: { topics: [${topic}] } }]
sinks: [{ kafka: { topic: ${output}, timestamp: ${timestamp} } }]
`,
    })
    const { code, stdout, stderr } = await runRunner(['check', 'p.yaml'], { cwd: dir, env: { KAFKA_BROKERS: brokers() } })
    expect(code, stderr).toBe(0)
    return stdout.split('\n').filter(line => /WARN|do:|warning/.test(line))
  }
  const alter = (setting: string): unknown =>
    expect.stringMatching(new RegExp(`do: kafka-configs .* --topic ${output} --add-config ${setting}, or set .timestamp: now. on the sink`))
  expect(await check(long)).toEqual([
    expect.stringMatching(/WARN .*long.* keeps records forever; those older than 2d go to the dead-letter queue/),
    alter('message.timestamp.before.max.ms=9223372036854775807'),
    expect.stringMatching(/WARN .*long.* keeps records forever, this one for 1d: .* Kafka deletes/),
    alter('retention.ms=-1'),
    expect.stringMatching(/WARN .*long.* accepts records dated 2h in the future; those more than 1h in the future/),
    alter('message.timestamp.after.max.ms=7200000'),
    expect.stringMatching(/no failures, 3 warnings/),
  ])
  expect(await check(long, 'now')).toEqual([])
  expect(await check(short)).toEqual([])
  expect(await check(arrival)).toEqual([
    expect.stringMatching(/WARN .*arrival.* keeps records for 36h, this one for 1d/),
    alter('retention.ms=129600000'),
    expect.stringMatching(/1 warning$/),
  ])
})
