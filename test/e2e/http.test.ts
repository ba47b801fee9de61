/** HTTP from outside: one port for several pipelines' webhooks, metrics and endpoints; taken ports; signals. */
import { createServer } from 'node:http'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { get, metric, untilStatus } from './lib/http.ts'

const pipeline = (name: string, port: number, extra = ''): string => `name: ${name}
sources: [{ http: { port: ${port}, path: /${name} } }]
sinks: [{ file: ${name}.jsonl }]
endpoints: [{ path: /status/${name}, port: ${port}, body: { written: steps.file.out } }]
${extra}`
const post = async (url: string, body: string): Promise<number> => (await fetch(url, { method: 'POST', body })).status

test('two pipelines, their webhooks and endpoints and the metrics of both on one port', async () => {
  const [port] = await freePorts(1)
  const metrics = `metrics: { port: ${port} }`
  const cwd = tempDir({ 'a.yaml': pipeline('a', port, metrics), 'b.yaml': pipeline('b', port, metrics) })
  const runner = startRunner(['run', 'a.yaml', 'b.yaml'], { cwd })
  await untilStatus(runner, port, '/ready', 200)
  const url = `http://127.0.0.1:${port}`
  expect(await Promise.all([post(`${url}/a`, '[1.0,2]'), post(`${url}/b`, '3'), post(`${url}/c`, '4')])).toEqual([200, 200, 404])
  expect(JSON.parse((await get(port, '/status/a')).body)).toEqual({ written: 2 })
  expect(JSON.parse((await get(port, '/status/b')).body)).toEqual({ written: 1 })
  const { body } = await get(port, '/metrics')
  expect(metric(body, 'http_requests_total', { path: '/a', status: '200' })).toBe(1)
  expect(metric(body, 'runner_step_messages_out_total', { pipeline: 'b', kind: 'sink' })).toBe(1)
  runner.kill('SIGTERM')
  await runner.exit(0)
  expect(readFileSync(join(cwd, 'a.jsonl'), 'utf8')).toBe('1.0\n2\n')
})

test.each(['source', 'endpoint', 'metrics'])('a port that is in use for the %s: exit code 3 and a fix', async what => {
  const other = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => other.once('listening', resolve))
  const taken = (other.address() as { port: number }).port
  const [free] = await freePorts(1)
  const file = `name: x
sources: [{ http: { port: ${what === 'source' ? taken : free}, path: /x } }]
sinks: [{ memory: out }]
endpoints: [{ path: /h, port: ${what === 'endpoint' ? taken : free}, body: { a: ready } }]
metrics: { port: ${what === 'metrics' ? taken : free} }
`
  const { code, stderr } = await runRunner(['run', 'x.yaml'], { cwd: tempDir({ 'x.yaml': file }) })
  other.close()
  expect(code, stderr).toBe(3)
  expect(stderr).toMatch(new RegExp(`cannot listen on 127.0.0.1:${taken}: EADDRINUSE. Set .*port.* to a free`))
})

test('two sources with one path: exit code 3', async () => {
  const [port] = await freePorts(1)
  const cwd = tempDir({ 'a.yaml': pipeline('a', port), 'b.yaml': pipeline('b', port).replace('/b }', '/a }') })
  const { code, stderr } = await runRunner(['run', 'a.yaml', 'b.yaml', '--until-idle', '2s'], { cwd })
  expect(code, stderr).toBe(3)
  expect(stderr).toMatch(/POST \/a on port \d+ is already used by source 'http' of pipeline '[ab]'/)
})

test('an address that others can reach is refused by validate without authentication', async () => {
  const open = pipeline('a', 1234).replace('port: 1234', 'host: 0.0.0.0, port: 1234')
  const files = {
    'open.yaml': open,
    'unset.yaml': open.replace('port:', 'auth: { bearer: ["${NOT_SET:-}"] }, port:'),
    'guarded.yaml': open.replace('port:', 'allow_unauthenticated: true, port:'),
    'token.yaml': open.replace('port:', 'auth: { bearer: ["${TOKEN:-x}"] }, port:'),
  }
  const cwd = tempDir(files)
  for (const [name, code] of Object.entries({ open: 2, unset: 2, guarded: 0, token: 0 })) {
    const result = await runRunner(['validate', `${name}.yaml`], { cwd })
    expect(result.code, name + result.stdout).toBe(code)
    if (code === 2) expect(result.stdout + result.stderr).toMatch(/0\.0\.0\.0 is reachable from other machines, and any of them could post/)
  }
})

test('--until-idle ends, --dry-run answers and writes nothing', async () => {
  const [port] = await freePorts(1)
  const cwd = tempDir({ 'a.yaml': pipeline('a', port) })
  const runner = startRunner(['run', 'a.yaml', '--dry-run', '--until-idle', '2s'], { cwd })
  await eventually(async () => expect(await post(`http://127.0.0.1:${port}/a`, '{"n":1}').catch(() => 0)).toBe(202))
  await runner.exit(0)
  expect(runner.stdout).toMatch(/"n":1/)
})
