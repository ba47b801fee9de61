/** `run --fail-on-dead`: an exit code for scripts if records were dead-lettered or dropped. */
import { expect, test } from 'vitest'
import { startRunner, tempDir } from '../support/runner.ts'

const cwd = tempDir({
  'in.jsonl': '{"k":"a","at":1000,"n":1}\nbroken\n{"k":"a","at":900000,"n":2}\n{"k":"a","at":2000,"n":3}\n',
  'p.yaml': `name: p
sources: [{ file: { path: in.jsonl } }]
transforms:
  - window: { size: 1m, by: k, time: at, aggregates: { total: { sum: n } } }
sinks: [{ file: { path: out.jsonl } }]
dlq: { file: { path: dead.jsonl } }
`,
})

test.each([
  ['2', 4],
  ['3', 0],
  ['0', 2],
])('one dead letter and one late record, --fail-on-dead %s: exit code %i', async (n, code) => {
  const runner = startRunner(['run', 'p.yaml', '--fresh', '--fail-on-dead', n], { cwd })
  await runner.exit(code)
  expect(runner.stderr.includes('2 records were dead-lettered, late or dropped')).toBe(code === 4)
})
