/** A Redis stream is trimmed past the position of its group, under open windows. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { cli, redisUrl } from '../support/redis.ts'
import { runRunner, tempDir } from '../support/runner.ts'
import { unique } from '../support/unique.ts'

test('the run stops until on_gap is set, and windows that lack records are marked', { timeout: 120_000 }, async () => {
  const name = unique('trim')
  const cwd = tempDir({
    'p.yaml': `
name: ${name}
sources: [{ redis: { streams: [${name}:in], group: g, consumer: one } }]
transforms:
  - window: { size: 10s, allowed_lateness: 0s, idle_timeout: 0s, on_gap: "\${ON_GAP:-stop}", aggregates: { n: { count: "*" } } }
sinks: [{ file: { path: out.jsonl } }]
metrics: { enabled: false }
`,
  })
  const run = (ON_GAP?: string) => runRunner(['run', 'p.yaml', '--until-idle', '300ms'], { cwd, env: { REDIS_URL: redisUrl(), ON_GAP } })
  const T = 1_790_000_000_000
  const add = async (from: number, to: number): Promise<void> => {
    for (let n = from; n < to; n++) await cli(['XADD', `${name}:in`, `${T + n * 1000}-0`, 'n', n])
  }
  await add(0, 15)
  expect((await run()).code).toBe(0)
  await add(15, 45)
  await cli(['XTRIM', `${name}:in`, 'MAXLEN', 18])
  // Also by a supervisor that starts it again.
  for (let i = 0; i < 2; i++) {
    const stopped = await run()
    expect([stopped.code, stopped.stderr]).toEqual([
      3,
      expect.stringMatching(
        /12 entries of stream .* were trimmed or deleted before group g had read them, and the state of window would miss them/,
      ),
    ])
  }
  const marked = await run('mark')
  expect([marked.code, marked.stderr]).toEqual([0, expect.stringContaining('12 entries')])
  const rows = readFileSync(join(cwd, 'out.jsonl'), 'utf8').trim().split('\n')
  expect(rows.map(row => JSON.parse(row) as object)).toMatchObject([
    { start: T, n: 10 },
    { start: T + 10_000, n: 5, incomplete: true },
    { start: T + 20_000, n: 3, incomplete: true },
    { start: T + 30_000, n: 10 },
  ])
  expect(rows[3]).not.toContain('incomplete')
})
