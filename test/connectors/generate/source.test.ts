import { describe, expect, test } from 'vitest'
import type { GenerateSourceConfig } from '../../../src/generated/config-types.ts'
import generate from '../../../src/connectors/generate/source.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll, sourceConformance } from '../../conformance/source.ts'

const ticks: GenerateSourceConfig['fields'] = {
  id: { sequence: 10 },
  symbol: { choice: ['A', 'B', 'C'] },
  price: { walk: { start: 100, step: 0.5, min: 99, max: 101, decimals: 2 } },
  volume: { random: { min: -1, max: 1, decimals: 1 } },
  ts: { time: true },
  kind: { value: { x: [null] } },
  label: { expression: 'symbol + ":" + string(meta.offset)' },
}
const config = (o: Partial<GenerateSourceConfig> = {}): GenerateSourceConfig => ({ fields: ticks, count: 0, seed: 1, ...o })
const { signal } = new AbortController()

async function open(c: GenerateSourceConfig) {
  const ctx = fakeSourceContext('generate')
  const source = generate.create(c, ctx)
  await source.open!(signal)
  return { source, ctx }
}
const values = async (c: GenerateSourceConfig) =>
  (await readAll((await open(c)).source)).flatMap(b => b.messages.map(m => m.value as Record<string, any>))

sourceConformance('generate', {
  plugin: generate,
  async prepare(records) {
    // An empty input is not possible here: one record replaces it.
    const count = records.length === 0 ? 1 : 1600
    const c = config({ count, start: '2026-01-01' })
    return { config: c, expected: (await values(c)).map(v => JSON.stringify(v)) }
  },
})

describe('generate', () => {
  test('each kind of field generates its documented values', async () => {
    const all = await values(config({ count: 5000, start: '2026-01-01T00:00:00Z', step: 10 }))
    expect(all).toHaveLength(5000)
    expect(all.map(v => v.id)).toEqual(all.map((_, i) => 10 + i))
    expect(all.map(v => v.ts)).toEqual(all.map((_, i) => Date.UTC(2026, 0, 1) + i * 10))
    for (const s of ['A', 'B', 'C']) expect(all.filter(v => v.symbol === s).length).toBeGreaterThan(1500)
    expect(new Set(all.map(v => v.volume)).size).toBe(21)
    expect([Math.min(...all.map(v => v.volume)), Math.max(...all.map(v => v.volume))]).toEqual([-1, 1])
    expect(all.every(v => v.price >= 99 && v.price <= 101 && Number.isInteger(Math.round(v.price * 1e6) / 1e4))).toBe(true)
    expect(all.every((v, i) => i === 0 || Math.abs(v.price - all[i - 1].price) < 0.5001)).toBe(true)
    expect(all[7].label).toBe(`${all[7].symbol}:7`)
    expect(all[0].kind).toEqual({ x: [null] })
    expect(Object.keys(all[0])).toEqual(Object.keys(ticks))
  })

  test('numbers are exact: a counter beyond 2^53, and long results of expressions, also in lists and maps', async () => {
    const fields: GenerateSourceConfig['fields'] = {
      id: { sequence: 2 ** 53 },
      sum: { expression: '123456789012345678901234567890.5 + id' },
      all: { expression: '{"list": [id, sum], "before": value}' },
    }
    const written = (await values(config({ count: 2, fields }))).map(v => JSON.stringify(v))
    const line = (id: string, sum: string) => `{"id":${id},"sum":${sum},"all":{"list":[${id},${sum}],"before":{"id":${id},"sum":${sum}}}}`
    expect(written).toEqual([
      line('9007199254740992', '123456789012354686100489308882.5'),
      line('9007199254740993', '123456789012354686100489308883.5'),
    ])
  })

  test('equal seeds generate equal records, different seeds different ones', async () => {
    const of = (seed: number) => values(config({ count: 100, seed, start: '0' }))
    expect(await of(1)).toEqual(await of(1))
    const [a, b] = [await of(1), await of(2)]
    expect(a.filter((v, i) => v.price === b[i].price).length).toBeLessThan(20)
  })

  test('the key can come from a field; without start, the time comes from the clock', async () => {
    const { source, ctx } = await open(config({ count: 1, key: 'id' }))
    ctx.clock.step(5_000_000)
    const [{ messages }] = await readAll(source)
    expect([messages[0].key, messages[0].time]).toEqual(['10', 5_000_000])
  })

  test('the rate follows the clock, whatever was slow in between', async () => {
    const { source, ctx } = await open(config({ rate: 100, count: 1000 }))
    const sizes: number[] = []
    for (const ms of [0, 10, 200, 50, 10_000]) {
      ctx.clock.step(ctx.clock.now() + ms)
      const batch = await source.read(signal)
      sizes.push(batch!.messages.length)
      expect(source.caughtUp!('generate')).toBe(ms < 10_000)
    }
    expect(sizes).toEqual([1, 1, 20, 5, 500])
  })

  test('the signal aborts a waiting read', async () => {
    const { source } = await open(config({ rate: 0.001 }))
    await source.read(signal)
    const abort = new AbortController()
    const failed = expect(source.read(abort.signal)).rejects.toThrow('stopping')
    abort.abort(new Error('stopping'))
    await failed
  })

  test('an expression that does not fit its record fails only that record', async () => {
    const c = config({ count: 10, fields: { n: { sequence: 0 }, x: { expression: 'n / (n - 3)' } } })
    const messages = (await readAll((await open(c)).source)).flatMap(b => b.messages)
    expect(messages.map(m => m.failure !== undefined)).toEqual(messages.map((_, i) => i === 3))
  })
})

test.each<[Partial<GenerateSourceConfig>, string[]]>([
  [{}, []],
  [{ step: 10 }, ['step']],
  [{ step: 10, start: '0' }, []],
  [{ fields: { x: { random: { min: 2, max: 1, decimals: 0 } } } }, ['fields.x.random.min']],
  [{ fields: { x: { random: { min: 0.1, max: 0.9, decimals: 0 } } } }, ['fields.x.random.min']],
  [{ fields: { x: { random: { min: 0.1, max: 0.9, decimals: 1 } } } }, []],
  [{ fields: Object.fromEntries([['__proto__', { value: 1 }]]) }, ['fields.__proto__']],
  [{ fields: { x: { walk: { start: 0, step: 1, min: 2, max: 1, decimals: 0 } } } }, ['fields.x.walk.min']],
])('check: %j', (o, paths) => expect(generate.validateConfig!(config(o)).map(p => p.path.join('.'))).toEqual(paths))
