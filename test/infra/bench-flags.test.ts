/** An invalid flag of the load test or a benchmark is reported in a line or two, before any server starts. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

test.each([
  ['load-test/main.ts', ['--walets', '3'], '--wallets'],
  ['load-test/main.ts', ['--wallets', 'abc'], "'abc' is invalid. write a whole number"],
  ['load-test/main.ts', ['--wallets', '30', '--operations', '10'], '--operations must be at least --wallets'],
  ['outbox/main.ts', ['--only', 'debezim'], 'did you mean debezium?'],
  ['outbox/main.ts', ['--rates', '2000,x'], "'2000,x' is invalid. write a whole number"],
  ['main.ts', ['--only', 'ours,stream'], 'did you mean streams?'],
  ['main.ts', ['--only', 'kcat', '--task', 'bars'], 'kcat has no task bars'],
  ['main.ts', ['outbx'], 'only `outbox` may stand here'],
])('%s %j', (script, args, told) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [`bench/${script}`, ...args], { cwd: root, encoding: 'utf8' })
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toContain(told)
  expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(2)
})
