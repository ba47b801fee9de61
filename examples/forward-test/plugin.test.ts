import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { messagesOf, runTransform, transformConformance } from 'pipeline-runner/testing'
import plugin from './plugin.ts'

const config = { cash: 100 }
const order = (action: string, quantity: number, price: number | null, symbol = 'BTC', session_id = 's') => ({
  value: {
    session_id,
    strategy_id: 'x',
    signal: { action, quantity, reason: 'r' },
    market_data: { symbol, price: 1 },
    market: price === null ? null : { price },
  },
})
const run = (...orders: { value: unknown }[]) => runTransform(plugin, config, [messagesOf(orders)])
const kinds = (m: { headers?: readonly (readonly [string, unknown])[] }) => m.headers?.[0][1]

describe('paper_trade', () => {
  test('buys and sells at the market price; averages, gains and cash add up', async () => {
    const { out } = await run(order('BUY', 2, 10), order('BUY', 2, 20), order('SELL', 1, 25), order('SELL', 3, 5))
    expect(out.filter(m => kinds(m) === 'portfolio').map(m => m.value)).toEqual([
      { session_id: 's', cash: 80, realized_pnl: 0, positions: { BTC: { quantity: 2, average_price: 10 } }, timestamp: expect.any(String) },
      { session_id: 's', cash: 40, realized_pnl: 0, positions: { BTC: { quantity: 4, average_price: 15 } }, timestamp: expect.any(String) },
      {
        session_id: 's',
        cash: 65,
        realized_pnl: 10,
        positions: { BTC: { quantity: 3, average_price: 15 } },
        timestamp: expect.any(String),
      },
      { session_id: 's', cash: 80, realized_pnl: -20, positions: {}, timestamp: expect.any(String) },
    ])
    expect(out.map(kinds)).toEqual(Array(4).fill(['event', 'execution', 'portfolio']).flat())
  })

  test('trades that need debts or short positions are rejected with the reason, and change nothing', async () => {
    const { out } = await run(order('SELL', 1, 10), order('BUY', 11, 10), order('BUY', 1, 10, 'BTC', 'other'))
    expect(out.filter(m => kinds(m) === 'execution').map(m => (m.value as any).status)).toEqual(['REJECTED', 'REJECTED', 'FILLED'])
    const reasons = out.map(m => m.value as any).filter(v => v.event === 'rejected')
    expect(reasons.map(v => v.reason)).toEqual(['holds 0 BTC', 'needs 110, has 100'])
  })

  test('equal signals are one trade, different signals are different trades', async () => {
    const ids = async () =>
      (await run(order('BUY', 1, 1), order('BUY', 1, 1))).out.flatMap(m => ((m.value as any).status ? [(m.value as any).trade_id] : []))
    const first = await ids()
    expect(new Set(first).size).toBe(2)
    expect(await ids()).toEqual(first)
    expect(first[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  test('without a price there is no trade', async () => {
    const { failures, out } = await run(order('BUY', 1, null), order('BUY', 1, 0))
    expect([failures.map(f => f.error.message), out]).toEqual([Array(2).fill('market.price must be a positive number'), []])
  })
})

const orders = fc.record({
  action: fc.constantFrom('BUY', 'SELL'),
  quantity: fc.integer({ min: 1, max: 5 }),
  price: fc.integer({ min: 0, max: 30 }),
  symbol: fc.constantFrom('A', 'B'),
})
const inputs = fc.array(
  orders.map(o => order(o.action, o.quantity, o.price, o.symbol)),
  { maxLength: 40 },
)
describe('paper_trade: conformance', () => {
  for (const { name, run: check } of transformConformance({ plugin, config, inputs })) test(name, check)
})
