/** The picture of README shows what the commands print today. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

test('docs/img/terminal.svg is up to date', () => {
  expect(execFileSync(process.execPath, ['scripts/picture.js', '--check'], { cwd: root, encoding: 'utf8' })).toBe('')
})
