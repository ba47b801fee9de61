import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JoinConfig } from '../../src/generated/config-types.ts'
import { loadText } from '../../src/config/load.ts'
import { testPipeline } from '../../src/testing/pipeline.ts'
import { defineTransform, Message } from '../../src/contract/plugin.ts'
import join from '../../src/transforms/join.ts'
import { messagesOf, runTransform, transformConformance } from '../conformance/transform.ts'

const config = (c: Partial<JoinConfig> = {}): JoinConfig => ({
  left_when: 'has(value.l)',
  key: 'k',
  time: 'ts',
  within: 10,
  type: 'inner',
  on_unmatched: 'drop',
  on_late: 'drop',
  allowed_lateness: 0,
  idle_timeout: 1000,
  max_future: 3_600_000,
  max_records: 1000,
  ...c,
})
const l = (id: number, ts: number, k = 'a') => ({ value: { l: id, k, ts }, time: ts })
const r = (id: number, ts: number, k = 'a') => ({ value: { r: id, k, ts }, time: ts })

/** `l1-r2` for a pair, `l1-` and `-r2` without a match, `late l1`, `unmatched l1`, `dead l1`. */
async function run(c: Partial<JoinConfig>, inputs: readonly { value: any; time: number }[], end = true): Promise<string[]> {
  const made = await runTransform(join, config(c), [messagesOf(inputs)], { end })
  const name = (v: any): string => (v === null ? '' : v.l === undefined ? `r${v.r}` : `l${v.l}`)
  return made.events.map(e => {
    const v = e.message.value as any
    if (e.kind === 'out') return `${name(v.left)}-${name(v.right)}`
    return e.kind === 'port' ? `${e.port} ${name(v)}` : `dead ${name(v)}`
  })
}

const INPUT = [l(1, 0), r(1, 10), r(2, 11), l(2, 12, 'b'), l(3, 21), r(3, 100), l(4, 5)]

test.each<[what: string, c: Partial<JoinConfig>, expected: string[]]>([
  ['inner', {}, ['l1-r1', 'l3-r2']],
  ['left', { type: 'left' }, ['l1-r1', 'l3-r2', 'l2-']],
  ['right', { type: 'right' }, ['l1-r1', 'l3-r2', '-r3']],
  ['outer', { type: 'outer' }, ['l1-r1', 'l3-r2', 'l2-', '-r3']],
  ['late and unmatched by port', { on_late: 'port', on_unmatched: 'port' }, ['l1-r1', 'l3-r2', 'unmatched l2', 'late l4', 'unmatched r3']],
  ['late and unmatched to the dlq', { on_late: 'dlq', on_unmatched: 'dlq', type: 'left' }, ['l1-r1', 'l3-r2', 'l2-', 'dead l4', 'dead r3']],
  ['lateness', { allowed_lateness: 95 }, ['l1-r1', 'l3-r2', 'l4-r1', 'l4-r2']],
  ['a wider window', { within: 89, type: 'outer' }, ['l1-r1', 'l1-r2', 'l3-r1', 'l3-r2', 'l3-r3', 'l2-']],
])('%s', async (_, c, expected) => {
  expect(await run(c, INPUT)).toEqual(expected)
})

test('every pair within the time is emitted once, with the key and the later time; several pairs of a record have different parts', async () => {
  const made = await runTransform(join, config(), [messagesOf([l(1, 1), l(2, 2), r(1, 5)])])
  expect(made.out.map(m => [m.key, m.time, m.part, m.value])).toEqual([
    ['a', 5, undefined, { left: { l: 1, k: 'a', ts: 1 }, right: { r: 1, k: 'a', ts: 5 } }],
    ['a', 5, '#1', { left: { l: 2, k: 'a', ts: 2 }, right: { r: 1, k: 'a', ts: 5 } }],
  ])
})

test('records beyond max_records, without a key, and with a wrong condition are dead letters', async () => {
  const made = await runTransform(join, config({ max_records: 1, left_when: 'l' }), [
    messagesOf([
      { value: { l: true, k: 'a', ts: 1 } },
      { value: { l: true, k: 'b', ts: 2 } },
      { value: { l: false, k: {}, ts: 3 } },
      { value: { l: 3, k: 'a', ts: 3 } },
    ]),
  ])
  expect(made.failures.map(f => f.error.message)).toEqual([
    '1 records of this lane wait for a match already (max_records)',
    "'k' gave {}, which is not a key",
    "left_when: 'l' gave 3, not true or false",
  ])
})

test('silence ends the wait for a match', async () => {
  const made = await runTransform(join, config({ type: 'left' }), [messagesOf([l(1, 0)]), { idle: 500 }, { idle: 1000 }])
  expect(made.out.map(m => m.value)).toEqual([{ left: { l: 1, k: 'a', ts: 0 }, right: null }])
  expect(made.state.get('records')?.size ?? 0).toBe(0)
})

