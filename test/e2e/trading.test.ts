/** All trading services in one process, from the exchange's feed to a WebSocket client. */
import { expect, test } from 'vitest'
import { runRunner, tempDir } from '../support/runner.ts'
import { TestClient } from '../connectors/websocket_server/browser.ts'
import { embeddedBackend, kafkaBackend } from './lib/backend.ts'
import { bySymbol, crossings, type Signal, startTrading, ticksOf } from './lib/trading.ts'

test.each(['embedded', 'kafka'] as const)(
  '%s: a recorded session becomes signals, executions and updates; nothing is lost',
  { timeout: 120_000 },
  async name => {
    const cwd = tempDir()
    const backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    const trading = await startTrading(backend, cwd, 400)
    const { feed, ports, topic, read } = trading
    feed.playTo(400)
    try {
      const ticks = ticksOf(feed.lines)
      const wanted = crossings(ticks)
      const signals = [...wanted.values()].flat().length
      expect(signals).toBeGreaterThan(30)
      const browser = await connected(ports.browsers)

      const post = (body: object) =>
        fetch(`http://127.0.0.1:${ports.audit}/audit`, {
          method: 'POST',
          body: JSON.stringify(body),
          headers: { 'content-type': 'application/json' },
        })
      const event = { actor: 'ann', action: 'approve', resource: 'order/7' }
      await expect
        .poll(
          () =>
            post(event).then(
              r => r.status,
              () => 0,
            ),
          { timeout: 60_000 },
        )
        .toBe(200)
      expect((await post({ actor: 'ann' })).status).toBe(422)
      const notification = { user_id: 'u1', title: 'Margin', body: '<b>call</b>' }
      const sent = await runRunner(['trigger', trading.notify, '--data', JSON.stringify(notification), '--wait', '20s'], {
        cwd,
        env: trading.env,
      })
      expect(sent.code, sent.stderr).toBe(0)

      // The feed breaks off twice in the middle; it continues only while a client is connected.
      for (const n of [400, 900]) {
        feed.playTo(n)
        await expect.poll(() => feed.sent).toBe(n)
        // What is on the wire when it breaks is lost, as in life: here all has arrived.
        await backend.waitFor(topic('market-data-updates'), ticksOf(feed.lines.slice(0, n)).length)
        feed.cut()
      }
      // Killed between two ticks: what was not committed is done again, once.
      await browser.until('a message', () => browser.messages.length > 0)
      const before = browser.messages
      await trading.crash()
      const after = await connected(ports.browsers, browser.last)
      await after.frame('gap')
      expect(after.frames.find(f => f.type === 'gap')).toEqual({ type: 'gap', reason: 'restart' })
      feed.playTo(Number.POSITIVE_INFINITY)

      await backend.waitFor(topic('market-data-updates'), ticks.length)
      await backend.waitFor(topic('trade-executions'), signals)
      const events = await read('forward-test-events')
      await backend.waitFor(topic('realtime-updates'), signals + 1 + events.length)

      const prices = (await read('market-data-updates')).map(e => e.data)
      expect(prices).toHaveLength(ticks.length)
      expect(
        Map.groupBy(prices, p => p.symbol)
          .get('ETHUSD')!
          .map(p => p.price),
      ).toEqual(ticks.filter(t => t.symbol === 'ETHUSD').map(t => t.price))
      const made = (await read('strategy-signals')).map(
        ({ data }): Signal => ({ symbol: data.market_data.symbol, price: data.market_data.price, action: data.signal.action }),
      )
      expect(bySymbol(made)).toEqual(wanted)

      const executions = (await read('trade-executions')).map(e => e.data)
      expect(new Set(executions.map(e => e.trade_id)).size).toBe(signals)
      expect(executions.map(e => [e.symbol, e.action])).toEqual(made.map(s => [s.symbol, s.action]))
      for (const e of executions) expect(prices.some(p => p.symbol === e.symbol && p.price === e.price)).toBe(true)
      checkPortfolio(
        executions,
        (await read('portfolio-updates')).map(e => e.data),
      )
      expect(events.filter(e => e.data.event === 'signal')).toHaveLength(signals)
      expect(events.filter(e => e.data.event === 'rejected')).toHaveLength(executions.filter(e => e.status === 'REJECTED').length)

      // At least once: what was sent just before the kill may come twice.
      const distinct = (list: readonly unknown[]) => [...new Set(list.map(e => JSON.stringify(e)))].toSorted()
      const updates = distinct(await read('realtime-updates'))
      expect(updates).toHaveLength(signals + events.length + 1)
      await after.until('all updates', () => distinct([...before, ...after.messages].map(f => f.data)).length === updates.length)
      expect(distinct([...before, ...after.messages].map(f => f.data))).toEqual(updates)
      expect(
        updates
          .map(u => JSON.parse(u).data)
          .filter(d => d.type === 'notification')
          .map(d => d.payload),
      ).toEqual([notification])

      const dead = (await backend.readAll(topic('events.v1.dlq'))).map(r => String(r.value))
      const broken = feed.lines.filter(line => ticksOf([line]).length === 0 && !line.includes('subscriptions'))
      expect(dead.toSorted()).toEqual([...broken, '{"actor":"ann"}'].toSorted())
      expect((await read('audit-logs')).map(e => e.data.resource)).toEqual(['order/7'])
      expect((await read('symbol-subscriptions')).map(e => e.data.symbols)).toEqual([['BTCUSD', 'ETHUSD']])
      const health = (await read('service-health')).map(e => e.data)
      expect(new Set(health.map(h => h.pipeline)).size).toBe(7)
      await Promise.all([browser, after].map(c => c.close()))
    } finally {
      try {
        await trading.stop()
      } finally {
        await backend.close()
      }
    }
  },
)

async function connected(port: number, lastId?: string): Promise<TestClient> {
  let client: TestClient | undefined
  await expect
    .poll(
      async () => {
        client = new TestClient(port)
        await client.until('an answer', () => client!.frames.length > 0 || client!.code !== undefined)
        return client.frames.length
      },
      { timeout: 60_000 },
    )
    .toBe(1)
  return await client!.subscribe({ last_id: lastId })
}

/** The last portfolio is what the executions add up to. */
function checkPortfolio(executions: readonly any[], portfolios: readonly any[]): void {
  let cash = 100_000
  const held = new Map<string, number>()
  for (const { status, action, price, quantity, symbol } of executions) {
    const has = held.get(symbol) ?? 0
    const possible = action === 'BUY' ? cash >= price * quantity : has >= quantity
    expect(status).toBe(possible ? 'FILLED' : 'REJECTED')
    if (!possible) continue
    cash += action === 'BUY' ? -price * quantity : price * quantity
    held.set(symbol, has + (action === 'BUY' ? quantity : -quantity))
  }
  expect(portfolios).toHaveLength(executions.filter(e => e.status === 'FILLED').length)
  const last = portfolios.at(-1)
  expect(last.cash).toBeCloseTo(cash, 4)
  for (const [symbol, quantity] of held) expect(last.positions[symbol]?.quantity ?? 0).toBe(quantity)
}
