/** Records dropped and keys evicted by a limit are in the log once, and in the final log line with their count. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runRunner, tempDir } from '../support/runner.ts'

test('late records and evicted keys', async () => {
  const times = [0, 120_000, 1000, 2000]
  const folder = tempDir({
    'p.yaml': `name: losses
sources: [{ file: in.jsonl }]
transforms:
  - dedupe: { key: id, ttl: 1h, max_keys: 2, time: ts }
  - window: { size: 1m, by: k, time: ts, aggregates: { n: { count: "*" } } }
sinks: [{ file: { path: out.jsonl } }]
`,
    'in.jsonl': times.map((ts, id) => `${JSON.stringify({ id: String(id), k: 'a', ts })}\n`).join(''),
  })
  const { code, stderr } = await runRunner(['run', 'p.yaml'], {
    cwd: folder,
    env: { RUNNER_STATE_DIR: join(folder, 'state') },
  })
  expect([code, stderr]).toEqual([0, expect.any(String)])
  const lines = stderr
    .split('\n')
    .filter(l => l.startsWith('{'))
    .map(l => JSON.parse(l))
  const late = lines.filter(l => /after its window had closed/.test(l.msg))
  expect(late).toMatchObject([
    {
      level: 'warn',
      step: 'window',
      time: expect.any(String),
      window_end: '1970-01-01T00:01:00.000Z',
      msg: expect.stringMatching(/allowed_lateness.*on_late: dlq.*logged once/),
    },
  ])
  expect(lines.filter(l => /removed a key before its ttl/.test(l.msg))).toMatchObject([
    { step: 'dedupe', msg: expect.stringMatching(/raise max_keys/) },
  ])
  expect(lines.at(-1)).toMatchObject({ msg: 'pipeline ended', in: 4, dead: 0, late: 2, forgotten_keys: 2 })
})

test('a join whose buffer is full logs the setting to change, once', async () => {
  const folder = tempDir({
    'p.yaml': `name: full
sources: [{ file: { path: in.jsonl } }]
transforms:
  - join_latest: { table: has(value.price), key: k, value: price, as: market, wait: 1h, max_waiting: 1, on_missing: drop }
sinks: [{ file: { path: out.jsonl } }]
`,
    'in.jsonl': '{"k":"a","id":1}\n{"k":"a","id":2}\n{"k":"a","id":3}\n{"k":"a","price":7}\n',
  })
  const { code, stderr } = await runRunner(['run', 'p.yaml'], { cwd: folder, env: { RUNNER_STATE_DIR: join(folder, 'state') } })
  expect([code, stderr.match(/raise max_waiting or shorten wait/g)]).toEqual([0, [expect.any(String)]])
})

test('a loss that a plugin declares is in the final log line, under its name', async () => {
  const plugin = (word: string): string => `export default {
  kind: 'transform', type: 'newest', schema: { type: 'object' },
  create: (_, ctx) => {
    const lost = ctx.metrics.counter('newest_lost_total', 'Records that were not the newest', {}, '${word}')
    return { process(messages, out) { lost.inc(messages.length - 1); out.emit(messages.at(-1)) } }
  },
}
`
  const files = {
    'p.yaml': 'name: own\nplugins: [./newest.js]\nsources: [{ file: in.jsonl }]\ntransforms: [{ newest: {} }]\nsinks: [{ stdout: {} }]\n',
    'package.json': '{"type":"module"}',
    'in.jsonl': '{}\n{}\n{}\n',
  }
  const end = async (word: string) => {
    const cwd = tempDir({ ...files, 'newest.js': plugin(word) })
    const { code, stderr } = await runRunner(['run', 'p.yaml'], { cwd, env: { RUNNER_STATE_DIR: join(cwd, 'state') } })
    return { code, last: JSON.parse(stderr.trim().split('\n').at(-1)!) }
  }
  expect(await end('older')).toMatchObject({ code: 0, last: { in: 3, out: 1, older: 2 } })
  expect(await end('out')).toMatchObject({ code: 1, last: { out: 0, msg: expect.stringContaining("the word 'out' is reserved") } })
})

test('a gap of bars that is too long to fill is reported', async () => {
  const folder = tempDir({
    'p.yaml': `name: gaps
sources: [{ file: in.jsonl }]
transforms:
  - bars: { interval: 1m, gap_fill: previous, gap_limit: 2, fields: { symbol: s, price: p, volume: v, ts: ts } }
sinks: [{ file: { path: out.jsonl } }]
`,
    'in.jsonl': [0, 120_000, 600_000, 1_200_000].map(ts => `${JSON.stringify({ s: 'A', p: 1, v: 1, ts })}\n`).join(''),
  })
  const { code, stderr } = await runRunner(['run', 'p.yaml'], { cwd: folder, env: { RUNNER_STATE_DIR: join(folder, 'state') } })
  expect([code, stderr]).toEqual([0, expect.any(String)])
  const lines = stderr
    .split('\n')
    .filter(l => l.startsWith('{'))
    .map(l => JSON.parse(l))
  expect(lines.filter(l => /left a gap open/.test(l.msg))).toHaveLength(1)
  expect(lines.at(-1)).toMatchObject({ msg: 'pipeline ended', open_gaps: 2 })
})
