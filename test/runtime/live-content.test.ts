/** The content that a process publishes: all settings that affect what is written and where, no secrets, nothing that may differ between replicas. */
import { describe, expect, test } from 'vitest'
import { loadInput } from '../../src/config/load.ts'
import { liveConflict, liveContentOf, liveDifferences } from '../../src/kit/live-content.ts'
import { liveContent } from '../../src/runtime/live-content.ts'
import '../../src/built-in.ts'

const BASE = {
  name: 'bars',
  sources: [{ kafka: { topics: ['ticks'], brokers: 'kafka:29092' } }],
  transforms: [
    { filter: 'symbol > "A"' },
    { bars: { interval: '1m', allowed_lateness: '2s' } },
    {
      lookup: {
        query: 'select * from t where id = any($keys)',
        key: 'symbol',
        as: 'row',
        dsn: 'postgres://app:s3cret@db:5432/app',
        ttl: '1m',
      },
    },
  ],
  sinks: [
    { kafka: { topic: 'bars.1m', brokers: 'kafka:29092', compression: 'zstd' } },
    { postgres: { table: 'bars', columns: ['symbol'], dsn: 'postgres://app:s3cret@db:5432/app?password=hunter2' } },
    { redis: { string: 'last:{symbol}', url: 'redis://:s3cret@cache:6379/0' } },
    { http: { url: 'https://example.com/hook?token=hunter2', bearer: 's3cret' } },
  ],
  dlq: { file: { path: 'dead.jsonl' } },
}
type Input = typeof BASE

async function contentOf(change: (input: any) => void = () => {}): Promise<ReturnType<typeof liveContent>> {
  const input = structuredClone(BASE) as Input
  change(input)
  const { pipeline, problems } = await loadInput(input, { env: {} })
  expect(problems.filter(p => p.severity === 'error')).toEqual([])
  return liveContent(pipeline!)
}

test('the content has locations without credentials, and no secret', async () => {
  const content = await contentOf()
  expect(JSON.stringify(content)).not.toMatch(/s3cret|hunter2/)
  expect(content.owner).toBe('bars.1')
  expect(content.settings).toMatchObject({
    'sinks.kafka_2.topic': '"bars.1m"',
    'sinks.kafka_2.brokers': '"as the source"',
    'sinks.postgres.dsn': '"postgres://db:5432/app"',
    'sinks.redis.url': '"redis://cache:6379/0"',
    'dlq.path': '"dead.jsonl"',
    'transforms.bars.interval': '60000',
    'sinks.http.url': expect.stringMatching(/^"https:\/\/example\.com\/hook\?#[0-9a-f]{10}"$/),
  })
})

describe('differences that two processes may have', () => {
  test.each<[string, (input: any) => void]>([
    ['lateness', i => (i.transforms[1].bars.allowed_lateness = '9s')],
    ['limits', i => (i.max_in_flight = 7)],
    ['the commit interval', i => (i.commit_interval = '7s')],
    ['passwords', i => (i.sinks[1].postgres.dsn = 'postgres://other:new@db:5432/app?password=hunter2')],
    ['compression and credentials', i => Object.assign(i.sinks[0].kafka, { compression: 'gzip', client_id: 'x' })],
    ['a bearer token', i => (i.sinks[3].http.bearer = 'new')],
    ['a cache', i => (i.transforms[2].lookup.ttl = '5m')],
    [
      'the name of the brokers, if input and output use the same brokers',
      i => (i.sources[0].kafka.brokers = i.sinks[0].kafka.brokers = 'localhost:9092'),
    ],
    ['an additional input topic', i => i.sources[0].kafka.topics.push('more')],
    ['the order of keys', i => (i.transforms[1].bars = { allowed_lateness: '2s', interval: '1m' })],
  ])('%s', async (_, change) => {
    expect(liveDifferences(await contentOf(), await contentOf(change))).toEqual([])
  })
})

