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

/** Of the pipeline whose settings come from the variables, in every command that loads it; most fail, because no peer can be reached. */
test('every other command', { timeout: 240_000 }, async () => {
  const cwd = tempDir({
    'in.jsonl': '{"a":1}\n',
    'p.yaml': `name:   p
description: "\${TAG}"
sources:
  - kafka: { topics: [t], group: g, brokers: "127.0.0.1:1", security_protocol: SASL_PLAINTEXT, sasl_username: u, sasl_password: "\${SASL}" }
  - trigger: {}
transforms:
  - filter: a != env.TAG
  - lookup: { query: "select id, n from t where id = any($keys)", key: a, as: row, dsn: "\${DSN}" }
sinks:
  - postgres: { dsn: "\${DSN}", table: t, columns: [a] }
  - redis: { url: "\${REDIS}", list: l }
  - ${hook(500)}
dlq: { kafka: { topic: dead, brokers: "127.0.0.1:1", security_protocol: SASL_PLAINTEXT, sasl_username: u, sasl_password: "\${SASL}" } }
`,
    'wrong.yaml': `name: w\nsources: [{ kafka: { topcs: ["\${TAG}"], sasl_password: "\${SASL}" } }]\nsinks: [{ redis: { url: "\${REDIS}", lst: "\${TAG}" } }]\n`,
    'p.test.yaml': `tests:
  - name: one
    env: ${JSON.stringify(env)}
    steps:
      - input: { kafka: [{ topic: t, value: { a: x } }] }
    stubs: { lookup: [{ key: x, row: { id: x, n: 1 } }] }
    expect: { outputs: { redis: [{ value: { a: y } }] } }
`,
    '0001.sql': 'select 1;\n',
  })
  const kafka = ['--brokers', '127.0.0.1:1']
  const commands = [
    ['validate', 'p.yaml', 'wrong.yaml'],
    ...['json', 'sarif', 'github'].map(format => ['validate', 'p.yaml', 'wrong.yaml', '--format', format]),
    ...['text', 'mermaid', 'json'].map(format => ['explain', 'p.yaml', '--format', format, '-v']),
    ['explain', 'p.yaml', '--resolved'],
    ['test', 'p.yaml', '-v'],
    ['types', 'p.yaml'],
    ['fmt', '--check', 'p.yaml', 'wrong.yaml'],
    ['schema', 'p.yaml'],
    ['trigger', 'p.yaml', '--data', '{}'],
    ['lag', 'p.yaml', '-v'],
    ['offsets', 'show', 'p.yaml', '-v'],
    ['offsets', 'reset', 'p.yaml', '--to-earliest'],
    ...['ls', 'show', 'export', 'rm'].map(sub => ['state', sub, 'p.yaml', '-v']),
    ['dlq', 'ls', 'p.yaml', '-v'],
    ['dlq', 'replay', 'p.yaml', '--to', 'source', '-v'],
    ['topics', 'list', ...kafka],
    ['topics', 'cat', 't', ...kafka],
    ['sql', 'apply', '0001.sql', '--dsn', env.DSN],
    ['smoke', ...kafka],
  ]
  const runs = await Promise.all(
    [0, 1].map(async half => {
      const texts: [string, string][] = []
      for (const args of commands.filter((_, i) => i % 2 === half)) {
        const { stdout, stderr } = await runRunner(args, { cwd, env, timeoutMs: 60_000 })
        texts.push([args.join(' '), `${stdout}\n${stderr}`])
      }
      return texts
    }),
  )
  for (const [command, text] of runs.flat()) {
    expect(text.trim(), `${command} prints nothing`).not.toBe('')
    expect(text, command).not.toMatch(CANARY)
  }
})
