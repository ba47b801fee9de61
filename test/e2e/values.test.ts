/**
 * Generated values through every transform and every connector, on real servers, and back: numbers of all shapes, text of all planes,
 * depths, dates. What must come out is put together as text next to what goes in, so that no parser of ours is the reference; what lies
 * on a server is read by the server's own client, and PostgreSQL says whether both are one value.
 * VALUES_SEED and VALUES_RECORDS repeat a run or make it longer.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryChannel, type PipelineHandle, run, type StoredRecord } from 'pipeline-runner'
import { beforeAll, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { eventually } from '../support/eventually.ts'
import { brokers, consumeAll, createTopic } from '../support/kafka.ts'
import { database, sql } from '../support/postgres.ts'
import { seeded } from '../support/random.ts'
import { cli, redisUrl } from '../support/redis.ts'
import { runRunner, tempDir } from '../support/runner.ts'
import { startSheets } from '../support/sheets.ts'
import { freePorts } from '../support/servers/ports.ts'
import { unique } from '../support/unique.ts'

const SEED = Number(process.env.VALUES_SEED ?? 20_261_129)
const RECORDS = Number(process.env.VALUES_RECORDS ?? 80)

beforeAll(() => {
  process.env.RUNNER_STATE_DIR = tempDir()
})

/** A record as it is sent, and the text that it has when a step has encoded it again. */
interface Sample {
  readonly key: string
  readonly raw: string
  readonly again: string
}

const NUMBERS = [
  '0',
  '-0',
  '1',
  '-1',
  '1.10',
  '0.1',
  '-0.0',
  '1e400',
  '-1E-400',
  '2E+7',
  '9007199254740993',
  '12345678901234567.89',
  '5e-324',
  '1.7976931348623157e308',
  '100.000',
  '1e2',
]
/** First and last of what UTF-8 and UTF-16 write in another way, white space, what JSON and JavaScript escape, a noncharacter. */
const POINTS = [
  0x01, 0x09, 0x0a, 0x1f, 0x20, 0x22, 0x27, 0x2f, 0x3c, 0x5c, 0x7e, 0x7f, 0x80, 0x7ff, 0x800, 0x2028, 0x2029, 0xd7ff, 0xe000, 0xfeff,
  0xfffd, 0xffff, 0x1_0000, 0x1_f600, 0x10_ffff,
]

/** What PostgreSQL has no text for: NUL, and half characters. */
const WILD = [0x00, 0xd800, 0xdfff]

function samples(seed: number, count: number, points: readonly number[]): Sample[] {
  const random = seeded(seed)
  const below = (n: number): number => Math.floor(random() * n)
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]
  const times = (n: number, make: () => string): string => Array.from({ length: n }, make).join('')
  const digits = (n: number): string => times(n, () => String(below(10)))
  const number = (): string => {
    if (random() < 0.4) return pick(NUMBERS)
    const whole = digits(1 + below(30)).replace(/^0+(?=\d)/, '')
    return `${pick(['', '-'])}${whole}${random() < 0.5 ? `.${digits(1 + below(30))}` : ''}${random() < 0.2 ? `${pick(['e', 'E'])}${pick(['', '+', '-'])}${below(300)}` : ''}`
  }
  /** Each character as it is or escaped, as `raw`; as JSON.stringify writes the text, as `again`. */
  const text = (length: number): { raw: string; again: string } => {
    let raw = ''
    let value = ''
    for (let i = 0; i < length; i++) {
      const point = random() < 0.5 ? pick(points) : below(2) ? 0x61 + below(26) : pick([0x400, 0x4e00, 0x1_f300]) + below(200)
      const c = String.fromCodePoint(point)
      value += c
      const mustEscape = point < 0x20 || point === 0x22 || point === 0x5c || (point >= 0xd800 && point <= 0xdfff)
      raw +=
        mustEscape || random() < 0.2
          ? c
              .split('')
              .map(u => `\\u${u.charCodeAt(0).toString(16).padStart(4, '0')}`)
              .join('')
          : c
    }
    return { raw: `"${raw}"`, again: JSON.stringify(value) }
  }
  return Array.from({ length: count }, (_, i) => {
    const n = number()
    const depth = pick([1, 2, 10, 200])
    const deep = `${'['.repeat(depth)}${number()}${']'.repeat(depth)}`
    const date = new Date(
      Date.UTC(1970 + below(8000), below(12), 1 + below(28), below(24), below(60), below(60), below(1000)),
    ).toISOString()
    const t = text(below(20))
    const name = text(1 + below(5))
    const inner = number()
    const space = pick(['', ' ', '  '])
    const of = (t: string, name: string, space: string): string =>
      `{${space}"id":"r${i}",${space}"n":${n},"t":${t},"deep":${deep}${space},"when":"${date}","o":{"x":null,"__proto__":true,${name.slice(0, 1)}_${name.slice(1)}:${inner}}}`
    return { key: `r${i}`, raw: of(t.raw, name.raw, space), again: of(t.again, name.again, '') }
  })
}

