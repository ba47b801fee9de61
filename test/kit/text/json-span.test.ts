import fc from 'fast-check'
import { expect, test } from 'vitest'
import { jsonSpan } from '../../../src/kit/text/json-span.ts'

const at = (text: string, path: (string | number)[]): [string, string | undefined] => {
  const { value, key } = jsonSpan(text, path)
  return [text.slice(value.start, value.end), key && text.slice(key.start, key.end)]
}

test('values and keys are found, with any white space', () => {
  const text = ' {\n "a" : [ 1 , {"b\\"{" :\t"x,]" } ,[]],"c":1.50\r\n,"d":{}} '
  expect(at(text, [])[0]).toBe(text.trim())
  expect(at(text, ['a', 0])).toEqual(['1', undefined])
  expect(at(text, ['a', 1, 'b"{'])).toEqual(['"x,]"', '"b\\"{"'])
  expect(at(text, ['a', 2])).toEqual(['[]', undefined])
  expect(at(text, ['c'])).toEqual(['1.50', '"c"'])
  expect(at(text, ['d'])).toEqual(['{}', '"d"'])
})

test('of two equal keys the later one is found; a missing path ends at its last existing value', () => {
  expect(at('{"a":1,"a":2}', ['a'])).toEqual(['2', '"a"'])
  expect(at('{"a":{"b":1}}', ['a', 'x', 'y'])).toEqual(['{"b":1}', '"a"'])
  expect(at('[1]', [5])).toEqual(['[1]', undefined])
})

test('every value of any JSON text is found', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(0, 1, 4), (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      const visit = (v: unknown, path: (string | number)[]): void => {
        expect(JSON.parse(at(text, path)[0])).toEqual(JSON.parse(JSON.stringify(v)))
        if (Array.isArray(v)) v.forEach((x, i) => visit(x, [...path, i]))
        else if (typeof v === 'object' && v !== null) for (const [k, x] of Object.entries(v)) visit(x, [...path, k])
      }
      visit(value, [])
    }),
  )
})
