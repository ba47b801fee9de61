/** The page in a real browser: live, and whole again after its connection was cut. */
import { existsSync } from 'node:fs'
import { afterAll, expect, test } from 'vitest'
import { type Browser, chromium, type Page } from 'playwright-core'
import { runRunner, tempDir } from '../support/runner.ts'
import { startProxy } from '../support/tcp-proxy.ts'
import { embeddedBackend } from './lib/backend.ts'
import { crossings, startTrading, ticksOf } from './lib/trading.ts'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const args = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
let browser: Browser | undefined
afterAll(() => browser?.close())

test('signals, executions and notifications are shown live, and a broken connection misses nothing', async () => {
  if (!existsSync(executablePath)) throw new Error(`no browser at ${executablePath}: apt-get install chromium, or set CHROMIUM`)
  const cwd = tempDir()
  const backend = embeddedBackend(cwd)
  const trading = await startTrading(backend, cwd, 400)
  const { feed, topic, read } = trading
  const proxy = await startProxy(`127.0.0.1:${trading.ports.browsers}`)
  try {
    feed.playTo(600)
    browser = await chromium.launch({ executablePath, args })
    const page = await browser.newPage({ viewport: { width: 1280, height: 760 } })
    const errors: string[] = []
    page.on('pageerror', error => errors.push(error.message))
    await expect
      .poll(
        () =>
          page.goto(`http://${proxy.address}/`).then(
            r => r?.status(),
            () => 0,
          ),
        { timeout: 60_000 },
      )
      .toBe(200)
    await page.locator('#state.live').waitFor()

    const expected = (n: number): string[] =>
      [...crossings(ticksOf(feed.lines.slice(0, n))).values()]
        .flat()
        .map(s => `${s.action} ${s.symbol}`)
        .toSorted()
    await expect.poll(() => shown(page, 'signals')).toEqual(expected(600))

    // The browser is disconnected while the market continues and a message is sent.
    proxy.cut()
    await page.locator('#state:not(.live)').waitFor()
    feed.playTo(1000)
    await backend.waitFor(topic('trade-executions'), expected(1000).length)
    await notify(trading, cwd, { user_id: 'u1', title: 'Margin call', body: '<img src=x onerror=alert(1)>' })
    proxy.restore()
    await page.locator('#state.live').waitFor()
    await expect.poll(() => shown(page, 'signals')).toEqual(expected(1000))

    // The exchange cuts the runner off, too.
    await backend.waitFor(topic('market-data-updates'), ticksOf(feed.lines.slice(0, 1000)).length)
    feed.cut()
    feed.playTo(Number.POSITIVE_INFINITY)
    const all = expected(feed.lines.length)
    await backend.waitFor(topic('trade-executions'), all.length)
    await expect.poll(() => shown(page, 'signals')).toEqual(all)
    const executions = (await read('trade-executions')).map(({ data }) => `${data.action} ${data.quantity} ${data.symbol} ${data.status}`)
    await expect.poll(() => shown(page, 'executions', true)).toEqual(executions.toSorted())
    const rejected = (await read('forward-test-events')).filter(e => e.data.event === 'rejected').length
    await expect.poll(() => page.locator('#notifications li').count()).toBe(rejected + 1)
    // Text stays text.
    expect(await page.locator('#notifications li', { hasText: 'Margin call' }).locator('small').textContent()).toBe(
      '<img src=x onerror=alert(1)>',
    )
    expect(await page.locator('img').count()).toBe(0)
    expect([await page.locator('#gaps').textContent(), errors]).toEqual(['', []])
    const ids = await page.locator('li').evaluateAll(items => items.map(i => i.dataset.id))
    expect(new Set(ids).size).toBe(ids.length)
    if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT })
  } finally {
    await proxy.stop()
    try {
      await trading.stop()
    } finally {
      await backend.close()
    }
  }
})

async function shown(page: Page, list: string, marks = false): Promise<string[]> {
  const rows = await page
    .locator(`#${list} li`)
    .evaluateAll(items => items.map(i => [...i.querySelectorAll('span')].map(s => s.textContent ?? '')))
  return rows.map(([what, mark]) => (marks ? `${what} ${mark}` : what)).toSorted()
}

async function notify(trading: Awaited<ReturnType<typeof startTrading>>, cwd: string, what: object): Promise<void> {
  const { code, stderr } = await runRunner(['trigger', trading.notify, '--data', JSON.stringify(what), '--wait', '20s'], {
    cwd,
    env: trading.env,
  })
  expect(code, stderr).toBe(0)
}