/** Every transform that lets a value through; at its end the same record, encoded again. */
const EVERY = [
  { filter: 'n == n' },
  { validate: { schema: { type: 'object', required: ['id', 'n'], properties: { n: { type: 'number' } } } } },
  { dedupe: { key: 'id' } },
  { rekey: 'id' },
  { throttle: { key: 'id', interval: '1ms', keep: 'last' } },
  { map: { keep: true, fields: { seen: 'n', 'nested.n': 'n' } } },
  { map: { keep: true, drop: ['seen', 'nested'] } },
  { envelope: { wrap: 'values' } },
  { envelope: { unwrap: true, set_time: false } },
  { group: { key: 'id', as: 'items', key_as: 'k' } },
  { unnest: { field: 'items', as: 'item' } },
  { map: 'item' },
  { join_latest: { table: 'id == "none"', key: 'id', as: 'joined', on_missing: 'pass' } },
  { map: { keep: true, drop: ['joined'] } },
  { map: { fields: { v: 'value' } } },
  { window: { size: '1h', by: 'v.id', aggregates: { first: { first: 'v' }, all: { collect: 'v' } } } },
  { map: { fields: { v: 'all[0]', same: 'first' } } },
  { map: 'v' },
] as const

/** A number's value as text, put together digit by digit. */
function sameDecimal(a: string, b: string): boolean {
  const parts = (text: string): string => {
    const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)!
    const digits = `${whole}${fraction}`.replace(/^0+/, '')
    const kept = digits.replace(/0+$/, '')
    return kept === '' ? '0' : `${sign}${kept}e${Number(exponent) - fraction.length + digits.length - kept.length}`
  }
  return /^-?\d/.test(b) && parts(a) === parts(b)
}

const CHAINS = [
  ['untouched', []],
  ['every transform', EVERY],
] as const

let runs = 0
/** Through a pipeline of its own; what its memory sink got, if it has one. */
async function pipeline(
  source: object | undefined,
  transforms: readonly object[],
  sink: object | undefined,
  records: readonly Sample[],
  whileRunning?: (handle: PipelineHandle) => Promise<void>,
): Promise<StoredRecord[]> {
  const [input, out] = [0, 1].map(() => new MemoryChannel({ capacity: 1_000_000 }))
  const dead = new MemoryChannel({ capacity: 1_000_000 })
  const handle = await run(
    {
      name: `values-${++runs}`,
      delivery: 'at_least_once',
      sources: [source ?? { memory: { channel: 'in' } }],
      transforms,
      sinks: [sink ?? { memory: { channel: 'out' } }],
      dlq: { memory: { channel: 'dead' } },
    },
    {
      memory: { ...(source === undefined && { in: input }), ...(sink === undefined && { out }), dead },
      ...(source !== undefined && whileRunning === undefined && { untilIdle: '1s' }),
    },
  )
  if (source === undefined) {
    await input.send(records.map(({ key, raw }, i) => ({ key, payload: raw, time: 1_700_000_000_000 + i })))
    input.end()
  }
  await whileRunning?.(handle)
  await handle.completed
  expect(dead.take().map(r => String(r.headers?.find(h => h[0] === 'error_message')?.[1]))).toEqual([])
  return sink === undefined ? out.take() : []
}

