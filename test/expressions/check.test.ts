import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { check } from '../../src/expressions/index.ts'

/** Problems as `[marked text] message => suggestion`. */
function problems(text: string): string[] {
  const result = check(text)
  if (!('problems' in result)) return []
  return result.problems.map(p => `[${text.slice(p.start, p.end)}] ${p.message}${p.suggestion === undefined ? '' : ` => ${p.suggestion}`}`)
}

describe('types', () => {
  test.each([
    ['price > 0.0', 'bool'],
    ['price', 'dyn'],
    ['price * 2', 'dyn'],
    ['1 + 2', 'int'],
    ['1 + 2.0', 'double'],
    ['round(price * volume, 2)', 'double'],
    ['symbol.upper()', 'string'],
    ['symbol.split("-")', 'list'],
    ['{"a": 1, "b": "x"}', 'map'],
    ['[1, "a", null]', 'list'],
    ['null', 'null'],
    ['has(value.a)', 'bool'],
    ['value.?a.orValue(5)', 'dyn'],
    ['meta.topic', 'dyn'],
  ])('%s is %s', (text, type) => {
    expect(check(text)).toEqual({ type })
  })
})

describe('fields may have the names of types and namespaces', () => {
  test.each([
    'type == "trade"',
    'string',
    'list.all(x, x > 0)',
    'map.a',
    'int + 1',
    'cel == 1',
    'optional == null',
    'google',
    'bytes',
    'double < 2',
  ])('%s', text => {
    expect(problems(text)).toEqual([])
  })
})

describe('problems have their position', () => {
  test.each([
    // Unknown functions.
    ['price > sise(a)', "[sise] unknown function 'sise' => size(x)"],
    ['a + symbol.uppr()', "[uppr] unknown function 'uppr' => text.upper()"],
    ['(a + b) . uppr()', "[uppr] unknown function 'uppr' => text.upper()"],
    ['upper(symbol)', "[upper] unknown function 'upper' => text.upper()"],
    ['meta.time < now()', "[now] unknown function 'now' => meta.time (there is no clock, because a replay must give the same result)"],
    ['frobnicate(1)', "[frobnicate] unknown function 'frobnicate'"],
    ['round(1, 2, 3)', '[round] round() takes 1 or 2 arguments, got 3 => round(x), round(x, places)'],
    // Wrong operand types.
    ['price > "a" * 2', '["a" * 2] \'*\' does not work on text and an integer => double(x) converts a string to a number'],
    ['true && "x" + 1 == "x1"', '["x" + 1] \'+\' does not work on text and an integer => string(x) converts a number to a string'],
    ['-"x"', '[-"x"] \'-\' does not work on text'],
    ['a && price > 1.0 && 5', '[5] must be true or false here, not an integer'],
    ['"a" || ok', '["a"] must be true or false here, not text'],
    ['1 ? 2 : 3', '[1] must be true or false here, not an integer'],
    [
      'ok ? 1.0 : 0',
      "[ok ? 1.0 : 0] the branches of '? :' are a number and an integer: they must have the same type => write 0.0 instead of 0",
    ],
    [
      'ok ? "x" : 0',
      '[ok ? "x" : 0] the branches of \'? :\' are text and an integer: they must have the same type => write dyn(x) to allow a different type',
    ],
    ['round("a")', '["a"] round() does not take text => round(x), round(x, places)'],
    ['symbol.contains(1)', '[1] contains() does not take an integer => text.contains(part)'],
    ['int([1])', '[[1]] int() does not take a list => int(x)'],
    // Syntax.
    ['', '[] the expression is empty'],
    ['price >', '[] the expression ends too early'],
    [
      'round(price',
      "[] the expression ends where ')' was expected; inside { } and [ ] of YAML, a comma ends a value: put the expression in quotes",
    ],
    ['ok ? 1', "[] the expression ends where ':' was expected"],
    ['price = 2', "[=] unexpected '=' => =="],
    ['a and b', "[and] unexpected 'and' => &&"],
    ['a <> b', "[>] unexpected '>' => !="],
    ['a == "x', '["x] the quote " is never closed'],
    ['a > 🙂', "[🙂] unexpected '🙂'"],
    ['package > 1', '[package] \'package\' is a reserved word => value["package"]'],
    ['if (a) 1', "[if] 'if' is not part of the language => condition ? a : b"],
    ['a.in', '[in] \'in\' is a keyword of the language => ["in"]'],
    // Values that JSON cannot represent, or that would be lost.
    ['b"x"', '[b"x"] the result is bytes, which is not a JSON value => base64.encode(b"x")'],
    [
      '[list[?0]]',
      '[[list[?0]]] the result contains an optional, which is not a JSON value => [?value.?a], {?"a": value.?a}, or value.?a.orValue(default)',
    ],
    [
      '9223372036854775808',
      '[9223372036854775808] 9223372036854775808 is outside the range of 64-bit integers => decimal("9223372036854775808"), or 9223372036854775808u',
    ],
    // Forms that are written into the text for the parser keep their places.
    ['`a b`', '[`] backquotes are allowed only for a name after a dot => value.`a b`'],
    ['value.`a"b`', '[`] `a"b` is not the name of a field => value["a\\"b"]'],
    ['value.`f`(1)', '[`] `f` is not the name of a field => value["f"]'],
    ['value.`a-b` > 1 && nope(2)', "[nope] unknown function 'nope'"],
    ['value.`a-b`.nope(2)', "[nope] unknown function 'nope'"],
    ['{?"a": value.?x, ?"b": 1}', '[1] must be an optional here, not an integer => value.?a'],
    ['[.5, ?value.?x, 1]  ]', "[]] unexpected ']'"],
    ['[1, ?]', '[?] only entries of lists and objects can be optional => [?value.?a], {?"a": value.?a}'],
    ['{?}', '[?] only entries of lists and objects can be optional => [?value.?a], {?"a": value.?a}'],
    ['max(1, ?value.?x)', '[?] only entries of lists and objects can be optional => [?value.?a], {?"a": value.?a}'],
    ['.5 + "x"', '[.5 + "x"] \'+\' does not work on a number and text => string(x) converts a number to a string'],
    ['list.map(.5, 1)', '[.] must be a name that the last argument uses => x'],
    ['cel.bind(.5, 1, 2) > 1', '[.5] must be a name that the last argument uses => x'],
    ['x.5', "[5] unexpected '5'"],
    ['a == .9e400', '[.] .9e400 is outside the range of a double => decimal("0.9e400")'],
    ['br"x"', '[br"x"] the result is bytes, which is not a JSON value => base64.encode(br"x")'],
    ['price < 1e400', '[1e400] 1e400 is outside the range of a double => decimal("1e400")'],
    [
      'parse_time(s, "Europe/Pari")',
      '["Europe/Pari"] unknown time zone "Europe/Pari": write an IANA name such as Europe/Paris, UTC, or an offset such as +05:30',
    ],
    [
      'parse_time(s, "%d.%k", "UTC")',
      expect.stringContaining('["%d.%k", "UTC"] %k is not a directive of a time format; the directives are %Y'),
    ],
    ['list.map(1, 2)', '[1] must be a name that the last argument uses => x'],
    ['cel.bind(1, 2, 3) > 1', '[1] must be a name that the last argument uses => x'],
    ['"a".exists(x, x == 1)', '["a"] text has no elements: only a list or an object has elements'],
    ['"a".all(i, x, i == 1)', '["a"] text has no elements: only a list or an object has elements'],
    ['"a".b', '[b] text has no fields: only an object or a list has fields'],
    ['[1]["a"]', '[[1]["a"]] the position in a list must be an integer, not text => int(x)'],
    ['"x".optMap(y, y).orValue(1)', '["x"] must be an optional here, not text => value.?a'],
    ['value.?a.or(1).orValue(1)', '[1] must be an optional here, not an integer => value.?a'],
    ['math.sqr(2)', "[sqr] unknown function 'math.sqr' => math.sqrt(x)"],
    ['list.all(1, x, x > 0)', '[1] must be a name for the elements => x'],
    ['list.transformList(x, x, x)', "[x] duplicate name 'x'"],
    ['value.?a', '[value.?a] the result is an optional, which is not a JSON value => value.?a.orValue(default)'],
    ['{a: 1}', '[a] a key of a map is a string: put it in quotes, or write value.name to use the value of a field => "a"'],
    ['{"a": 1, "a": 2}', '["a"] duplicate key \'a\''],
    ['{"constructor": 1}', '["constructor"] \'constructor\' cannot be a key'],
    ['has(price)', '[price] has() takes the path of a field => has(value.price)'],
    ['s.re(pattern)', '[pattern] the pattern of re() must be a literal => text.re("pattern")'],
    ['s.re("(a")', '["(a"] not a regular expression: a ( is not closed: (a'],
  ])('%s', (text, problem) => {
    expect(problems(text)).toEqual([problem])
  })

  test('all unknown functions are reported at once', () => {
    expect(problems('foo(1) + bar(2) + a.baz()')).toHaveLength(3)
  })
})

