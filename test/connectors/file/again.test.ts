import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runRunner, tempDir } from '../../support/runner.ts'

test('a second run over a file that was read to its end logs that, and --fresh reads it again', async () => {
  const cwd = tempDir({
    'in.jsonl': '{"a":1}\n{"a":2}\n',
    'p.yaml': 'name: again\nsources: [{ file: in.jsonl }]\nsinks: [{ file: out.jsonl }]\n',
  })
  const go = async (...args: string[]): Promise<{ said: boolean; out: string }> => {
    const { code, stderr } = await runRunner(['run', 'p.yaml', ...args], { cwd })
    expect(code, stderr).toBe(0)
    return {
      said: stderr.includes('has already been read to its end; `runner run --fresh` reads it again'),
      out: readFileSync(join(cwd, 'out.jsonl'), 'utf8'),
    }
  }
  const once = '{"a":1}\n{"a":2}\n'
  expect(await go()).toEqual({ said: false, out: once })
  expect(await go()).toEqual({ said: true, out: once })
  expect(await go('--fresh')).toEqual({ said: false, out: once + once })
})

/** Two seconds of ten are in the file when the run stops: the window stays open. The file is then replaced by another one of its name. */
test.each(['true', 'false'])('a file that was replaced under open windows, follow: %s: exit 3, or marked with on_gap', async follow => {
  const row = (second: number): string => `{"t":${1_790_000_000_000 + second * 1000},"s":${second}}\n`
  const cwd = tempDir({
    'in.jsonl': row(0) + row(2),
    'p.yaml': `
name: replaced
sources: [{ file: { path: in.jsonl, follow: "\${FOLLOW}" } }]
transforms:
  - window: { size: 10s, time: t, allowed_lateness: 0s, idle_timeout: 0s, on_gap: "\${ON_GAP}", aggregates: { seconds: { collect: s } } }
sinks: [{ file: out.jsonl }]
metrics: { enabled: false }
`,
  })
  const go = (env: Record<string, string>, ...args: string[]) =>
    runRunner(['run', 'p.yaml', '--until-idle', '500ms', ...args], { cwd, env })
  expect((await go({ FOLLOW: 'true', ON_GAP: 'stop' })).code).toBe(0)
  writeFileSync(join(cwd, 'new'), row(4) + row(12) + row(22))
  renameSync(join(cwd, 'new'), join(cwd, 'in.jsonl'))
  for (let run = 0; run < 2; run++) {
    const refused = await go({ FOLLOW: follow, ON_GAP: 'stop' })
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringMatching(/in\.jsonl was replaced since the checkpoint[^]*--fresh/)])
  }
  const marked = await go({ FOLLOW: follow, ON_GAP: 'mark' })
  expect(marked.code, marked.stderr).toBe(0)
  expect(marked.stderr.split('\n').filter(line => line.includes('was replaced since the checkpoint'))).toHaveLength(1)
  const results = (): { seconds: number[]; incomplete?: boolean }[] =>
    readFileSync(join(cwd, 'out.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as { seconds: number[]; incomplete?: boolean })
  expect(results().find(r => r.seconds.includes(0))).toMatchObject({ incomplete: true })
  const before = results().length
  // From the beginning of the new file, and nothing of the former one.
  expect((await go({ FOLLOW: follow, ON_GAP: 'stop' }, '--fresh')).code).toBe(0)
  expect(results()[before]).toEqual(expect.objectContaining({ seconds: [4] }))
  expect(results()[before].incomplete).toBeUndefined()
})