test.each<[idle: number, endless: boolean, varies: boolean]>([
  [1000, true, true],
  [0, true, false],
  [1000, false, false],
])('its output depends on silence, also that of an inner join (idle_timeout %s, endless %s)', async (idle_timeout, endless, varies) => {
  const late = { value: { r: 1, k: 'a', ts: 5 }, time: 5 }
  const silence = endless ? [{ idle: 1000 }] : []
  const made = await runTransform(join, config({ idle_timeout }), [messagesOf([l(1, 0)]), ...silence, messagesOf([late])])
  expect(made.out).toHaveLength(varies ? 0 : 1)
  const declared = join.varies as (c: JoinConfig, input: { endless: boolean; datedByRead: boolean }) => string | undefined
  for (const type of ['inner', 'left', 'right', 'outer'] as const)
    expect(declared(config({ idle_timeout, type }), { endless, datedByRead: false }) !== undefined).toBe(varies)
})

test('a late record is an error that mentions no window', async () => {
  const made = await runTransform(join, config({ on_late: 'dlq' }), [messagesOf([l(1, 100), l(2, 5)])])
  expect(made.failures.map(f => [f.error.name, f.error.message])).toEqual([
    ['LateError', 'late: 5 is 95ms before the event time of the lane, and records that it matches may be removed already'],
  ])
})

test.each([false, true])('pairs share no values: a later step may change them in place (values assigned before: %s)', async assigned => {
  const mark = defineTransform({
    type: 'mark',
    schema: {},
    create: () => ({
      process(messages, out) {
        for (const m of messages) {
          const { left, right } = m.value as any
          for (const side of [left, right]) side.list.push('changed')
          m.value = { left, right }
          out.emit(m)
        }
      },
    }),
  })
  const file = `name: t
sources: [{ kafka: { topics: [in] }, keyed_by: k }]
transforms:
  ${assigned ? '- map: { keep: true, fields: { more: "1" } }' : ''}
  - join: { left_when: 'has(value.l)', key: k, within: 10s, time: ts }
  - mark: {}
sinks: [{ name: out, kafka: { topic: out } }]
dlq: { kafka: { topic: dead } }
delivery: exactly_once
`
  await using pipeline = await testPipeline(file, { env: ENV, plugins: [mark] })
  const record = (side: 'l' | 'r', ts: number) => ({ value: { [side]: ts, k: 'a', ts, list: [] } })
  await pipeline.send([record('l', 1), record('l', 2), record('r', 3)])
  await pipeline.send(record('r', 4))
  await pipeline.crash()
  await pipeline.send(record('r', 5))
  const lists = (await pipeline.outputs('out')).flatMap(({ value }) => [value.left.list, value.right.list])
  expect(lists).toEqual(Array.from({ length: 12 }, () => ['changed']))
})

test('a waiting record does not keep the batch in memory that it was read with', async () => {
  const batch = Buffer.concat([Buffer.from(JSON.stringify(l(1, 0).value)), Buffer.alloc(1_000_000)])
  const payload = batch.subarray(0, batch.indexOf(0))
  const message = Message.fromRecord(payload, null, 0, undefined, 0, { lane: 'in/0', source: 'in', format: 'json' })
  const made = await runTransform(join, config({ on_unmatched: 'port' }), [[message]], { end: true })
  const [{ message: unmatched }] = made.events
  expect(unmatched.payload).toEqual(payload)
  expect(unmatched.payload!.buffer.byteLength).toBeLessThan(100_000)
})

/** A reference model: all pairs of records that were in time. */
function expected(inputs: readonly { value: any }[], c: JoinConfig): string[] {
  let max = Number.NEGATIVE_INFINITY
  const inTime: any[] = []
  for (const { value } of inputs) {
    max = Math.max(max, value.ts)
    if (value.ts >= max - c.allowed_lateness) inTime.push(value)
  }
  const [left, right] = [inTime.filter(v => v.l !== undefined), inTime.filter(v => v.l === undefined)]
  const meets = (a: any, b: any): boolean => a.k === b.k && Math.abs(a.ts - b.ts) <= c.within
  return [
    ...left.flatMap(a => right.filter(b => meets(a, b)).map(b => `l${a.l}-r${b.r}`)),
    ...(c.type === 'left' || c.type === 'outer' ? left.filter(a => !right.some(b => meets(a, b))).map(a => `l${a.l}-`) : []),
    ...(c.type === 'right' || c.type === 'outer' ? right.filter(b => !left.some(a => meets(a, b))).map(b => `-r${b.r}`) : []),
  ].toSorted()
}

const inputs = fc
  .array(fc.record({ left: fc.boolean(), k: fc.constantFrom('a', 'b', 'c'), ts: fc.nat(60) }), { maxLength: 40 })
  .map(list => list.map(({ left, k, ts }, id) => (left ? l(id, ts, k) : r(id, ts, k))))

