import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

test('every file that ARCHITECTURE.md names exists', () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
  const named = [...text.matchAll(/`((?:src|docs|scripts|test)\/[^`*]*)`/g)].map(m => m[1])
  expect(named.length).toBeGreaterThan(40)
  expect(named.filter(file => !existsSync(join(root, file)))).toEqual([])
})
