/** What a plugin emits that can't be written is that record's failure: with every sink, and with every step that keeps a state. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Json, MemoryChannel, run, type StoredRecord } from 'pipeline-runner'
import { beforeAll, expect, test } from 'vitest'
import { tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { redisUrl } from '../support/redis.ts'
import { unique } from '../support/unique.ts'

beforeAll(() => {
  process.env.RUNNER_STATE_DIR = tempDir()
})

/** `kind` of a record says what goes wrong with it; a record without leaves as it is. */
const PLUGIN = `
const cycle = {}
cycle.self = cycle
const { proxy, revoke } = Proxy.revocable({}, {})
revoke()
let deep = []
for (let i = 0; i < 20_000; i++) deep = [deep]
const values = {
  bigint: 1n,
  cycle,
  nan: Number.NaN,
  infinity: -Infinity,
  map: new Map([[1, 2]]),
  function: () => 1,
  symbol: Symbol('x'),
  'toJSON throws': { toJSON() { throw new RangeError('Invalid string length') } },
  'toJSON gives a bigint': { toJSON: () => 1n },
  'toJSON gives nothing': { toJSON: () => undefined },
  'getter throws': { get x() { throw new Error('no') } },
  proxy,
  deep,
}
const changes = {
  'value undefined': m => { m.value = undefined },
  'value function': m => { m.value = () => 1 },
  'number as key': m => { m.key = 5 },
  'object as key': m => { m.key = { a: 1 } },
  'time NaN': m => { m.time = Number.NaN },
  'time a text': m => { m.time = '2026-01-01' },
  'time too far': m => { m.time = 1e300 },
  'headers a map': m => { m.headers = new Map([['a', 'b']]) },
  'header a number': m => { m.headers = [['a', 5]] },
  'header without a name': m => { m.headers = [[undefined, 'b']] },
}
export const kinds = [...Object.keys(values), ...Object.keys(changes)]
export default {
  kind: 'transform',
  type: 'nasty',
  schema: { type: 'object' },
  create: () => ({
    process(messages, out) {
      for (const m of messages) {
        const { kind, id } = m.value
        const made = m.derive({ id, n: 1 })
        if (kind in values) made.value = { id, n: values[kind] }
        else if (kind !== undefined) changes[kind](made)
        out.emit(made)
      }
    },
  }),
}
`
const dir = (): string => tempDir({ 'nasty.js': PLUGIN, 'package.json': '{"type":"module"}' })

async function through(
  transforms: readonly object[],
  sink: object | undefined,
): Promise<{ out: StoredRecord[]; dead: string[]; good: string[]; kinds: string[] }> {
  const base = dir()
  const { kinds } = (await import(join(base, 'nasty.js'))) as { kinds: string[] }
  const [input, out, dead] = [0, 1, 2].map(() => new MemoryChannel({ capacity: 100_000 }))
  const handle = await run(
    {
      name: unique('nasty'),
      delivery: 'at_least_once',
      plugins: ['./nasty.js'],
      sources: [{ memory: { channel: 'in' } }],
      transforms: [{ nasty: {} }, ...transforms],
      sinks: [sink ?? { memory: { channel: 'out' } }],
      dlq: { memory: { channel: 'dead' } },
    },
    { base, memory: { in: input, dead, ...(sink === undefined && { out }) } },
  )
  const records = kinds.flatMap(kind => [{ id: `good before ${kind}` }, { id: kind, kind }])
  await input.send(records.map((value, i) => ({ value: value as Json, key: 'k', time: 1_700_000_000_000 + i })))
  input.end()
  await handle.completed
  const reasons = dead
    .take()
    .map(r => `${(r.value as { kind: string }).kind}: ${String(r.headers?.find(h => h[0] === 'error_message')?.[1])}`)
  return { out: sink === undefined ? out.take() : [], dead: reasons, good: kinds.map(k => `good before ${k}`), kinds }
}

const line = (id: string): string => `{"id":"${id}","n":1}`

