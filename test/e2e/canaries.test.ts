/** Variables of a running pipeline whose peers fail in every way: what they hold is in no output of the commands and no answer of a listener. */
import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'

const CANARY = /canary/i

/** Refuses everything with a status of its own, and says in its body what it was sent. */
let server: Server
let port: number

beforeAll(async () => {
  server = createServer((request, response) => {
    const status = Number(/status=(\d+)/.exec(request.url!)?.[1] ?? 500)
    response.writeHead(status, { 'content-type': 'text/plain' }).end(`no: ${request.url} ${JSON.stringify(request.headers)}`)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as { port: number }).port
})
afterAll(() => server.close())

const env = {
  KEY: 'Canary-header-1',
  BEARER: 'Canary-bearer-2',
  HOOK: '/services/T0/Canary-path-3',
  QUERY: 'Canary-query-4',
  REDIS: 'redis://user:Canary-redis-5@127.0.0.1:1/0',
  DSN: 'postgres://user:Canary-dsn-6@127.0.0.1:1/db',
  SASL: 'Canary-sasl-7',
  TAG: 'Canary-tag-8',
}

const hook = (status: number): string =>
  `http: { url: "http://127.0.0.1:${port}\${HOOK}?status=${status}&token=\${QUERY}", headers: { x-key: "\${KEY}" }, bearer: "\${BEARER}" }`

test.each([401, 422])('a service that answers %i', async status => {
  const cwd = tempDir({
    'in.jsonl': '{"a":1}\n{"a":2}\n',
    'p.yaml': `name: p\nsources: [{ file: { path: in.jsonl } }]\nsinks:\n  - ${hook(status)}\ndlq: { file: { path: dead.jsonl, envelope: true } }\n`,
  })
  const { stdout, stderr } = await runRunner(['run', 'p.yaml'], { cwd, env })
  const list = await runRunner(['dlq', 'ls', 'p.yaml'], { cwd, env })
  const explained = await runRunner(['explain', 'p.yaml', '--all'], { cwd, env })
  const checked = await runRunner(['check', 'p.yaml'], { cwd, env })
  expect([stdout, stderr, list.stdout, list.stderr, explained.stdout, checked.stdout, checked.stderr].join('\n')).not.toMatch(CANARY)
})

test.each([
  ['redis', 'redis: { url: "${REDIS}", list: l }'],
  ['postgres', 'postgres: { dsn: "${DSN}", table: t, columns: [a] }'],
  ['kafka', 'kafka: { topic: t, brokers: "127.0.0.1:1", security_protocol: SASL_PLAINTEXT, sasl_username: u, sasl_password: "${SASL}" }'],
  ['http', 'http: { url: "http://127.0.0.1:1${HOOK}?token=${QUERY}", headers: { x-key: "${KEY}" } }'],
])('an unavailable peer: %s', { timeout: 120_000 }, async (_, sink) => {
  const [metrics] = await freePorts(1)
  const cwd = tempDir({
    'in.jsonl': '{"a":1}\n',
    'p.yaml': `name: p\nsources: [{ file: { path: in.jsonl, follow: true } }]\nsinks:\n  - ${sink}\nmetrics: { port: ${metrics} }\nretry: { initial_delay: 10ms }\n`,
  })
  const runner = startRunner(['run', 'p.yaml', '--log-level', 'debug'], { cwd, env })
  await runner.line(/127\.0\.0\.1:1|ECONNREFUSED|refused|unreachable/i)
  const pages = await Promise.all(
    ['/ready', '/health', '/metrics', '/status'].map(async path =>
      (await fetch(`http://127.0.0.1:${metrics}${path}`)).text().catch(() => ''),
    ),
  ).catch(() => [])
  runner.kill('SIGTERM')
  await runner.exited
  const checked = await runRunner(['check', 'p.yaml'], { cwd, env })
  const found = [runner.stdout, runner.stderr, ...pages, checked.stdout, checked.stderr].join('\n')
  expect(found).toContain('127.0.0.1')
  expect(found).not.toMatch(CANARY)
})
