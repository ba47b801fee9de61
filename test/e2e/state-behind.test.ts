/**
 * State behind sources that cannot be read again: a run that is stopped or killed in the middle, and continued, gives what an
 * uninterrupted one gives. Twice sent ids show that `dedupe` remembers, sums that windows do.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { WebSocketServer } from 'ws'
import { afterEach, describe, expect, test } from 'vitest'
import { localCheckpoints } from '../../src/runtime/checkpoints/local.ts'
import { eventually } from '../support/eventually.ts'
import { type Runner, runRunner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { get, metric, untilStatus } from './lib/http.ts'

const pipeline = (source: string, port: number): string => `
name: kept
sources: [${source}]
transforms:
  - dedupe: { key: id, time: ts }
  - window: { size: 10s, by: k, time: ts, allowed_lateness: 0s, idle_timeout: 0s, on_late: dlq, aggregates: { n: { count: "*" }, sum: { sum: id } } }
sinks: [{ file: out.jsonl }]
dlq: { file: dead.jsonl }
commit_interval: "\${COMMIT:-50ms}"
metrics: { port: ${port} }
`
const T = 1_790_000_000_000
const record = (id: number) => ({ id, k: id % 3, ts: T + id * 1000 })
/** Cut in the middle of a window: 35 of 40. */
const BEFORE = Array.from({ length: 35 }, (_, i) => record(i))
const AFTER = Array.from({ length: 30 }, (_, i) => record(35 + i))
/** Closes all windows. */
const LAST = { id: 999, k: 9, ts: T + 1_800_000 }

interface Sender {
  readonly source: string
  /** Of a started runner. */
  ready(runner: Runner): Promise<void>
  send(runner: Runner, records: readonly object[]): Promise<void>
  close?(): void
}

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function http(status: number, answer: string, port: number): Promise<Sender> {
  const [own] = await freePorts(1)
  return {
    source: `{ http: { port: ${own}, path: /in, answer: ${answer} } }`,
    ready: async runner => void (await untilStatus(runner, port, '/ready', 200)),
    async send(_, records) {
      for (const r of records) {
        const response = await fetch(`http://127.0.0.1:${own}/in`, { method: 'POST', body: JSON.stringify(r) })
        expect(response.status).toBe(status)
      }
    },
  }
}

const stdin: Sender = {
  source: '{ stdin: {} }',
  ready: async () => {},
  send: async (runner, records) => void runner.input.write(records.map(r => `${JSON.stringify(r)}\n`).join('')),
}

async function pubsub(port: number): Promise<Sender> {
  const { cli, redisUrl } = await import('../support/redis.ts')
  const channel = `kept-${Math.random().toString(36).slice(2)}`
  return {
    source: `{ redis: { patterns: ["${channel}"], url: "${redisUrl()}" } }`,
    ready: async runner => void (await untilStatus(runner, port, '/ready', 200)),
    async send(_, records) {
      for (const r of records) await cli(['PUBLISH', channel, JSON.stringify(r)])
    },
  }
}

async function websocket(port: number): Promise<Sender> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  await new Promise(resolve => server.once('listening', resolve))
  closing.push(() => server.close())
  return {
    source: `{ websocket: { url: "ws://127.0.0.1:${(server.address() as { port: number }).port}/" } }`,
    ready: async runner => {
      await untilStatus(runner, port, '/ready', 200)
      await eventually(() => expect(server.clients.size).toBe(1))
    },
    async send(_, records) {
      for (const client of server.clients) for (const r of records) client.send(JSON.stringify(r))
    },
    close: () => server.close(),
  }
}

/** Waits until as many ids are remembered on the disk. */
async function remembered(cwd: string, ids: number): Promise<void> {
  const store = localCheckpoints({ id: 'kept.1', path: join(cwd, '.runner', 'checkpoints.db') })
  try {
    await eventually(async () => {
      const [lane] = await store.list!()
      expect(lane?.checkpoint.state.filter(([name]) => name === 'dedupe.seen').length).toBe(ids)
    })
  } finally {
    await store.close()
  }
}

