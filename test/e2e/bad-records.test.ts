/** Every kind of bad record on a real broker: to the dead letters with its own bytes, key and headers; nothing else is lost, offsets go on. */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { crc32c } from '../../src/connectors/kafka/codec/crc32c.ts'
import { closingTicks, expectedBars, makeTicks, tickRecord } from '../support/golden-ticks.ts'
import type { TestRecord } from '../support/kafka.ts'
import { startRunner, tempDir } from '../support/runner.ts'
import { startKafka } from '../support/servers/kafka.ts'
import { kafkaBackend } from './lib/backend.ts'
import { BarsPipeline, expectBars, header } from './lib/bars-run.ts'

const TIME = 1_700_000_000_000
const tick = (over: object): string => JSON.stringify({ symbol: 'BAD', price: 1, volume: 1, ts: TIME, ...over })
const MB10 = 10 * 1024 * 1024

/** Its name, its value, and the error type and words of its dead letter. */
const BAD: [what: string, value: string | Buffer | null, type: string, words: RegExp][] = [
  ['malformed JSON', '{"symbol":"BAD","price":', 'decode', /malformed JSON/],
  ['a bare NaN', '{"symbol":"BAD","price":NaN,"volume":1,"ts":1700000000000}', 'decode', /malformed JSON/],
  ['not an object: number', '42', 'data', /object/],
  ['not an object: null', 'null', 'data', /object/],
  ['not an object: list', '[1,2]', 'data', /object|symbol/],
  ['missing symbol', '{"price":1,"volume":1,"ts":1700000000000}', 'data', /symbol/],
  ['empty symbol', tick({ symbol: '' }), 'data', /symbol/],
  ['symbol of wrong type', tick({ symbol: 7 }), 'data', /symbol/],
  ['price of wrong type', tick({ price: { amount: 1 } }), 'data', /price/],
  ['price in words', tick({ price: 'abc' }), 'data', /price/],
  ['price "NaN"', tick({ price: 'NaN' }), 'data', /price/],
  ['price "Infinity"', tick({ price: 'Infinity' }), 'data', /price/],
  ['price beyond doubles', '{"symbol":"BAD","price":1e999,"volume":1,"ts":1700000000000}', 'data', /price/],
  ['price null', tick({ price: null }), 'data', /price/],
  ['negative price', tick({ price: -1 }), 'data', /price/],
  ['negative price as a string', tick({ price: '-0.5' }), 'data', /price/],
  ['price 0', tick({ price: 0 }), 'data', /price/],
  ['negative volume', tick({ volume: -1 }), 'data', /volume/],
  ['missing volume', '{"symbol":"BAD","price":1,"ts":1700000000000}', 'data', /volume/],
  ['missing time', '{"symbol":"BAD","price":1,"volume":1}', 'data', /ts/],
  ['time in words', tick({ ts: 'yesterday' }), 'data', /ts/],
  ['negative time', tick({ ts: -5 }), 'data', /ts/],
  ['time ten years ahead', tick({ ts: TIME + 10 * 365 * 86_400_000 }), 'data', /at most 1h after the record's own time/],
  ['time in nanoseconds', tick({ ts: TIME * 1_000_000 }), 'data', /ts/],
  ['empty payload', Buffer.alloc(0), 'decode', /empty/],
  ['tombstone', null, 'decode', /tombstone/],
  ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), 'decode', /UTF-8/],
  ['truncated UTF-8', Buffer.concat([Buffer.from('{"symbol":"'), Buffer.from([0xe2, 0x82])]), 'decode', /UTF-8/],
  ['a byte order mark', Buffer.from('\ufeff{}'), 'decode', /malformed JSON/],
  ['zero bytes', Buffer.alloc(64), 'decode', /malformed JSON/],
  ['10 MB of nothing', Buffer.alloc(MB10, 0x78), 'decode', /malformed JSON/],
  ['10 MB of nesting', Buffer.alloc(MB10, 0x5b), 'decode', /JSON|nest|stack/i],
]