type Make = (folder: string) => Promise<object> | object
type Check = (folder: string, good: string[]) => unknown
const SINKS: readonly (readonly [string, Make] | readonly [string, Make, Check])[] = [
  [
    'file jsonl',
    folder => ({ file: { path: join(folder, 'out.jsonl'), fsync: 'never' } }),
    (folder, good) => expect(readFileSync(join(folder, 'out.jsonl'), 'utf8')).toBe(good.map(id => `${line(id)}\n`).join('')),
  ],
  [
    'file csv',
    folder => ({ file: { path: join(folder, 'out.csv'), fsync: 'never' } }),
    (folder, good) => expect(readFileSync(join(folder, 'out.csv'), 'utf8')).toBe(`id,n\n${good.map(id => `${id},1\n`).join('')}`),
  ],
  ['file envelope', folder => ({ file: { path: join(folder, 'out.jsonl'), envelope: true } })],
  ['file by time and key', folder => ({ file: { path: join(folder, '{hour}/{@key}.jsonl') } })],
  ['embedded log', () => ({ kafka: { brokers: 'embedded', topic: unique('nasty') } })],
  ['redis list', () => ({ redis: { url: redisUrl(), list: unique('nasty') } })],
  ['redis stream of fields', () => ({ redis: { url: redisUrl(), stream: unique('nasty'), entry: 'fields' } })],
  ['redis hash', () => ({ redis: { url: redisUrl(), hash: unique('nasty') } })],
  ['http', async () => ({ http: { url: `http://127.0.0.1:${await receiver()}/in`, batch: 'array' } })],
  ['websocket_server', async () => ({ websocket_server: { port: (await freePorts(1))[0], topic: '"t"' } })],
]

async function receiver(): Promise<number> {
  const [port] = await freePorts(1)
  const sink = new MemoryChannel({ capacity: 100_000 })
  receivers.push(
    await run(
      { name: unique('receiver'), sources: [{ http: { port, path: '/in' } }], sinks: [{ memory: { channel: 'out' } }] },
      { memory: { out: sink } },
    ),
  )
  return port
}
const receivers: { stop(): Promise<unknown> }[] = []

test.each(SINKS)('%s', async (...[, make, check]: [string, Make, Check?]) => {
  const folder = tempDir()
  const { dead, good, kinds } = await through([], await make(folder))
  for (const r of receivers.splice(0)) await r.stop()
  expect(dead.map(d => d.slice(0, d.indexOf(':')))).toEqual(kinds)
  for (const reason of dead) expect(reason).toMatch(/: the step emitted/)
  await check?.(folder, good)
})

test.each([
  ['dedupe', [{ dedupe: { key: 'id' } }]],
  ['throttle', [{ throttle: { key: 'id', interval: '1s', keep: 'last' } }]],
  ['join_latest', [{ join_latest: { table: 'id.startsWith("table")', key: 'id', as: 'j', on_missing: 'pass' } }]],
  ['window', [{ window: { size: '1h', by: 'id', aggregates: { c: { collect: 'n' }, l: { last: 'n' } } } }]],
  ['rekey and group', [{ rekey: 'id' }, { group: { key: 'id' } }]],
  ['filter and map', [{ filter: 'id != ""' }, { map: { keep: true, fields: { m: 'n' } } }]],
])('a state: %s', async (_, transforms) => {
  const { dead, out, good, kinds } = await through(transforms, undefined)
  expect(dead.map(d => d.slice(0, d.indexOf(':')))).toEqual(kinds)
  expect(out.length).toBe(good.length)
})

const WITH_STATE = `
export default {
  kind: 'transform', type: 'nasty', stateful: true, schema: { type: 'object' },
  create(config, ctx) {
    const state = ctx.state('own')
    return {
      process(messages, out) {
        for (const m of messages) {
          const { id } = m.value
          if (id === 'set') state.set('k', 1n)
          else if (id === 'function') state.set('f', () => 1)
          else if (id === 'nothing') out.emit(undefined)
          else if (id === 'object') out.emit({ value: 1 })
          else out.emit(m)
        }
      },
    }
  },
}`

