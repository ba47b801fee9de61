import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { messagesOf, runTransform, transformConformance } from 'pipeline-runner/testing'
import plugin from './plugin.ts'

const config = { session_id: 's', strategy_id: 'x', fast: 2, slow: 3, quantity: 5 }
const prices = (symbol: string, ...list: number[]) => list.map(price => ({ value: { symbol, price } }))

async function signals(inputs: { value?: unknown }[]): Promise<any[]> {
  const run = await runTransform(plugin, config, [messagesOf(inputs)])
  expect(run.failures).toEqual([])
  return run.out.map(m => m.value)
}

describe('sma_crossover', () => {
  test('a signal for each crossing, with its reason', async () => {
    const [up, down, ...more] = await signals(prices('BTC', 10, 9, 8, 12, 13, 7, 6))
    expect(up).toEqual({
      session_id: 's',
      strategy_id: 'x',
      signal: { action: 'BUY', quantity: 5, reason: 'SMA(2) 10 crossed above SMA(3) 9.6666667' },
      market_data: { symbol: 'BTC', price: 12 },
    })
    expect(down.signal).toEqual({ action: 'SELL', quantity: 5, reason: 'SMA(2) 10 crossed below SMA(3) 10.666667' })
    expect(more).toEqual([])
  })

  test('no signal before the slow average is full, nor while both are equal', async () => {
    expect(await signals(prices('BTC', 1, 2))).toEqual([])
    expect(await signals(prices('BTC', 5, 5, 5, 5, 5))).toEqual([])
    // Falling, then level, then falling again: never crossed.
    expect(await signals(prices('BTC', 10, 9, 8, 8, 8, 8, 7))).toEqual([])
  })

  test('symbols are independent, and the key is the symbol', async () => {
    const [a, b] = [prices('A', 10, 9, 8, 12), prices('B', 10, 11, 12, 8)]
    const mixed = a.flatMap((tick, i) => [tick, b[i]])
    const run = await runTransform(plugin, config, [messagesOf(mixed)])
    expect(run.out.map(m => [m.key, (m.value as any).signal.action])).toEqual([
      ['A', 'BUY'],
      ['B', 'SELL'],
    ])
  })

  test('invalid ticks are dead-lettered and change nothing', async () => {
    const good = prices('BTC', 10, 9, 8, 12)
    const bad = [
      {},
      5,
      null,
      [],
      { symbol: 'BTC' },
      { symbol: 'BTC', price: '1' },
      { symbol: 'BTC', price: -1 },
      { symbol: '', price: 1 },
    ].map(value => ({ value }))
    const run = await runTransform(plugin, config, [messagesOf([...bad, ...good, ...bad])])
    expect(run.out).toHaveLength(1)
    expect(run.failures.map(f => f.error.message)).toEqual(
      Array(2)
        .fill([...Array(4).fill('symbol must be text'), ...Array(3).fill('price must be a positive number'), 'symbol must be text'])
        .flat(),
    )
  })

  test('fast must be less than slow', () => {
    expect(plugin.validateConfig!({ ...config, fast: 3 })).toEqual([{ path: ['fast'], message: 'must be less than slow, which is 3' }])
    expect(plugin.validateConfig!(config)).toEqual([])
  })
})

const tick = fc.record({ symbol: fc.constantFrom('A', 'B'), price: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constant('bad')) })
const inputs = fc.array(fc.record({ value: tick }), { maxLength: 60 })
describe('sma_crossover: conformance', () => {
  for (const { name, run } of transformConformance({ plugin, config, inputs })) test(name, run)
})
