import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { conformance } from './conformance.ts'

const excluded = readFileSync(new URL('conformance-exclusions.txt', import.meta.url), 'utf8')
  .split('\n')
  .slice(1)
  .filter(line => line !== '' && !line.startsWith('# '))

test('CEL conformance: every test of the specification passes, except those with a reason', () => {
  const all = conformance()
  expect(all.length).toBeGreaterThan(2300)
  const failures = new Map(all.flatMap(({ name, failure }) => (failure === undefined ? [] : [[name, failure] as const])))
  const reasons = new Set(excluded)
  expect([...failures].filter(([name]) => !reasons.has(name))).toEqual([])
  // A test that passes must not have a reason.
  expect(excluded.filter(name => !failures.has(name))).toEqual([])
  expect(reasons.size).toBe(excluded.length)
})

test('every reason has tests', () => {
  const text = readFileSync(new URL('conformance-exclusions.txt', import.meta.url), 'utf8')
  for (const group of text.split('\n# ').slice(1)) expect(group.split('\n').filter(line => line !== '').length).toBeGreaterThan(1)
})