test('what a plugin puts into its own state, or emits instead of a message', async () => {
  const base = tempDir({ 'nasty.js': WITH_STATE, 'package.json': '{"type":"module"}' })
  const [input, out, dead] = [0, 1, 2].map(() => new MemoryChannel({ capacity: 100_000 }))
  const handle = await run(
    {
      name: unique('nasty'),
      delivery: 'at_least_once',
      plugins: ['./nasty.js'],
      sources: [{ memory: { channel: 'in' } }],
      transforms: [{ nasty: {} }],
      sinks: [{ memory: { channel: 'out' } }],
      dlq: { memory: { channel: 'dead' } },
    },
    { base, memory: { in: input, dead, out } },
  )
  const ids = ['a', 'set', 'b', 'nothing', 'c', 'object', 'd', 'function', 'e']
  await input.send(ids.map((id, i) => ({ value: { id }, key: 'k', time: 1_700_000_000_000 + i })))
  input.end()
  await handle.completed
  expect(dead.take().map(r => (r.value as { id: string }).id)).toEqual(['set', 'nothing', 'object', 'function'])
  expect(out.take().map(r => (r.value as { id: string }).id)).toEqual(['a', 'b', 'c', 'd', 'e'])
})

const SOURCE = `
import { Message } from 'pipeline-runner'
const cycle = {}
cycle.self = cycle
export default {
  kind: 'source', type: 'nasty', schema: { type: 'object' }, replayable: false, reason: 'test',
  create(config, ctx) {
    let done = false
    return {
      open: () => ctx.assign([{ id: 'l', source: ctx.step }]),
      async read() {
        if (done) return null
        done = true
        const origin = { lane: 'l', source: ctx.step, format: 'json' }
        const values = [{ id: 'a' }, cycle, 1n, undefined, { id: 'b' }]
        return { lane: 'l', position: 5, messages: values.map((v, i) => new Message(v, 'k', 0, undefined, i, origin)) }
      },
    }
  },
}`

test('what a source of its own reads', async () => {
  const base = tempDir({ 'nasty.js': SOURCE, 'package.json': '{"type":"module"}' })
  const [out, dead] = [0, 1].map(() => new MemoryChannel({ capacity: 100_000 }))
  const handle = await run(
    {
      name: unique('nasty'),
      plugins: ['./nasty.js'],
      sources: [{ nasty: {} }],
      transforms: [{ dedupe: { key: 'id' } }],
      sinks: [{ memory: { channel: 'out' } }],
      dlq: { memory: { channel: 'dead' } },
    },
    { base, memory: { dead, out } },
  )
  await handle.completed
  expect(dead.take().map(r => r.headers?.find(h => h[0] === 'source_offset')?.[1]?.toString())).toEqual(['1', '2', '3'])
  expect(out.take().map(r => (r.value as { id: string }).id)).toEqual(['a', 'b'])
})

test('a text that grows beyond what a string can be', async () => {
  const [input, out, dead] = [0, 1, 2].map(() => new MemoryChannel({ capacity: 100_000 }))
  const handle = await run(
    {
      name: unique('nasty'),
      sources: [{ memory: { channel: 'in' } }],
      transforms: Array.from({ length: 4 }, () => ({ map: { fields: { s: 's + s + s + s + s + s + s + s' } } })),
      sinks: [{ memory: { channel: 'out' } }],
      dlq: { memory: { channel: 'dead' } },
    },
    { memory: { in: input, dead, out } },
  )
  await input.send([{ value: { s: 'a' } }, { value: { s: 'x'.repeat(200_000) } }, { value: { s: 'b' } }])
  input.end()
  await handle.completed
  expect(dead.take()).toHaveLength(1)
  expect(out.take().map(r => (r.value as { s: string }).s.length)).toEqual([4096, 4096])
})
