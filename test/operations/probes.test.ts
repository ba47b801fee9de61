/** `runner check` on steps that need no external server. */
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { untilStatus } from '../e2e/lib/http.ts'

async function check(source: string, sink = 'stdout: {}', env: Record<string, string> = {}) {
  const cwd = tempDir({ file: '', 'p.yaml': `name: p\nsources: [{ ${source} }]\nsinks: [{ ${sink} }]\n` })
  const { code, stdout, stderr } = await runRunner(['check', 'p.yaml', '--json'], { cwd, env })
  if (stdout === '') throw new Error(stderr)
  const steps = JSON.parse(stdout).pipelines[0].steps as { role: string; checked: boolean; findings: object[] }[]
  expect(steps.every(s => s.checked)).toBe(true)
  return { code, source: steps[0].findings, sink: steps[1].findings }
}

test('a schedule shows its next time, or that it has ended', async () => {
  const cron = await check('schedule: { cron: "0 0 1 1 *", timezone: UTC }')
  expect(cron.code).toBe(0)
  expect(cron.source).toEqual([
    { what: 'schedule 0 0 1 1 * (UTC)', ok: true, detail: expect.stringMatching(/^next at 20\d\d-01-01T00:00:00.000Z$/) },
  ])
  expect((await check('schedule: { every: 90s, from: "2100-01-01T00:00:00Z" }')).source).toEqual([
    { what: 'schedule every 90 s', ok: true, detail: 'next at 2100-01-01T00:00:00.000Z' },
  ])
  expect((await check('schedule: { every: 1m, until: "2020-01-01T00:00:00Z" }')).source).toMatchObject([
    { ok: true, detail: 'no scheduled times left' },
  ])
})

test('triggers: the file can be created, or the reason is shown', async () => {
  expect((await check('trigger: {}')).source).toEqual([{ what: 'trigger file .runner/triggers.db', ok: true, detail: 'will be created' }])
  const refused = await check('trigger: {}', undefined, { RUNNER_STATE_DIR: 'file' })
  expect(refused.code).toBe(3)
  expect(refused.source).toMatchObject([{ what: 'trigger file file/triggers.db', ok: false, fix: expect.stringMatching(/^ls -ld /) }])
})

test('runner_status queries the other runners', async () => {
  const [port, nobody] = await freePorts(2)
  const other = startRunner(['run', 'o.yaml'], {
    cwd: tempDir({
      'o.yaml': `name: other\nsources: [{ schedule: { every: 1h } }]\nsinks: [{ stdout: {} }]\nmetrics: { port: ${port} }\n`,
    }),
  })
  await untilStatus(other, port, '/ready', 200)
  const { code, source } = await check(`runner_status: { urls: ["http://127.0.0.1:${port}", "http://127.0.0.1:${nobody}"] }`)
  expect(code).toBe(3)
  expect(source).toEqual([
    { what: `runner http://127.0.0.1:${port}`, ok: true, detail: 'other: ok' },
    expect.objectContaining({ ok: false, detail: expect.stringContaining('ECONNREFUSED') }),
  ])
  expect((await check('runner_status: {}')).source).toMatchObject([{ what: 'pipelines of this process', ok: true }])
  other.kill('SIGTERM')
  await other.exit(0)
})

test('websocket_server: a free port and an existing page pass; a used port and a missing page fail', async () => {
  const generate = 'generate: { fields: { n: { sequence: 0 } } }'
  const [port] = await freePorts(1)
  const free = await check(generate, `websocket_server: { port: ${port}, topic: '"t"', page: file }`)
  expect(free.sink).toEqual([
    { what: `listening on 127.0.0.1:${port}`, ok: true, detail: 'the port is free' },
    { what: 'page file', ok: true },
  ])
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port: taken } = server.address() as AddressInfo
  const bad = await check(generate, `websocket_server: { port: ${taken}, topic: '"t"', page: missing.html }`)
  expect(bad.code).toBe(3)
  expect(bad.sink).toMatchObject([
    { ok: false, detail: 'another process uses the port (EADDRINUSE)' },
    { what: 'page missing.html', ok: false },
  ])
})

test('steps that share a port do not report it as used', async () => {
  const [port] = await freePorts(1)
  const both = await check(`http: { port: ${port}, path: /orders }`, `websocket_server: { port: ${port}, topic: '"t"' }`)
  expect(both).toMatchObject({ code: 0, source: [{ ok: true }], sink: [{ ok: true }] })
})
