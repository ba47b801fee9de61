import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { leftBehind } from '../../scripts/leftovers.js'
import { tempDir } from '../support/runner.ts'
import { unique } from '../support/unique.ts'

test('finds and kills a process with the mark of the run, and lists stray files', async () => {
  const mark = unique('mark')
  const temp = tempDir()
  const other = spawn('sleep', ['600'])
  const stray = spawn('sleep', ['601'], { env: { ...process.env, RUNNER_TEST_RUN: mark }, detached: true })
  const gone = once(stray, 'exit')
  writeFileSync(join(temp, 'forgotten'), '')
  expect(await leftBehind(mark, temp)).toEqual([`process ${stray.pid}: sleep 601`, 'file forgotten in the temporary directory'])
  expect(await gone).toEqual([null, 'SIGKILL'])
  expect(other.exitCode).toBeNull()
  other.kill()
})

test('reports nothing after a clean run', async () => {
  expect(await leftBehind(unique('mark'), tempDir())).toEqual([])
})
