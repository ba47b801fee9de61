/** The first command of the README. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('npm run demo makes the bars of the recorded ticks, and each bad line is a dead letter', () => {
  const { malformed, late_with_1m_bars_and_2s_allowed: late } = JSON.parse(
    readFileSync(join(root, 'examples/data/ticks.summary.json'), 'utf8'),
  ) as Record<string, number>
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/demo.js'], { cwd: root, encoding: 'utf8' })
  expect([status, stderr], stdout).toEqual([0, ''])
  expect(stdout).toContain(`258 bars and ${malformed + late} dead letters`)
})