const texts = (records: readonly { payload: Buffer | null }[]): string[] => records.map(r => String(r.payload))
/** Windows close key by key. */
const sorted = (list: readonly string[]): string[] => list.toSorted()

describe.each(CHAINS)(`%s (VALUES_SEED=${SEED})`, (chain, transforms) => {
  const written = (r: Sample): string => (chain === 'untouched' ? r.raw : r.again)
  const records = samples(SEED + transforms.length, RECORDS, [...POINTS, ...WILD])
  const expected = sorted(records.map(written))
  const forth = (sink: object, of = records): Promise<StoredRecord[]> => pipeline(undefined, transforms, sink, of)
  const back = async (source: object, whileRunning?: (handle: PipelineHandle) => Promise<void>): Promise<string[]> =>
    sorted(texts(await pipeline(source, [], undefined, [], whileRunning)))

  test('memory', async () => {
    expect(sorted(texts(await pipeline(undefined, transforms, undefined, records)))).toEqual(expected)
  })

  test('file', async () => {
    const path = join(tempDir(), 'values.jsonl')
    await forth({ file: { path } })
    expect(sorted(readFileSync(path, 'utf8').split('\n').slice(0, -1))).toEqual(expected)
    expect(await back({ file: { path } })).toEqual(expected)
  })

  test('stdout and stdin', async () => {
    const input = records.map(r => `${r.raw}\n`).join('')
    const cwd = tempDir({
      'p.yaml': JSON.stringify({ name: 'values', sources: [{ stdin: 'jsonl' }], transforms, sinks: [{ stdout: 'jsonl' }] }),
    })
    const { code, stdout, stderr } = await runRunner(['run', 'p.yaml'], { cwd, stdin: input })
    expect(code, stderr).toBe(0)
    expect(sorted(stdout.split('\n').slice(0, -1))).toEqual(expected)
  })

  test('Kafka', async () => {
    const topic = await createTopic(unique('values'))
    await forth({ kafka: { brokers: brokers(), topic } })
    expect(sorted((await consumeAll(topic)).map(r => String(r.value)))).toEqual(expected)
    expect(await back({ kafka: { brokers: brokers(), topics: [topic], once: true } })).toEqual(expected)
  })

  test('embedded log', async () => {
    const topic = unique('values')
    await forth({ kafka: { brokers: 'embedded', topic } })
    expect(await back({ kafka: { brokers: 'embedded', topics: [topic], once: true } })).toEqual(expected)
  })

  test('Redis keys and hashes', async () => {
    const prefix = unique('values')
    await forth({ redis: { url: redisUrl(), string: `${prefix}:<id>` } })
    await forth({ redis: { url: redisUrl(), hash: prefix, hash_field: 'id' } })
    const lines = records.map(written)
    expect((await cli(['MGET', ...records.map(r => `${prefix}:${r.key}`)])).split('\n')).toEqual(lines)
    expect((await cli(['HMGET', prefix, ...records.map(r => r.key)])).split('\n')).toEqual(lines)
  })

  test('Google Sheets', async () => {
    const server = await startSheets('book')
    const dsn = await database()
    await sql(
      dsn,
      `CREATE TABLE posts (spreadsheet_id text, tab text, row_key text, status text NOT NULL, claimed_at timestamptz NOT NULL,
       posted_at timestamptz, UNIQUE (spreadsheet_id, tab, row_key))`,
    )
    const { endpoint } = server
    const columns = ['id', 't', 'n', 'o']
    await forth({
      google_sheets: {
        endpoint,
        dsn,
        posts_table: 'posts',
        spreadsheet: '"book"',
        access_token: 'token',
        requests_per_minute: 10_000,
        tab: 'T',
        key: 'id',
        columns,
      },
    })
    const cells = server.rows('book', 'T')!.slice(1)
    // A number cell is a double: what one would round is text, digit for digit.
    const number = (n: string): unknown => (sameDecimal(n, String(Number(n))) ? Number(n) + 0 : n)
    const expected = records.map(({ key, again }) => [
      key,
      JSON.parse(again.match(/"t":("(?:[^"\\]|\\.)*")/)![1]),
      number(again.match(/"n":([^,]+)/)![1]),
      again.match(/"o":(.*)}$/s)![1],
    ])
    expect(new Map(cells.map(c => [c[0], c]))).toEqual(new Map(expected.map(c => [c[0], c])))
    await server.close()
  })

  test('Redis', async () => {
    const [list, stream] = [unique('list'), unique('stream')]
    await forth({ redis: { url: redisUrl(), list } })
    expect(sorted((await cli(['LRANGE', list, 0, -1])).split('\n'))).toEqual(expected)
    expect(await back({ redis: { url: redisUrl(), list } })).toEqual(expected)
    await forth({ redis: { url: redisUrl(), stream } })
    expect(await back({ redis: { url: redisUrl(), streams: [stream], field: 'value' } })).toEqual(expected)
  })

  test('PostgreSQL', async () => {
    const dsn = await database()
    const rows = samples(SEED + transforms.length, RECORDS, POINTS)
    await sql(dsn, 'create table t (id text primary key, n numeric, doc json)')
    const insert = `insert into t select r->>'id', (r->>'n')::numeric, r from json_array_elements($batch::json) r`
    await forth({ postgres: { dsn, statements: [{ sql: insert }] } }, rows)
    const docs = await sql<{ doc: string }>(dsn, 'select doc::text doc from t')
    expect(sorted(docs.map(r => r.doc))).toEqual(sorted(rows.map(written)))
    // Another program's opinion: the value that went in and the one that is there are one, and so is the number in its column.
    const [{ differ }] = await sql<{ differ: string }>(
      dsn,
      `select count(*)::text differ from unnest($1::text[]) s(raw) left join t on t.id = raw::json->>'id'
       where raw::jsonb is distinct from doc::jsonb or t.n::text is distinct from (raw::jsonb->>'n')::numeric::text`,
      [rows.map(r => r.raw)],
    )
    expect(differ).toBe('0')
    const read = await back({ postgres: { dsn, query: 'select id, doc from t', cursor: 'id' } })
    expect(read).toEqual(sorted(rows.map(r => `{"id":"${r.key}","doc":${written(r)}}`)))
  })

  test.each(['one', 'array', 'ndjson'])('http, %s', async batch => {
    const [port] = await freePorts(1)
    const format = batch === 'ndjson' ? 'ndjson' : 'json'
    const got = await back({ http: { port, path: '/v', format, max_body: '100MiB' } }, async receiver => {
      await forth({ http: { url: `http://127.0.0.1:${port}/v`, batch } })
      await receiver.stop()
    })
    expect(got).toEqual(expected)
  })

  test('WebSocket, served and read', async () => {
    const [port] = await freePorts(1)
    const frames: string[] = []
    const served = new MemoryChannel({ capacity: 1_000_000 })
    const sink = await run(
      {
        name: `values-${++runs}`,
        sources: [{ memory: { channel: 'in' } }],
        transforms,
        sinks: [{ websocket_server: { port, topic: '"t"', ring: 100_000, ring_size: '1GiB' } }],
      },
      { memory: { in: served } },
    )
    const client = await eventually(async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`)
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
      return socket
    })
    const all = new Promise<void>(resolve => {
      client.on('message', (data: Buffer) => {
        const frame = data.toString()
        if (frame.includes('"subscribed"'))
          served
            .send(records.map(({ key, raw }, i) => ({ key, payload: raw, time: 1_700_000_000_000 + i })))
            .then(() => served.end(), resolve)
        if (frame.startsWith('{"type":"message"')) frames.push(frame)
        if (frames.length === records.length) resolve()
      })
    })
    client.send('{"type":"subscribe"}')
    await all
    client.close()
    await sink.stop()
    const data = sorted(frames.map(f => f.slice(f.indexOf('"data":') + 7, -1)))
    expect(data).toEqual(expected)

    const feed = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await new Promise(resolve => feed.once('listening', resolve))
    feed.on('connection', socket => {
      for (const text of data) socket.send(text)
      socket.close(1000)
    })
    const { port: feedPort } = feed.address() as { port: number }
    const got = await pipeline({ websocket: { url: `ws://127.0.0.1:${feedPort}`, on_close: 'end' } }, [], undefined, [])
    feed.close()
    expect(sorted(texts(got))).toEqual(expected)
  })
})

/** Transforms whose peers keep no NUL and no half characters, or that need more than a value. */
describe(`through a peer and back (VALUES_SEED=${SEED})`, () => {
  const records = samples(SEED + 1, RECORDS, POINTS)
  const rewritten = sorted(records.map(r => r.again))

  test('sql and lookup: PostgreSQL returns a value digit for digit', async () => {
    const dsn = await database()
    await sql(dsn, 'create table docs (id text primary key, doc json)')
    await sql(dsn, `insert into docs select x::json->>'id', x::json from unnest($1::text[]) x`, [records.map(r => r.raw)])
    const transforms = [
      { sql: { dsn, query: 'select $message::json as doc', as: 'asked' } },
      { lookup: { dsn, key: 'id', query: 'select id, doc from docs where id = any($keys)', as: 'found' } },
      { filter: 'asked.doc.n == found.doc.n && asked.doc.t == found.doc.t' },
      { map: 'found.doc' },
    ]
    expect(sorted(texts(await pipeline(undefined, transforms, undefined, records)))).toEqual(rewritten)
    expect(sorted(texts(await pipeline(undefined, [transforms[0], { map: 'asked.doc' }], undefined, records)))).toEqual(rewritten)
  })

  test('repartition: unchanged values, and rewritten values', async () => {
    const wild = samples(SEED + 2, RECORDS, [...POINTS, ...WILD])
    const topic = unique('repartition')
    await pipeline(undefined, [], { kafka: { brokers: 'embedded', topic } }, wild)
    const source = { kafka: { brokers: 'embedded', topics: [topic], group: topic, start_at: 'earliest' } }
    const read = async (transforms: readonly object[]): Promise<string[]> =>
      sorted(texts(await pipeline(source, transforms, undefined, [])))
    expect(await read([{ repartition: { by: 'id', partitions: 3 } }])).toEqual(sorted(wild.map(r => r.raw)))
    const again = { kafka: { ...source.kafka, group: `${topic}-2` } }
    const steps = [
      { envelope: { wrap: 'x' } },
      { repartition: { by: 'data.id', partitions: 3 } },
      { envelope: { unwrap: true, set_time: false } },
    ]
    expect(sorted(texts(await pipeline(again, steps, undefined, [])))).toEqual(sorted(wild.map(r => r.again)))
  })

  test('dead letters and revive', async () => {
    const wild = samples(SEED + 3, RECORDS, [...POINTS, ...WILD])
    const [topic, dead] = [await createTopic(unique('refused')), await createTopic(unique('dead'))]
    await pipeline(undefined, [], { kafka: { brokers: brokers(), topic } }, wild)
    const refusing = await run(
      {
        name: `values-${++runs}`,
        sources: [{ kafka: { brokers: brokers(), topics: [topic], once: true } }],
        transforms: [{ map: { keep: true, fields: { x: 'missing.y' } } }],
        sinks: [{ memory: { channel: 'out' } }],
        dlq: { kafka: { brokers: brokers(), topic: dead } },
      },
      { memory: { out: new MemoryChannel() } },
    )
    await refusing.completed
    const letters = { kafka: { brokers: brokers(), topics: [dead], once: true, format: 'bytes' } }
    expect(sorted(texts(await pipeline(letters, [{ revive: {} }], undefined, [])))).toEqual(sorted(wild.map(r => r.raw)))
  })
})

/** Present on most machines; where it is not, PostgreSQL is the second opinion. */
const hasPython = spawnSync('python3', ['-c', 'import json, decimal']).status === 0

test.skipIf(!hasPython)("Python's json: the input and the expected output are one value, digit for digit", () => {
  const script = `
import sys, json
exact = dict(parse_float=str, parse_int=str, parse_constant=lambda c: 1/0)
count = 0
for line in sys.stdin.buffer.read().decode('utf-8').split('\\0')[:-1]:
    raw, again = line.split('\\1')
    a, b = json.loads(raw, strict=True, **exact), json.loads(again, strict=True, **exact)
    assert a == b, (raw, again)
    count += 1
print(count)
`
  const all = samples(SEED + 4, 10 * RECORDS, [...POINTS, ...WILD])
  const input = all.map(r => `${r.raw}\x01${r.again}\0`).join('')
  const { status, stdout, stderr } = spawnSync('python3', ['-c', script], { input, encoding: 'utf8' })
  expect(status, stderr).toBe(0)
  expect(stdout.trim()).toBe(String(all.length))
})

/**
 * Steps that compute or rewrite: what must come out is worked out by Python's decimal module, and the steps get the numbers in JSON of its
 * making.
 */
describe.skipIf(!hasPython)(`steps that compute (VALUES_SEED=${SEED})`, () => {
  const python = (script: string): string[] => {
    const { status, stdout, stderr } = spawnSync('python3', ['-c', `import random, sys\nfrom decimal import *\n${script}`], {
      encoding: 'utf8',
    })
    expect(status, stderr).toBe(0)
    return stdout.split('\n').slice(0, -1)
  }
  /** `n()` is the text of a positive decimal of up to 30 digits, `other(text)` the same number in other digits. */
  const NUMBERS_OF_PYTHON = `
getcontext().prec = 400
getcontext().Emax, getcontext().Emin = 999999, -999999
random.seed(${SEED})
def n():
    whole = str(random.randrange(10 ** random.choice([1, 3, 16, 17, 30])) + 1)
    return whole + random.choice(['', '.' + ''.join(random.choice('0123456789') for _ in range(random.choice([1, 2, 18])))])
def other(text):
    d = Decimal(text)
    return random.choice([lambda: text + ('0' if '.' in text else '.0'), lambda: '{:e}'.format(d), lambda: '"' + text + '"', lambda: '{:f}'.format(d.normalize())])()
def spelling(t, text):
    s = other(t)
    return s if text or s[0] != '"' else t
`
  const send = async (name: string, lines: readonly string[]): Promise<[string, MemoryChannel]> => {
    const channel = new MemoryChannel({ capacity: 1_000_000 })
    await channel.send(lines.map((payload, i) => ({ key: null, payload, time: 1_700_000_000_000 + i })))
    channel.end()
    return [name, channel]
  }

  test('normalize: prices and volumes keep their digits', async () => {
    const lines = python(`${NUMBERS_OF_PYTHON}
for i in range(${RECORDS}):
    quote = random.choice(['', '"'])
    p, v, s = n(), n(), n()
    print('{"p":%s,"q":%s,"s":"A%d","t":%d}' % (quote + p + quote, quote + v + quote, i, 1700000000000 + i))
    print('{"type":"ticker","exchange":"x","symbol":"A%d","price":"%s","volume":"%s","bid":null,"ask":null,"ts":%d}' % (i, p, v, 1700000000000 + i))
`)
    const format = 'exchange: x\nmessages:\n  - { type: ticker, match: { p: "*" }, symbol: s, price: p, volume: q, ts: t }\n'
    const dir = tempDir({ 'x.format.yaml': format })
    const records = lines.filter((_, i) => i % 2 === 0).map((raw, i) => ({ key: `r${i}`, raw, again: raw }))
    const out = texts(await pipeline(undefined, [{ normalize: { formats: join(dir, 'x.format.yaml') } }], undefined, records))
    expect(out).toEqual(lines.filter((_, i) => i % 2 === 1))
  })

  test('bars: prices are those of the trades, volumes are exact sums; JSON numbers stay JSON numbers, digit for digit', async () => {
    const lines = python(`${NUMBERS_OF_PYTHON}
for w in range(${Math.ceil(RECORDS / 8)}):
    text = w % 2 == 0
    trades = [(spelling(n(), text), spelling(n(), text)) for _ in range(random.randrange(1, 9))]
    for i, (p, v) in enumerate(trades):
        print('in {"symbol":"A","price":%s,"volume":%s,"ts":%d}' % (p, v, 1700000040000 + 60000 * w + i))
    value = lambda t: Decimal(t.strip('"'))
    ps = [p for p, _ in trades]
    volume = sum(value(v) for _, v in trades)
    print('out', 'text' if text else 'number', *[p.strip('"') for p in (ps[0], max(ps, key=value), min(ps, key=value), ps[-1])], volume, len(trades))
`)
    const records = lines.filter(l => l.startsWith('in ')).map((l, i) => ({ key: `r${i}`, raw: l.slice(3), again: '' }))
    const out = texts(await pipeline(undefined, [{ bars: { interval: '1m', max_future: '365d' } }], undefined, records))
    const fields = ['open', 'high', 'low', 'close', 'volume', 'count']
    const expected = lines.filter(l => l.startsWith('out ')).map(l => l.split(' ').slice(1))
    const found = out.map(bar => fields.map(name => new RegExp(`"${name}":("?[^",}]+)`).exec(bar)![1]))
    expect(found.length).toBe(expected.length)
    found.forEach((bar, i) => {
      const [form, ...wanted] = expected[i]
      bar.forEach((n, k) => expect(sameDecimal(n.replace('"', ''), wanted[k]), `${fields[k]} ${n} is ${wanted[k]}`).toBe(true))
      if (form === 'number') {
        expect(bar.slice(0, 4)).toEqual(wanted.slice(0, 4))
        expect(bar[4]).not.toContain('"')
      }
    })
  })

  test('reconcile: numbers are equal in all their spellings, and differ in their last digit', async () => {
    const lines = python(`${NUMBERS_OF_PYTHON}
for i in range(${RECORDS}):
    a = n()
    d = Decimal(a)
    changed = '{:f}'.format(d + Decimal(1).scaleb(d.as_tuple().exponent))
    b = random.random() < 0.5
    print('{"id":%d,"v":%s}' % (i, a))
    print('{"id":%d,"v":%s}' % (i, other(changed if b else a)))
    print('%d' % i if b else '-')
`)
    const [left, right] = [0, 1].map(k => lines.filter((_, i) => i % 3 === k))
    const differing = lines.filter((l, i) => i % 3 === 2 && l !== '-')
    const out = new MemoryChannel({ capacity: 1_000_000 })
    const handle = await run(
      {
        name: `values-${++runs}`,
        sources: [
          { memory: { channel: 'left' }, name: 'left' },
          { memory: { channel: 'right' }, name: 'right' },
        ],
        transforms: [{ reconcile: { left: 'left', right: 'right', key: 'id', tolerance: 0 } }],
        sinks: [{ memory: { channel: 'out' } }],
      },
      { memory: { ...Object.fromEntries([await send('left', left), await send('right', right)]), out } },
    )
    await handle.completed.catch(() => undefined)
    const found = texts(out.take()).map(t => JSON.parse(t) as { kind: string; key: number })
    expect(
      found
        .filter(f => f.kind === 'mismatch')
        .map(f => String(f.key))
        .toSorted(),
    ).toEqual(differing.toSorted())
    expect(differing.length).toBeGreaterThan(10)
  })
})
