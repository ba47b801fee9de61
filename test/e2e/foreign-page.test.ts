/** A page of another site, in a real browser, tries every listener of a runner on this machine. */
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type Browser, chromium } from 'playwright-core'
import { startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { get, metric, untilStatus } from './lib/http.ts'

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const args = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-sync',
]
let browser: Browser | undefined
const html = readFileSync(join(import.meta.dirname, 'lib/foreign-page.html'))
const site = createServer((_, response) => response.setHeader('content-type', 'text/html').end(html))
afterAll(async () => {
  await browser?.close()
  site.close()
})

test('a page of another site can post, read and listen to nothing; a listed site can', async () => {
  if (!existsSync(executablePath)) throw new Error(`no browser at ${executablePath}: apt-get install chromium, or set CHROMIUM`)
  await new Promise<void>(resolve => site.listen(0, '127.0.0.1', resolve))
  const evil = `http://evil.example:${(site.address() as AddressInfo).port}`
  const desk = evil.replace('evil', 'desk')
  const [port] = await freePorts(1)
  const cwd = tempDir({
    'p.yaml': `name: p
sources:
  - { name: open, http: { port: ${port}, path: /open } }
  - { name: desk, http: { port: ${port}, path: /desk, origins: [${desk}] } }
  - { name: wide, http: { port: ${port}, path: /token, auth: { bearer: [s3cret] } } }
sinks: [{ file: out.jsonl }, { websocket_server: { port: ${port}, topic: '"t"' } }]
metrics: { port: ${port} }
endpoints: [{ path: /status, port: ${port}, body: { lag: lag } }]
`,
  })
  const runner = startRunner(['run', 'p.yaml'], { cwd })
  await untilStatus(runner, port, '/ready', 200)
  // Both names lead here, as with DNS rebinding.
  browser = await chromium.launch({ executablePath, args: [...args, '--host-resolver-rules=MAP *.example 127.0.0.1'] })
  const page = await browser.newPage()
  await page.goto(evil)

  const outcome = await page.evaluate(`attack(${port})`)
  expect(outcome).toMatchObject({
    json: 'blocked',
    desk: 'blocked',
    token: 'blocked',
    metrics: 'blocked',
    status: 'blocked',
    socket: 'closed',
    rebound: 'closed',
  })

  // Under its own name the site is not same-origin with anything here.
  for (const path of ['/metrics', '/status', '/ready', '/ws'])
    expect([path, (await page.goto(`http://evil.example:${port}${path}`))?.status()]).toEqual([path, 421])

  await page.goto(desk)
  const posted = await page.evaluate(
    (url: string) =>
      fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"by":"desk"}' }).then(r => r.text()),
    `http://127.0.0.1:${port}/desk`,
  )
  expect(posted).toBe('{"accepted":1}')
  expect(readFileSync(join(cwd, 'out.jsonl'), 'utf8')).toBe('{"by":"desk"}\n')

  const { body } = await get(port, '/metrics')
  expect(metric(body, 'http_requests_total', { path: '/open', status: '200' })).toBe(0)
  expect(metric(body, 'http_requests_total', { path: '/open', status: '403' })).toBeGreaterThan(0)
  expect(runner.stderr).toContain('request rejected')
  runner.kill('SIGTERM')
  await runner.exit(0)
})