/** Waits until the running process has taken so many records. */
const taken = (port: number, records: number): Promise<void> =>
  eventually(async () => {
    const { body } = await get(port, '/metrics')
    expect(metric(body, 'runner_step_messages_in_total', { step: 'dedupe' })).toBe(records)
  })

const lines = (cwd: string, file: string): string[] =>
  existsSync(join(cwd, file)) ? readFileSync(join(cwd, file), 'utf8').split('\n').filter(Boolean).toSorted() : []

/** @returns what was written: windows by key, and no dead letter. */
async function run(make: (port: number) => Promise<Sender>, interrupt?: 'SIGTERM' | 'SIGKILL', answered = false): Promise<string[]> {
  const [port] = await freePorts(1)
  const sender = await make(port)
  const cwd = tempDir({ 'p.yaml': pipeline(sender.source, port) })
  const start = async (): Promise<Runner> => {
    // What an orderly stop saves, no checkpoint has saved before.
    const env = interrupt === 'SIGTERM' ? { COMMIT: '10m' } : {}
    const runner = startRunner(['run', 'p.yaml', '--log-format', 'json'], { cwd, env, openStdin: sender === stdin })
    await sender.ready(runner)
    return runner
  }
  let runner = await start()
  await sender.send(runner, [...BEFORE, ...BEFORE.slice(10, 20)])
  if (interrupt) {
    if (interrupt === 'SIGTERM') await taken(port, BEFORE.length + 10)
    // Without a client that waits for responses, at most commit_interval would be lost. Here the test waits.
    else if (!answered) await remembered(cwd, BEFORE.length)
    runner.kill(interrupt)
    await runner.exited
    runner = await start()
    await runner.line('continuing with the state of the last run')
  }
  await sender.send(runner, [...BEFORE.slice(20, 35), ...AFTER, LAST])
  await taken(port, (interrupt ? 0 : BEFORE.length + 10) + 15 + AFTER.length + 1)
  runner.kill('SIGTERM')
  await runner.exit(0)
  expect(lines(cwd, 'dead.jsonl')).toEqual([])
  return lines(cwd, 'out.jsonl')
}

describe.each<[string, (port: number) => Promise<Sender>, boolean]>([
  ['http, answered when written', port => http(200, 'when_written', port), true],
  ['http, answered at once', port => http(202, 'at_once', port), false],
  ['stdin', async () => stdin, false],
  ['Pub/Sub', pubsub, false],
  ['websocket', websocket, false],
])('%s', (_, make, answered) => {
  test('a run that is stopped or killed, and continued, gives the results of an uninterrupted run', async () => {
    const whole = await run(make)
    expect(whole).toHaveLength(21)
    expect(await run(make, 'SIGTERM')).toEqual(whole)
    expect(await run(make, 'SIGKILL', answered)).toEqual(whole)
  })
})

test('stdin: state ends with the input, and the next input starts without it', async () => {
  const [port] = await freePorts(1)
  const cwd = tempDir({ 'p.yaml': pipeline('{ stdin: {} }', port) })
  const input = BEFORE.map(r => `${JSON.stringify(r)}\n`).join('')
  for (const times of [1, 2]) {
    const { code, stderr } = await runRunner(['run', 'p.yaml'], { cwd, stdin: input })
    expect(code, stderr).toBe(0)
    expect(lines(cwd, 'out.jsonl')).toHaveLength(12 * times)
  }
})

test('explain shows the state that a crash loses', async () => {
  const cwd = tempDir({
    'http.yaml': pipeline('{ http: { port: 1, path: /in } }', 2),
    'at_once.yaml': pipeline('{ http: { port: 1, path: /in, answer: at_once } }', 2),
    'stdin.yaml': pipeline('{ stdin: {} }', 2),
    'file.yaml': pipeline('{ file: in.jsonl }', 2),
  })
  const explain = async (name: string): Promise<string> => (await runRunner(['explain', `${name}.yaml`], { cwd })).stdout
  expect(await explain('http')).toMatch(/State\n {2}http {2}on disk before the sender receives a response/)
  for (const name of ['at_once', 'stdin'])
    expect(await explain(name)).toMatch(/commit_interval \(50ms\): a crash loses at most this interval/)
  expect(await explain('file')).toContain('saved together with the position')
})