describe('differences that two processes may not have', () => {
  test.each<[string, (input: any) => void, string]>([
    ['a window', i => (i.transforms[1].bars.interval = '5m'), 'transforms.bars.interval: running 60000, here 300000'],
    [
      'a condition',
      i => (i.transforms[0].filter = "symbol > 'B'"),
      String.raw`transforms.filter.condition: running "symbol > \"A\"", here "symbol > 'B'"`,
    ],
    ['the order of steps', i => i.transforms.reverse(), 'transforms: running ["filter","bars","lookup"], here ["lookup","bars","filter"]'],
    ['a topic', i => (i.sinks[0].kafka.topic = 'x'), 'sinks.kafka_2.topic: running "bars.1m", here "x"'],
    ['other brokers', i => (i.sinks[0].kafka.brokers = 'b:9092'), 'sinks.kafka_2.brokers: running "as the source", here "b:9092"'],
    [
      'a database',
      i => (i.sinks[1].postgres.dsn = 'postgres://db2:5432/app'),
      'sinks.postgres.dsn: running "postgres://db:5432/app", here "postgres://db2:5432/app"',
    ],
    ['a table', i => (i.sinks[1].postgres.table = 'b'), 'sinks.postgres.table: running "bars", here "b"'],
    ['a key', i => (i.sinks[2].redis.string = 'k:{key}'), 'sinks.redis.string: running "last:{symbol}", here "k:{key}"'],
    ['a sink', i => i.sinks.pop(), 'sinks.http.type: running "http", here not set'],
    ['a sink’s condition', i => (i.sinks[0].when = 'true'), 'sinks.kafka_2.when: running not set, here "true"'],
    ['the dlq', i => (i.dlq.file.path = 'd.jsonl'), 'dlq.path: running "dead.jsonl", here "d.jsonl"'],
    ['the definition of a record', i => (i.sources[0].kafka.format = 'bytes'), 'sources.kafka.format: running "json", here "bytes"'],
  ])('%s', async (_, change, line) => {
    expect(liveDifferences(await contentOf(), await contentOf(change))).toContain(line)
  })
})

test('a large content is abbreviated and compares as equal', async () => {
  const many = (price: string) => (i: any) =>
    (i.transforms = Array.from({ length: 100 }, (_, n) => ({
      map: { fields: { symbol: 'symbol', price: `price * ${n}.0 + ${price}` } },
      name: `step_${n}`,
    })))
  const [a, b] = [await contentOf(many('1.0')), await contentOf(many('2.0'))]
  expect(JSON.stringify(a).length).toBeLessThan(8000)
  expect(liveDifferences(a, await contentOf(many('1.0')))).toEqual([])
  expect(liveDifferences(a, b)).toContainEqual(expect.stringMatching(/^transforms\.step_7: running #\w{10}, here #\w{10}$/))
})

test('another version of the runner may have other settings: only common settings are compared', async () => {
  const [mine, other] = [await contentOf(), await contentOf(i => (i.sinks[0].kafka.topic = 'x'))]
  const { 'sinks.kafka_2.topic': topic, 'transforms.bars.interval': _, ...rest } = other.settings
  const older = { ...other, runner: '0.0.1', settings: { ...rest, 'sinks.kafka_2.gone': '1' } }
  expect(liveDifferences(older, mine)).toEqual([])
  expect(liveDifferences({ ...older, settings: { ...rest, 'sinks.kafka_2.topic': topic } }, mine)).toHaveLength(1)
})

test('the error has both sides and the ways to continue', async () => {
  const conflict = liveConflict(await contentOf(i => (i.sinks[0].kafka.topic = 'x')), 'runner on 10.0.0.7', await contentOf(), 'group bars')
  expect(conflict).toMatchObject({ code: 'PIPE_LIVE' })
  expect(conflict!.message).toMatch(
    /group bars.*\n {2}sinks\.kafka_2\.topic: running "x", here "bars\.1m"\n[^]*10\.0\.0\.7[^]*another name, version or group/,
  )
})

test.each([undefined, null, 1, {}, { owner: 'a.1', file: 'f', runner: '1' }, { owner: 1, file: 'f', runner: '1', settings: {} }])(
  'other content is ignored: %j',
  value => expect(liveContentOf(value)).toBeUndefined(),
)