describe('limits', () => {
  test.each([
    ['length', `a${' + a'.repeat(2000)}`, /limit is 4096/],
    ['size', `1${'+1'.repeat(1800)}`, /more than 2000 operators and operands/],
    ['depth', `${'('.repeat(100)}1${')'.repeat(100)}`, /more than 48 nested levels/],
    ['list', `[${'1,'.repeat(600)}1]`, /more than 500 elements in a list/],
    ['arguments', `round(${'1,'.repeat(20)}1)`, /more than 8 arguments/],
  ])('%s', (_, text, message) => {
    const result = check(text)
    expect('problems' in result && result.problems[0].message).toMatch(message)
  })

  test('the longest allowed chains neither overflow nor take long', () => {
    const started = process.cpuUsage()
    for (const text of [`${'!'.repeat(4000)}ok`, `${'-'.repeat(4000)}n`, `n${'.a'.repeat(40)}`, `n${'+n'.repeat(900)}`]) check(text)
    const { user, system } = process.cpuUsage(started)
    expect((user + system) / 1e6).toBeLessThan(5)
  })
})

test('check never throws, and ranges lie inside the text', () => {
  const token = fc.constantFrom(
    'price',
    'value',
    'meta',
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    '.',
    ',',
    ':',
    '?',
    '+',
    '-',
    '==',
    '&&',
    '!',
    '"',
    "'",
    '1',
    '2.5',
    'in',
    'null',
    'has',
    'map',
    'x',
    ' ',
    '🙂',
    '\n',
    '\\',
    'b"',
    '.?',
    '//',
    'orValue',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string().filter(s => !s.includes('$')),
        fc.array(token, { maxLength: 15 }).map(t => t.join('')),
      ),
      text => {
        const result = check(text)
        if (!('problems' in result)) return
        expect(result.problems.length).toBeGreaterThan(0)
        for (const p of result.problems) {
          expect(p.start).toBeGreaterThanOrEqual(0)
          expect(p.end).toBeGreaterThanOrEqual(p.start)
          expect(p.end).toBeLessThanOrEqual(text.length)
          expect(p.message).not.toMatch(/\$|dyn</)
        }
      },
    ),
    { numRuns: 3000 },
  )
})
