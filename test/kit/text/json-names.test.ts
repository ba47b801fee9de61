import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ExactNumber, parseJson } from '../../../src/contract/plugin.ts'
import { repeatedName } from '../../../src/kit/text/json-names.ts'

const names = ['a', 'b', '', '"', '\\', '\u{1f600}', 'é', '__proto__', '{', '1', ',"a":']
/** A name as it may be written. */
const name = fc.tuple(fc.constantFrom(...names), fc.nat(2)).map(([n, style]) => {
  if (style === 0) return JSON.stringify(n)
  return `"${n
    .split('')
    .map(u => `\\u${u.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('')}"`
})
const { value } = fc.letrec<{ value: string }>(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom('1', 'null', '-1.50', '"x"', '"{\\"a\\":1,\\"a\\":2}"', '[]', '{}'),
    fc.array(tie('value'), { maxLength: 3 }).map(items => `[${items.join(' , ')}]`),
    fc.array(fc.tuple(name, tie('value')), { maxLength: 3 }).map(items => `{ ${items.map(([n, v]) => `${n} :${v}`).join(',')}}`),
  ),
}))

test('finds the first duplicate name', () => {
  expect(repeatedName('{"a":{"b":1,"c":[{"b":1}]},"b":{"x":"a","\\u0061":1,"a":2}}')).toEqual({ name: 'a', offset: 51 })
  expect(repeatedName('{"a":"a","b":{"a":1},"c":[{"a":1},{"a":2}]}')).toBeUndefined()
  expect(repeatedName('[1,"a","a"]')).toBeUndefined()
})

test('any text: a duplicate name is found exactly where parsing loses a member', () => {
  const members = (v: unknown): number =>
    typeof v !== 'object' || v === null || v instanceof ExactNumber
      ? 0
      : Object.values(v).reduce((n: number, x) => n + members(x), Array.isArray(v) ? 0 : Object.keys(v).length)
  /** Colons outside of texts: the members that were written. */
  const written = (text: string): number => text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '').split(':').length - 1
  // Members dropped together with their parent are not counted: only the outermost repeated name matters.
  fc.assert(
    fc.property(value, text => {
      expect(repeatedName(text) !== undefined).toBe(written(text) !== members(parseJson(text)))
    }),
    { numRuns: 2000 },
  )
})
