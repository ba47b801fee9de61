/** JSON texts: the parser and the scanner accept the same texts as JSON.parse, and lose no digit. */
import { DecodeError, encodeJson, ExactNumber, parseJson } from '../../../src/contract/plugin.ts'
import { DEFAULT_DEPTH, inspect, Need } from '../../../src/contract/json.ts'
import { elements, JsonError, TooManyElementsError } from '../../../src/contract/json-scan.ts'
import { jsonSpan } from '../../../src/kit/text/json-span.ts'
import { assert, outcomeOf, type Target } from '../target.ts'

export const target: Target = {
  name: 'json',
  seeds: () =>
    [
      '{"id":9007199254740993,"price":1.10,"s":"\\u0000\\ud83d\\ude00 \\" \\\\","l":[1,-0,1e400,0.000001,[],{}],"n":null,"t":true}',
      '[{"a":1},{"a":2.50},"x",false]',
      ' [ 1 , 2 ] ',
      '"text"',
      '123456789012345678901234567890.10',
      '{"\u007f1":"\u007f2","a\\u007f":"\\u007f3.10"}',
      `${'['.repeat(300)}${']'.repeat(300)}`,
    ].map(text => Buffer.from(text)),
  dictionary: [
    '[',
    ']',
    '{',
    '}',
    '"',
    '\\',
    '\\u',
    ',',
    ':',
    '-0',
    '1.10',
    '1e5',
    '9007199254740993',
    'null',
    '__proto__',
    '\u007f',
    '\ud800',
    '0x1',
    '01',
    '.5',
    '1.',
    'NaN',
    '\u2028',
  ],
  run(input) {
    const text = input.toString()
    const valid = parses(text)
    let value: unknown
    let failed: unknown
    try {
      value = parseJson(text, DEFAULT_DEPTH)
    } catch (error) {
      failed = error
      assert(
        error instanceof SyntaxError || error instanceof DecodeError,
        `an error of the parser is a SyntaxError or a DecodeError, not ${String(error)}`,
      )
      assert(!valid || error instanceof DecodeError, 'what JSON.parse takes, parseJson takes')
    }
    if (failed === undefined) {
      assert(valid, 'what parseJson takes, JSON.parse takes')
      const again = encodeJson(value)
      assert(encodeJson(parseJson(again)) === again, 'what is written is read back the same')
      same(JSON.parse(text), value)
      jsonSpan(text, ['a', 0, 'b'])
    }
    const need = inspect(input, DEFAULT_DEPTH)
    if (need === Need.plain && valid) same(JSON.parse(text), value, true)
    scan(input, valid)
    return failed === undefined ? `${need}:${typeof value}:${text.length.toString().length}` : outcomeOf(failed)
  },
}

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The scanner works on bytes: it reports text that is not UTF-8. */
function scan(input: Buffer, valid: boolean): void {
  try {
    const bounds = elements(input, [], 1000)
    assert(valid, 'what the scanner takes, JSON.parse takes')
    for (let i = 0; bounds !== undefined && i < bounds.length; i += 2) assert(bounds[i] < bounds[i + 1], 'an element has bytes')
  } catch (error) {
    if (error instanceof TooManyElementsError) return
    if (!(error instanceof JsonError)) throw error
    assert(error.offset >= 0 && error.offset <= input.length, 'the place of an error is inside the text')
    assert(
      !valid || !input.equals(Buffer.from(input.toString())) || /deep|nest/.test(error.message),
      `what JSON.parse takes, the scanner takes: ${error.message}`,
    )
  }
}

function same(plain: unknown, ours: unknown, exact = false): void {
  if (ours instanceof ExactNumber) {
    assert(!exact, 'a plain text has no exact numbers')
    assert(typeof plain === 'number' && Object.is(Number(ours.text), plain), 'an exact number is the number')
  } else if (typeof plain === 'object' && plain !== null) {
    const keys = Object.keys(plain)
    assert(typeof ours === 'object' && ours !== null && Object.keys(ours).length === keys.length, 'the same keys')
    for (const key of keys) same((plain as Record<string, unknown>)[key], (ours as Record<string, unknown>)[key], exact)
  } else assert(Object.is(plain, ours), `the same value: ${String(plain)} and ${String(ours)}`)
}
