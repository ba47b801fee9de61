/** What a hostile file in a pull request, a record or another login on the machine can do: print, read, run, hang. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'

const modes = (dir: string): [string, string][] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' }).map(name => [name, (statSync(join(dir, name)).mode & 0o777).toString(8)])

describe('state directory', () => {
  test('only its user can enter it or read its files; one of an earlier version is closed to others', async () => {
    const file = 'name: p\nsources: [{ file: in.jsonl }]\nsinks: [{ kafka: { topic: t } }]\n'
    const cwd = tempDir({ 'p.yaml': file, 'in.jsonl': '{"secret":1}\n' })
    mkdirSync(join(cwd, '.runner'))
    chmodSync(join(cwd, '.runner'), 0o755)
    const env = { RUNNER_STATE_DIR: undefined, KAFKA_BROKERS: undefined }
    expect(await runRunner(['run', 'p.yaml', '--until-idle', '10ms'], { cwd, env })).toMatchObject({ code: 0 })
    expect((statSync(join(cwd, '.runner')).mode & 0o777).toString(8)).toBe('700')
    const found = modes(join(cwd, '.runner'))
    expect(found.map(([name]) => name)).toContain('log.db')
    expect(found.filter(([, mode]) => Number.parseInt(mode, 8) & 0o077)).toEqual([])
  })

  test('RUNNER_STATE_DIR: a directory that others can enter stays as it is, and they can read nothing in it', async () => {
    const file = `name: p
sources: [{ file: in.jsonl }]
transforms: [{ dedupe: { key: id } }]
sinks: [{ kafka: { topic: t } }, { file: out.jsonl }]
dlq: { kafka: { topic: dead } }
`
    const cwd = tempDir({ 'p.yaml': file, 'in.jsonl': '{"id":1}\n{}\n' })
    const state = join(cwd, 'state')
    mkdirSync(state)
    chmodSync(state, 0o755)
    const env = { RUNNER_STATE_DIR: state, KAFKA_BROKERS: undefined }
    expect(await runRunner(['run', 'p.yaml', '--until-idle', '10ms'], { cwd, env })).toMatchObject({ code: 0 })
    expect((statSync(state).mode & 0o777).toString(8)).toBe('755')
    const found = modes(state)
    expect(found.length).toBeGreaterThan(1)
    expect(found.filter(([, mode]) => Number.parseInt(mode, 8) & 0o077)).toEqual([])
  })
})

describe('validate', () => {
  test('a pipe in place of a file, also below a test, is named and does not stop it', async () => {
    const cwd = tempDir({ 'a.test.yaml': 'pipeline: a.yaml\ntests: []\n' })
    for (const name of ['a.yaml', 'b.yaml', 'c.test.yaml']) execFileSync('mkfifo', [join(cwd, name)])
    const { code, stdout } = await runRunner(['validate', 'a.yaml', 'b.yaml', 'a.test.yaml', 'c.test.yaml'], { cwd, timeoutMs: 60_000 })
    expect(code).toBe(3)
    for (const name of ['a.yaml', 'b.yaml', 'c.test.yaml'])
      expect(stdout).toMatch(new RegExp(`${name.replaceAll('.', '\\.')}.*is not a file`))
  })

  test('--no-plugins runs no code of the file and reads no other file', async () => {
    const cwd = tempDir({
      'p.yaml':
        'name: p\nplugins: [./evil.js]\nsources: [{ stdin: {} }]\ntransforms: [{ evil: {} }]\nsinks: [{ file: { path: out.jsonl } }]\nmetrics: { port: "${file:secret}" }\n',
      'ok.yaml': 'name: ok\nplugins: [./evil.js]\nsources: [{ stdin: {} }]\ntransforms: [{ evil: {} }]\nsinks: [{ file: out.jsonl }]\n',
      'evil.js': "import { writeFileSync } from 'node:fs'\nwriteFileSync('ran', '')\nexport default []\n",
      secret: 'hunter2',
    })
    const { code, stdout } = await runRunner(['validate', '--no-plugins', 'p.yaml', 'ok.yaml'], { cwd })
    expect(code).toBe(2)
    expect(stdout).toContain('${file:…} is not read with --no-plugins')
    expect(stdout).toContain('these plugins are not loaded with --no-plugins, and their steps are not checked')
    expect(stdout).toContain('✓ ok      ok.yaml: 1 warning')
    expect(stdout).not.toContain('hunter2')
    expect(existsSync(join(cwd, 'ran'))).toBe(false)
    await runRunner(['validate', 'p.yaml'], { cwd })
    expect(existsSync(join(cwd, 'ran'))).toBe(true)
  })

  test('its output contains no commands for a terminal or a workflow', async () => {
    const evil = 'x\u001b]0;title\u0007\u009b31m\u202e ##[error]fake\n::error::fake'
    const cwd = tempDir({ 'p.yaml': `name: ${JSON.stringify(evil)}\nsources: [{ stdin: {} }]\nsinks: [{ ${JSON.stringify(evil)}: 1 }]\n` })
    const { stdout, code } = await runRunner(['validate', 'p.yaml'], { cwd })
    expect(code).toBe(2)
    expect(stdout).not.toMatch(/[^\P{Cc}\n\t]|[\u202a-\u202e]/u)
    expect(stdout).not.toMatch(/^\s*::|##\[/m)
  })
})

test('--dry-run prints a record on one line, without commands for a terminal', async () => {
  const cwd = tempDir({
    'p.yaml': 'name: p\nsources: [{ file: { path: in.txt, format: text } }]\nsinks: [{ file: out }]\n',
    'in.txt': 'a\u001b[2J\u009b1m\rb\n',
  })
  const { stdout } = await runRunner(['run', '--dry-run', 'p.yaml'], { cwd })
  expect(stdout).toContain('a\\x1b[2J\\x9b1m')
  expect(stdout).not.toMatch(/[^\P{Cc}\n\t]/u)
})

test.each([true, false])('log lines carry no control characters (pretty: %s)', pretty => {
  const script = `import { createLogger } from ${JSON.stringify(join(import.meta.dirname, '../../src/runtime/telemetry/log.ts'))}
const log = await createLogger({ level: 'info', pretty: ${pretty} })
log.info({ text: 'f\\u001b[2J\\u009b' }, 'm\\u001b[2J\\u009b\\u202e\\r path C:\\\\users')`
  const dir = tempDir({ 'log.mjs': script })
  const { stderr } = spawnSync(process.execPath, [join(dir, 'log.mjs')], { encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } })
  expect(stderr).toContain('[2J')
  expect(stderr).toContain(pretty ? 'C:\\users' : 'C:\\\\users')
  expect(stderr).not.toMatch(/[^\P{Cc}\n\t]|\u202e/u)
})

describe('signals', () => {
  /** Accepts connections and says nothing. */
  async function silent(): Promise<{ port: number; connected: Promise<unknown>; close(): void }> {
    const sockets: Socket[] = []
    const server = createServer(socket => void sockets.push(socket.on('error', () => {})))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return {
      port: (server.address() as AddressInfo).port,
      connected: new Promise(resolve => server.once('connection', resolve)),
      close() {
        for (const socket of sockets) socket.destroy()
        server.close()
      },
    }
  }

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s ends a run whose peers accept connections and do not answer', async signal => {
    const peer = await silent()
    const sources = {
      kafka: `{ kafka: { topic: t, brokers: ["127.0.0.1:${peer.port}"] } }`,
      redis: `{ redis: { url: "redis://127.0.0.1:${peer.port}", patterns: [a] } }`,
    }
    const runners = []
    for (const [name, source] of Object.entries(sources)) {
      const cwd = tempDir({ 'p.yaml': `name: ${name}\nsources: [${source}]\nsinks: [{ file: out }]\n` })
      runners.push(startRunner(['run', 'p.yaml'], { cwd }))
    }
    await peer.connected
    const start = performance.now()
    for (const runner of runners) runner.kill(signal)
    for (const runner of runners) await runner.exited
    // 2 s on a quiet machine; it was 25 s.
    expect(performance.now() - start).toBeLessThan(12_000)
    peer.close()
  })

  test('SIGHUP drains', async () => {
    const cwd = tempDir({ 'p.yaml': 'name: p\nsources: [{ stdin: {} }]\nsinks: [{ file: out.jsonl }]\ncommit_interval: 1h\n' })
    const runner = startRunner(['run', 'p.yaml'], { cwd, openStdin: true })
    runner.input.write('{"n":1}\n')
    // The file is there before the record is read.
    await expect.poll(() => existsSync(join(cwd, 'out.jsonl')) && readFileSync(join(cwd, 'out.jsonl'), 'utf8')).toBe('{"n":1}\n')
    runner.kill('SIGHUP')
    await runner.exit(0)
    expect(readFileSync(join(cwd, 'out.jsonl'), 'utf8')).toBe('{"n":1}\n')
  })
})
