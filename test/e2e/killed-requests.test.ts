/**
 * Requests around a `kill -9`. Sent ones: the service has a request, and the process is killed before it commits. What is sent again has the
 * same idempotency key and the same bytes. Received ones: the process is killed behind the commit and before the answer.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { untilStatus } from './lib/http.ts'

const CHAINS: Record<string, readonly object[]> = {
  map: [{ map: { fields: { s: 'symbol', v: 'price * volume', at: 'format_time(ts)', where: 'string(meta.offset)' } } }],
  unnest: [{ map: { keep: true, fields: { list: '[1, 1, price]' } } }, { unnest: { field: 'list', as: 'item' } }],
  window: [
    { window: { size: '10s', every: '5s', time: 'ts', by: 'symbol', aggregates: { sum: { sum: 'price' }, all: { collect: 'ts' } } } },
  ],
  bars: [{ bars: { interval: '5s', on_late: 'revise', retain: '1m' } }, { map: { keep: true, fields: { mid: '(high + low) * 0.5' } } }],
  throttle: [{ throttle: { key: 'symbol', time: 'ts', interval: '5s', keep: 'last', max: 2 } }],
  join: [{ dedupe: 'ts' }, { join_latest: { table: 'price > 108', key: 'symbol', as: 'last', on_missing: 'pass' } }],
}
/** Two steps forth, one back: some are late. Numbers keep their digits. */
const ticks = Array.from(
  { length: 120 },
  (_, i) =>
    `{"symbol":"${'AB'[i % 2]}","price":1${String(i % 10).padStart(2, '0')}.10,"volume":0.${i + 1}0,"ts":${1000 * (i - (i % 5) * 2 + 20)}}\n`,
).join('')

test('a request that is sent again after a kill has the same key and the same bytes', async () => {
  const requests: { path: string; key: string; body: string }[] = []
  /** So many requests of each pipeline are answered; undefined: all. */
  let answered: number | undefined
  const counts = new Map<string, number>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const path = request.url!
      requests.push({ path, key: String(request.headers['idempotency-key']), body: Buffer.concat(chunks).toString() })
      counts.set(path, (counts.get(path) ?? 0) + 1)
      if (answered === undefined || counts.get(path)! <= answered) response.end()
    })
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  const files = Object.fromEntries(
    Object.entries(CHAINS).map(([name, transforms]) => [
      `${name}.yaml`,
      JSON.stringify({
        name,
        sources: [{ file: { path: 'ticks.jsonl' } }],
        transforms,
        sinks: [{ http: { url: `http://127.0.0.1:${port}/${name}`, timeout: '1h' } }],
        commit_interval: '1ms',
        max_in_flight: 5,
      }),
    ]),
  )
  const cwd = tempDir({ ...files, 'ticks.jsonl': ticks })
  const byKey = (list: typeof requests): Map<string, string> => {
    const bodies = new Map<string, string>()
    for (const { path, key, body } of list) {
      expect(bodies.get(`${path} ${key}`) ?? body, `two bodies of ${key}`).toBe(body)
      bodies.set(`${path} ${key}`, body)
    }
    return bodies
  }
  for (answered of [3, 9]) {
    counts.clear()
    const killed = startRunner(['run', ...Object.keys(files)], { cwd })
    await eventually(() => expect([...counts.values()].filter(n => n > answered!)).toHaveLength(Object.keys(CHAINS).length), { by: killed })
    killed.kill('SIGKILL')
    await killed.exited
  }
  answered = undefined
  const rest = await runRunner(['run', ...Object.keys(files)], { cwd })
  expect(rest.code, rest.stderr).toBe(0)
  const all = byKey(requests)
  expect(requests.length - all.size, 'nothing was sent twice').toBeGreaterThanOrEqual(Object.keys(CHAINS).length)

  // The same without a kill: not one request more, and none less.
  const before = requests.length
  const calm = await runRunner(['run', ...Object.keys(files), '--fresh'], { cwd })
  expect(calm.code, calm.stderr).toBe(0)
  const expected = requests.slice(before)
  expect(byKey(expected).size).toBe(expected.length)
  expect([...all].toSorted()).toEqual([...byKey(expected)].toSorted())
  server.close()
})

/** Behind the write of the rows' checkpoint and before that of the answer. */
const KILL_BEFORE_ANSWER = `
import { DatabaseSync } from 'node:sqlite'
const { prepare } = DatabaseSync.prototype
DatabaseSync.prototype.prepare = function (sql) {
  if (process.env.KILL === '1' && /INSERT OR REPLACE INTO request/.test(sql)) process.kill(process.pid, 'SIGKILL')
  return prepare.call(this, sql)
}
`

test('a request whose process is killed behind the commit and before the answer is written again; dedupe drops the repeat', async () => {
  const [port] = await freePorts(1)
  const pipeline = (dedupe: boolean): string =>
    JSON.stringify({
      name: dedupe ? 'deduped' : 'plain',
      sources: [{ http: { port, path: '/in', idempotency_key: {} } }],
      transforms: dedupe ? [{ dedupe: { key: '[meta.headers["idempotency-key"], meta.headers["idempotency-index"]]', ttl: '24h' } }] : [],
      sinks: [{ file: dedupe ? 'deduped.jsonl' : 'plain.jsonl' }],
      endpoints: [{ path: '/up', port, body: { up: 'ready' } }],
    })
  const cwd = tempDir({ 'kill.mjs': KILL_BEFORE_ANSWER, 'deduped.yaml': pipeline(true), 'plain.yaml': pipeline(false) })
  const post = (body: string, key = 'k1'): Promise<number> =>
    fetch(`http://127.0.0.1:${port}/in`, { method: 'POST', body, headers: { 'idempotency-key': key } }).then(
      r => r.status,
      () => 0,
    )
  for (const name of ['plain', 'deduped']) {
    const out = join(cwd, `${name}.jsonl`)
    const env = { NODE_OPTIONS: `--import ${join(cwd, 'kill.mjs')}`, KILL: '1' }
    const killed = startRunner(['run', `${name}.yaml`], { cwd, env })
    await untilStatus(killed, port, '/up', 200)
    expect(await post('[1,2,1]')).toBe(0)
    await killed.exited
    expect(existsSync(out) && readFileSync(out, 'utf8')).toBe('1\n2\n1\n')
    const next = startRunner(['run', `${name}.yaml`], { cwd })
    await untilStatus(next, port, '/up', 200)
    expect(await post('[1,2,1]')).toBe(200)
    expect(await post('[1]', 'k2')).toBe(200)
    next.kill('SIGTERM')
    await next.exit(0)
    expect(readFileSync(out, 'utf8')).toBe(name === 'plain' ? '1\n2\n1\n1\n2\n1\n1\n' : '1\n2\n1\n1\n')
  }
})