test('any records give the pairs of the reference model', async () => {
  await fc.assert(
    fc.asyncProperty(
      inputs,
      fc.constantFrom('inner' as const, 'left' as const, 'right' as const, 'outer' as const),
      fc.nat(20),
      fc.integer({ min: 1, max: 15 }),
      async (list, type, allowed_lateness, within) => {
        const c = config({ type, allowed_lateness, within })
        expect((await run(c, list)).toSorted()).toEqual(expected(list, c))
      },
    ),
    { numRuns: 200 },
  )
})

transformConformance('join', join, config({ type: 'outer', on_late: 'dlq', allowed_lateness: 5 }), inputs, { idle: 2000, end: true })

const FILE = `name: t
sources:
  - { name: orders, kafka: { topics: [orders] } }
  - { name: payments, kafka: { topics: [payments] } }
transforms:
  - repartition: { by: order, time: ts, partitions: 2 }
  - join: { left: orders, right: payments, within: 10s, time: ts, allowed_lateness: 0s, type: left, on_unmatched: port, on_late: port }
sinks:
  - { name: out, kafka: { topic: out } }
  - { name: unpaid, kafka: { topic: unmatched }, from: join.unmatched }
  - { name: late, kafka: { topic: late }, from: join.late }
dlq: { kafka: { topic: dead } }
delivery: exactly_once
`
const ENV = { KAFKA_BROKERS: 'embedded' }

describe('two sources', () => {
  test('meet behind repartition, exactly once, also after crashes', async () => {
    await using pipeline = await testPipeline(FILE, { env: ENV })
    const order = (id: string, seconds: number) => ({ source: 'orders', value: { order: id, ts: seconds * 1000 } })
    const payment = (id: string, seconds: number) => ({ source: 'payments', value: { order: id, ts: seconds * 1000 } })
    await pipeline.send([order('a', 1), order('b', 2), order('c', 3)])
    await pipeline.send([payment('b', 4)])
    await pipeline.crash()
    await pipeline.send([payment('a', 5), payment('x', 6)])
    await pipeline.advance('1s')
    await pipeline.crash()
    await pipeline.send([order('b', 8), order('z', 60), payment('z', 61)])
    await pipeline.end()
    const rows = (await pipeline.outputs('out')).map(({ key, value: { left, right } }) => [
      key,
      left.ts / 1000,
      right === null ? null : right.ts / 1000,
    ])
    expect(rows.toSorted()).toEqual([
      ['a', 1, 5],
      ['b', 2, 4],
      ['b', 8, 4],
      ['c', 3, null],
      ['z', 60, 61],
    ])
    expect((await pipeline.outputs('unpaid')).map(o => o.value)).toEqual([{ order: 'x', ts: 6000 }])
    expect(await pipeline.deadLetters()).toEqual([])
  })

  test.each([
    ['without repartition, they would never meet', FILE.replace(/ {2}- repartition.*\n/, ''), 'CONFIG_LANE_KEY'],
    ['repartition needs the time', FILE.replace('by: order, time: ts,', 'by: order,'), 'CONFIG_CHECK'],
    ['a source that does not exist', FILE.replace('right: payments', 'right: payment'), 'CONFIG_SOURCE'],
    ['one side twice', FILE.replace('right: payments', 'right: orders'), 'CONFIG_CHECK'],
    ['no side', FILE.replace('left: orders, right: payments, ', ''), 'CONFIG_CHECK'],
    ['an outer join has no unmatched records', FILE.replace('type: left', 'type: outer'), 'CONFIG_CHECK'],
    ['a right key other than that of repartition', FILE.replace('join: {', 'join: { right_key: customer,'), 'CONFIG_LANE_KEY'],
    [
      'a right key other than that of repartition, beside its key',
      FILE.replace('join: {', 'join: { key: order, right_key: id,'),
      'CONFIG_LANE_KEY',
    ],
    ['a key other than that of repartition', FILE.replace('join: {', 'join: { key: customer,'), 'CONFIG_LANE_KEY'],
  ])('%s', async (_, text, code) => {
    const { problems } = await loadText('t.yaml', text, { env: ENV })
    expect([...new Set(problems.filter(p => p.severity === 'error').map(p => p.code))]).toEqual([code])
  })

  test('the pair has the fields of both', async () => {
    const source = (name: string) =>
      `  - { name: ${name}, generate: { fields: { order: { value: a }, ts: { time: true }, ${name}_id: { value: 1 } } } }\n`
    const text = FILE.replace(/sources:\n(.*\n){2}/, `sources:\n${source('orders')}${source('payments')}`).replace(
      'sinks:',
      '  - map: { fields: { a: left.orders_id, b: left.payments_id } }\nsinks:',
    )
    const { problems } = await loadText('t.yaml', text.replace('delivery: exactly_once\n', ''), { env: ENV })
    expect(problems.filter(p => p.severity === 'error').map(p => `${p.code} ${p.message.split(';')[0]}`)).toEqual([
      'CONFIG_NO_FIELD left has no field payments_id',
    ])
  })
})
