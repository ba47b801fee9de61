import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

test.each([
  ['ARCHITECTURE.md', 40],
  ['CONTRIBUTING.md', 20],
])('every file that %s names exists', (file, least) => {
  const text = readFileSync(join(root, file), 'utf8')
  const named = [...text.matchAll(/`((?:src|docs|scripts|test|examples)\/[^`*<]*)`/g)].map(m => m[1])
  expect(named.length).toBeGreaterThan(least)
  expect(named.filter(file => !existsSync(join(root, file)))).toEqual([])
})
