import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compilePattern } from '../../../src/kit/text/pattern.ts'

const refused = (pattern: string): string => {
  try {
    compilePattern(pattern)
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

describe('has the ECMA-262 meaning', () => {
  test.each<[string, string[], string[]]>([
    ['^\\s$', [' ', '\u00a0', '\ufeff', '\u2029', '\v'], ['x', '\u200b']],
    ['^[^\\S\\n]$', [' ', '\u3000'], ['\n', 'x']],
    ['^.$', ['x', '😀', '\v'], ['\n', '\r', '\u2028', 'xy']],
    ['^a$', ['a'], ['a\n']],
    ['^[[:alpha:]]$', ['a]', '[]', ':]'], ['a', 'z]']],
    ['^\\uD83D\\uDC09*$', ['', '🐉🐉'], ['\ud83d']],
    ['^\\u{1F409}\\x41\\cA\\0$', ['🐉A\u0001\0'], ['🐉A']],
    ['^[^\\u0000\\ud800-\\udfff]*$', ['abc', '😀'], ['a\ud800', '\0']],
    ['^\\p{Letter}\\P{Lu}\\p{Script=Greek}$', ['aaα'], ['aAα', 'aaa']],
    ['^[\\w\\-.]+@$', ['a-b.c@'], ['a b@']],
    ['^(?<year>\\d{4})(?:-\\d\\d)?$', ['2026', '2026-01'], ['٢٠٢٦', '2026-1']],
    ['^{.*}$', ['{}', '{a}'], ['a']],
    ['[]', [], ['', 'a']],
    ['^[^]$', ['\n', '😀'], ['']],
    ['^[\\b]$', ['\b'], ['b']],
    ['^(?i)abc$', ['ABC'], ['abd']],
    ['^[a-c&&b]$', ['a', '&'], ['d']],
  ])('%s', (pattern, yes, no) => {
    const matches = compilePattern(pattern)
    expect(yes.filter(t => !matches(t))).toEqual([])
    expect(no.filter(t => matches(t))).toEqual([])
  })

  test('matches like the JavaScript engine on generated patterns', () => {
    const atom = fc.constantFrom(
      'a',
      'b',
      '.',
      '\\d',
      '\\D',
      '\\s',
      '\\S',
      '\\w',
      '\\W',
      '[ab]',
      '[^a\\s]',
      '[\\S\\n]',
      '[a-z.]',
      '\\.',
      '\\n',
      '\\b',
      '^',
      '$',
      '\\u00e9',
      '\\u{1f600}',
      '\\p{L}',
      '[^\\p{Lu}-]',
      '-',
      '/',
      '😀',
    ) // prettier-ignore
    const pattern = fc
      .letrec<{ all: string; one: string }>(tie => ({
        all: fc.array(tie('one'), { maxLength: 4 }).map(list => list.join('')),
        one: fc.oneof(
          { maxDepth: 3 },
          atom,
          fc.tuple(tie('all'), fc.constantFrom('', '*', '+', '?', '{0,2}', '{2}', '{1,}', '*?')).map(([x, q]) => `(?:${x})${q}`),
          fc.tuple(tie('all'), tie('all')).map(([x, y]) => `(${x}|${y})`),
        ),
      }))
      .all.filter(p => !/\(\?:[$^]*\)/.test(p))
    const texts = fc.array(fc.constantFrom('a', 'b', '1', ' ', '\n', '\u2028', '\u00a0', 'é', '😀', 'Z', '_', '-', '.', '/', '\ud800'), {
      maxLength: 8,
    })
    fc.assert(
      fc.property(pattern, fc.array(texts, { maxLength: 5 }), (p, list) => {
        const [ours, theirs] = [compilePattern(p), new RegExp(p, 'u')]
        for (const t of list.map(parts => parts.join(''))) expect([p, t, ours(t)]).toEqual([p, t, theirs.test(t)])
      }),
      { numRuns: 500 },
    )
  })
})

describe('rejects patterns that would backtrack or differ in meaning, with a replacement', () => {
  test.each([
    ['^(?!x)(a+)+$', /^lookaround is not supported.*`not`.*\(character 2 of /],
    ['(?<=a)b', /^lookaround/],
    ['(a)\\1', /^backreferences/],
    ['(?<n>a)\\k<n>', /^backreferences/],
    ['^.{0,2000}$', /minLength and maxLength/],
    ['a{,5}', /write \{0,5\}/],
    ['\\Aabc\\z', /\\A is not an escape/],
    ['(?m)^a', /^\(\?m\) is not supported/],
    ['[b-a]', /out of order/],
    ['[a', /\[ without \]/],
    ['(a', /a \( is not closed/],
    ['a**', /./],
    ['\\p{Emoji}', /the property Emoji is not supported/],
    ['a\\', /ends with a backslash/],
  ])('%s', (pattern, message) => {
    expect(refused(pattern)).toMatch(message)
  })

  test('runs in linear time on any text', () => {
    // Backtracking would not end.
    for (const pattern of ['^(a+)+$', '(a|a)*b', '^(([a-z])+.)+[A-Z]([a-z])+$', '(x+x+)+y', '^(.*)*$\\b'])
      expect(typeof compilePattern(pattern)(`${'a'.repeat(10_000)}!`)).toBe('boolean')
  })
})
