import { describe, expect, test } from 'vitest'
import { elements, JsonError, malformedJson } from '../../src/contract/json-scan.ts'

const cut = (text: string, path?: string): string[] | undefined => {
  const bytes = Buffer.from(text)
  const bounds = elements(bytes, path?.split('.'))
  return bounds && Array.from({ length: bounds.length / 2 }, (_, i) => bytes.toString('utf8', bounds[2 * i], bounds[2 * i + 1]))
}

describe('elements of an array', () => {
  test.each<[string, string | undefined, string[] | undefined]>([
    ['[]', undefined, []],
    [' [ 1.10 , "a\\"]" ,{"a" : [1 , 2]}\n,[[]], null ] ', undefined, ['1.10', '"a\\"]"', '{"a" : [1 , 2]}', '[[]]', 'null']],
    ['{"rows":[1]}', undefined, undefined],
    ['"[1]"', undefined, undefined],
    ['{"a":[0],"rows":[1e2,-0.50],"z":[9]}', 'rows', ['1e2', '-0.50']],
    ['{"data":{"x":[1],"items":[{"items":[2]}]},"items":[3]}', 'data.items', ['{"items":[2]}']],
    ['{"x":{"data":{"items":[1]}},"data":{"items":[2]}}', 'data.items', ['2']],
    ['[{"data":{"items":[1]}}]', 'data.items', undefined],
    ['{"data":[{"items":[1]}]}', 'data.items', undefined],
    ['{"r\\u006fws":[1]}', 'rows', ['1']],
    ['{"rows":{"0":1}}', 'rows', undefined],
  ])('%s at %s', (text, path, expected) => expect(cut(text, path)).toEqual(expected))

  test.each([
    ['', 0],
    ['[1', 2],
    ['[1,]', 3],
    ['{"a":1,}', 7],
    ['{a:1}', 1],
    ['[01]', 2],
    ['[1.]', 3],
    ['[-]', 2],
    ['[+1]', 1],
    ['[1] x', 4],
    ['["a\tb"]', 3],
    ['["\\x"]', 3],
    ['["\\u12g4"]', 6],
    ['[nul]', 4],
    ['[NaN]', 1],
    ['{"a" 1}', 5],
    ['["abc', 5],
    ['[1}', 2],
  ])('%s stops at byte %i', (text, offset) => {
    let error: unknown
    try {
      cut(text)
    } catch (e) {
      error = e
    }
    expect(error).toBeInstanceOf(JsonError)
    expect((error as JsonError).offset).toBe(offset)
    expect(() => JSON.parse(text) as unknown).toThrow()
  })

  test('reports line and column, in characters', () => {
    expect(() => cut('[\n  "é",\n  "éé" "x"]')).toThrow(expect.objectContaining({ line: 3, column: 8 }))
    expect(() => elements(Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]))).toThrow(
      expect.objectContaining({ offset: 2, message: 'not valid UTF-8' }),
    )
  })

  test('two arrays of one name are an error, and so is unlimited nesting', () => {
    expect(() => cut('{"rows":[1],"rows":[2]}', 'rows')).toThrow('rows is a duplicate key')
    expect(() => cut('['.repeat(1_000_000))).toThrow('nested deeper than 256')
  })

  // JSON.parse is the reference: mutated texts must be accepted or rejected alike, and the elements must have equal values.
  test('agrees with JSON.parse on mutated texts', () => {
    let state = 1
    const random = (n: number): number => (state = (state * 48271) % 2147483647) % n
    const seed = '[{"a":-1.5e+3,"b":["x\\n\\u00e9",true,null]},"é",[],{},0, 12345678901234567890.10 ]'
    const alphabet = '[]{}",:\\ \n\t01.-+eEtrufalsn"'
    let good = 0
    for (let round = 0; round < 20_000; round++) {
      let text = seed
      for (let i = random(3); i >= 0; i--) {
        const at = random(text.length)
        text = text.slice(0, at) + alphabet[random(alphabet.length)].repeat(random(2)) + text.slice(at + random(2))
      }
      let parsed: unknown
      try {
        parsed = JSON.parse(text)
      } catch {
        expect(() => cut(text), text).toThrow(JsonError)
        continue
      }
      good++
      const parts = cut(text)
      if (Array.isArray(parsed))
        expect(
          parts!.map(p => JSON.parse(p) as unknown),
          text,
        ).toEqual(parsed)
      else expect(parts).toBeUndefined()
    }
    expect(good).toBeGreaterThan(1000)
  })
})

test.each([
  ['{"price":', 'column 10: expected a value, but the text ends here'],
  ['{"a":1,\n "b":NaN}', 'line 2, column 6: NaN is not a value of JSON'],
  ["{'a':1}", 'column 2: expected a key in double quotes'],
  ["['a']", 'column 2: a string needs double quotes'],
  ['\ufeff{}', 'column 1: remove the byte order mark'],
  ['ERROR 502', 'column 1: expected a value'],
  ['{"a":"x', 'column 8: the string is not terminated, but the text ends here'],
  ['', 'column 1: expected a value, but the text ends here'],
])('%j: the error has the position and the reason, and no text of the parser', (text, expected) => {
  const cause = new Error('of the parser')
  const error = malformedJson(text, cause)
  expect([error.message, error.cause]).toEqual([`malformed JSON at ${expected}`, cause])
  expect(() => JSON.parse(text)).toThrow()
})