test('every kind of bad record', async () => {
  const backend = await kafkaBackend()
  const big = { 'max.message.bytes': String(12 * 1024 * 1024) }
  const input = await backend.topic('ticks', 2, big)
  const dead = await backend.topic('dead', 1, big)
  const pipeline = await BarsPipeline.create(backend, tempDir(), 2, { input })
  const good = makeTicks({ seed: 9, count: 4_000, partitions: [['GOOD'], ['FINE']] }).filter(t => isOnTime(t.ts, t.partition))
  // Bad records are between good ones, in both partitions, with keys and headers that must be kept.
  const offsets = [0, 0]
  const expected: { partition: number; offset: number; bad: (typeof BAD)[number]; key: Buffer | null; time: number }[] = []
  const records: TestRecord[] = []
  const every = Math.floor(good.length / BAD.length)
  good.forEach((t, i) => {
    if (i % every === 0 && expected.length < BAD.length) {
      const bad = BAD[expected.length]
      const partition = expected.length % 2
      const key = [Buffer.from([0xff, 0x00, 0x01]), null, Buffer.from('key'), Buffer.alloc(0)][expected.length % 4]
      const time = TIME + i
      records.push({ partition, key, value: bad[1], time, headers: { trace: 'abc-ü', bin: Buffer.from('x=1, y') } })
      expected.push({ partition, offset: offsets[partition]++, bad, key, time })
    }
    records.push(tickRecord(t))
    offsets[t.partition]++
  })
  expect(expected.length).toBe(BAD.length)
  await backend.produce(input, records)
  await backend.produce(input, closingTicks(good).map(tickRecord))

  await pipeline.start(['--until-idle', '2s', '--set', `dlq.kafka.topic=${dead}`]).exit(0, 60_000)

  const letters = await backend.readAll(dead, { headers: true })
  const found = new Map(letters.map(r => [`${header(r, 'source_partition')}/${header(r, 'source_offset')}`, r]))
  for (const { partition, offset, bad, key, time } of expected) {
    const [what, value, type, words] = bad
    const letter = found.get(`${partition}/${offset}`)
    expect(letter, `${what}: no dead letter`).toBeDefined()
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    expect(letter!.value === null ? null : letter!.value.equals(bytes!), `${what}: value`).toBe(bytes === null ? null : true)
    expect(letter!.key, `${what}: key`).toEqual(key)
    expect(header(letter!, 'error_type'), what).toBe(type)
    expect(header(letter!, 'error_message'), what).toMatch(words)
    expect(
      ['source_topic', 'source_timestamp', 'pipeline', 'trace', 'bin'].map(name => header(letter!, name)),
      what,
    ).toEqual([input, String(time), pipeline.name, 'abc-ü', 'x=1, y'])
    expect(header(letter!, 'step'), what).toBe(type === 'decode' ? 'kafka' : 'bars')
  }
  expect(letters.length).toBe(BAD.length)
  const golden = expectedBars(good)
  expectBars(await backend.readAll(pipeline.output), golden.bars)
  const ends = await backend.readAll(input)
  expect(await backend.committed(pipeline.group, input)).toEqual(
    new Map([0, 1].map(p => [p, Math.max(...ends.filter(r => r.partition === p).map(r => r.offset)) + 1])),
  )
  await backend.close()
})

/** Late trades have a test of their own. */
const newest: number[] = []
function isOnTime(ts: number, partition: number): boolean {
  newest[partition] = Math.max(ts, newest[partition] ?? 0)
  return newest[partition] - ts < 2_000
}

test('a dead letter that is too large for its topic is cut to the size that fits', async () => {
  const backend = await kafkaBackend()
  const input = await backend.topic('ticks', 1, { 'max.message.bytes': String(12 * 1024 * 1024) })
  const pipeline = await BarsPipeline.create(backend, tempDir(), 1, { input })
  const good = makeTicks({ seed: 10, count: 500, partitions: [['GOOD']] }).filter(t => isOnTime(t.ts, 2 + t.partition))
  // Noise, because what compresses well fits into any topic.
  const noise = randomBytes(MB10)
  await backend.produce(input, [{ partition: 0, key: 'k', value: noise, time: TIME }])
  await backend.produce(input, [...good, ...closingTicks(good)].map(tickRecord))
  await pipeline.start(['--until-idle', '2s']).exit(0, 60_000)
  const [letter, ...others] = await backend.readAll(pipeline.dead, { headers: true })
  expect(others).toEqual([])
  expect(letter.value!.length).toBeGreaterThan(500_000)
  expect(letter.value!.equals(noise.subarray(0, letter.value!.length))).toBe(true)
  expect([header(letter, 'truncated'), header(letter, 'original_size'), header(letter, 'source_offset')]).toEqual([
    'true',
    String(MB10),
    '0',
  ])
  expectBars(await backend.readAll(pipeline.output), expectedBars(good).bars)
  await backend.close()
})

