/** The pictures of README and the guide show the current output of the commands. */
import { execFile } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const pictures = globSync('docs/img/*.svg', { cwd: root })
const names = pictures.map(file => basename(file, '.svg')).sort()

test('every command that the guide explains with a picture has one', () => {
  expect(names).toEqual(['check', 'demo', 'dlq', 'explain', 'lag', 'terminal', 'test', 'validate'])
})

test.each(names)('docs/img/%s.svg is on a page, with its text as the alternative', name => {
  const label = /aria-label="([^"]+)"/.exec(readFileSync(join(root, `docs/img/${name}.svg`), 'utf8'))![1]
  const pages = ['README.md', ...globSync('docs/guide/*.md', { cwd: root })].map(file => readFileSync(join(root, file), 'utf8'))
  expect(
    pages.filter(text => new RegExp(`!\\[${label.replaceAll(/[()]/g, '\\$&')}\\]\\([^)]*img/${name}\\.svg\\)`).test(text)),
  ).toHaveLength(1)
})

test.skipIf(process.platform !== 'linux').each(names)('docs/img/%s.svg is up to date', { timeout: 120_000 }, async name => {
  const { stderr } = await promisify(execFile)(process.execPath, ['scripts/picture.js', '--check', name], { cwd: root }).catch(
    (error: { stderr: string }) => error,
  )
  expect(stderr).toBe('')
})