test.each([
  ['exactly_once', '{"symbol":"BAD"', /malformed JSON/],
  ['at_least_once', JSON.stringify({ price: 1, volume: 1, ts: TIME }), /symbol/],
] as const)(
  'without a dlq, %s: stops before the record with exit code 1, reports the error, its location and a fix, and commits nothing after it',
  async (delivery, value, words) => {
    const backend = await kafkaBackend()
    const input = await backend.topic('ticks')
    const output = await backend.topic('bars')
    const good = makeTicks({ seed: 11, count: 3_000, partitions: [['GOOD']] }).map(tickRecord)
    await backend.produce(input, [...good.slice(0, 1_500), { partition: 0, value, time: TIME }, ...good.slice(1_500)])
    const cwd = tempDir({
      'p.yaml': `
name: ${output}
sources: [{ kafka: { topics: [${input}], group: ${output}, session_timeout: 6s } }]
transforms: [{ bars: { interval: 10s, idle_timeout: 0s } }]
sinks: [{ kafka: ${output} }]
delivery: ${delivery}
`,
    })
    for (let life = 0; life < 2; life++) {
      const runner = startRunner(['run', 'p.yaml'], { cwd, env: backend.env })
      await runner.exit(1)
      expect(runner.stderr).toMatch(words)
      expect(runner.stderr).toContain(`${input}/0 offset 1500`)
      expect(runner.stderr).toMatch(/dlq/)
      expect((await backend.committed(output, input)).get(0) ?? 0).toBeLessThanOrEqual(1_500)
    }
    await backend.close()
  },
)

test('unknown compression: the batch that cannot be unpacked is dead-lettered, and the batches around it are processed', {
  timeout: 120_000,
}, async () => {
  const dataDir = tempDir()
  const broker = await startKafka({ dataDir })
  const backend = await kafkaBackend(broker.brokers)
  try {
    const good = makeTicks({ seed: 17, count: 2_000, partitions: [['GOOD']] }).filter(t => isOnTime(t.ts, 4 + t.partition))
    const pipeline = await BarsPipeline.create(backend, tempDir(), 1)
    const mirror = await backend.topic('mirror')
    await backend.produce(pipeline.input, good.slice(0, 1_000).map(tickRecord))
    await backend.produce(
      pipeline.input,
      [1, 2, 3].map(i => ({ partition: 0, key: 'BAD', value: tick({ price: i }), time: TIME })),
    )
    await backend.produce(pipeline.input, [...good.slice(1_000), ...closingTicks(good)].map(tickRecord))
    // No broker takes such a batch from a producer: it has to get there as a broken disk or a newer broker would bring it.
    process.kill(broker.pid, 'SIGTERM')
    while (broker.pid !== 0) await sleep(50)
    const bytes = spoil(join(dataDir, 'data', `${pipeline.input}-0`, '00000000000000000000.log'), 1_000)
    await broker.restart()

    await pipeline.start(['--until-idle', '2s']).exit(0, 60_000)
    const letters = await backend.readAll(pipeline.dead, { headers: true })
    expect(letters.map(r => [header(r, 'source_offset'), header(r, 'error_type'), header(r, 'step')])).toEqual([
      ['1000', 'decode', 'kafka'],
    ])
    expect(header(letters[0], 'error_message')).toMatch(/compression.*5/)
    expect(letters[0].value!.equals(bytes)).toBe(true)
    expectBars(await backend.readAll(pipeline.output), expectedBars(good).bars)

    // A mirror looks at no value, and must not pass the raw batch on either.
    const yaml = `
name: ${mirror}
sources: [{ kafka: { topics: [${pipeline.input}], group: ${mirror} } }]
sinks: [{ kafka: ${mirror} }]
dlq: { kafka: ${pipeline.dead} }
`
    const cwd = tempDir({ 'mirror.yaml': yaml })
    await startRunner(['run', 'mirror.yaml', '--until-idle', '1s'], { cwd, env: backend.env }).exit(0)
    expect((await backend.readAll(mirror)).length).toBe(good.length + 1)
    expect((await backend.readAll(pipeline.dead)).length).toBe(2)
  } finally {
    await backend.close()
    await broker.stop()
  }
})

/** Gives the record batch at `offset` compression codec 5, with a right checksum. @returns the batch. */
function spoil(path: string, offset: number): Buffer {
  const log = readFileSync(path)
  for (let at = 0; at < log.length; ) {
    const end = at + 12 + log.readInt32BE(at + 8)
    if (Number(log.readBigInt64BE(at)) === offset) {
      log.writeInt16BE((log.readInt16BE(at + 21) & ~7) | 5, at + 21)
      log.writeUInt32BE(crc32c(log, at + 21, end), at + 17)
      writeFileSync(path, log)
      return log.subarray(at, end)
    }
    at = end
  }
  throw new Error(`${path}: no batch at offset ${offset}`)
}
