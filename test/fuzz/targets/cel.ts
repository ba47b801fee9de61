/** Expressions, and records for them: the text before a line break is the expression, behind it the record. */
import { DataError, DecodeError, Message } from '../../../src/contract/plugin.ts'
import { check, compile } from '../../../src/expressions/index.ts'
import { assert, outcomeOf, type Target } from '../target.ts'

const RECORD = '{"a":1.10,"b":"text","l":[1,2,{"x":null}],"m":{"k":true},"t":1700000000000}'

export const target: Target = {
  name: 'cel',
  seeds: () =>
    [
      'a > 0.5 && b == "text" || m.k',
      'l.map(x, x == 1 ? "y" : "n")',
      'l.exists(e, e == 2) && size(b) < 3',
      'parse_time(b, "%Y-%m-%d", "Europe/Paris") + t',
      'b.matches("^t+$") && b.replace("t", "u", 3).split("e")[0] == "x"',
      '{"a": [a, decimal("1e400")], b: duration("1h")}',
      'value.?x.orValue(timestamp("2026-01-01T00:00:00Z"))',
      '"%s %d %.3f".format([b, 1, a])',
      'math.greatest([1, 2u, a]) + div(a, 3, 2)',
      'cel.bind(x, a, x + x) - round(a, 2)',
      'base64.encode(bytes(b)) + string(int(a))',
      '{?"x": m.?`a-b`, ?b: optional.of(.5)}.?x.orValue([?l[?0], br"\\d"])',
    ].map(text => Buffer.from(`${text}\n${RECORD}`)),
  dictionary: [
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    '.',
    '?',
    ':',
    '&&',
    '||',
    '"',
    "'",
    '\\',
    'in',
    '.map(x, ',
    '.filter(x, ',
    'value',
    'meta.headers',
    'has(',
    'a',
    'b',
    'l',
    'm',
    't',
    '-',
    '!',
    '9223372036854775807',
    '1e308',
    '0.0',
    '"(a+)+$"',
    '"%Y%m%d%H%M%S%z"',
    '.repeat(',
    '.pad(',
    'decimal("1e-400")',
    '1u',
    '{?"a": ',
    '[?',
    '.`a-b`',
    '.5',
    'br"',
    'b"\\xff"',
    'r"',
    '"""',
    '//',
    '*',
    '/',
    '%',
    '.join(",")',
    '.substring(',
    '.reverse()',
    'duration("',
    'timestamp("',
    'round(',
    'null',
    '[1,2,3]',
    '{"a":1}',
    '.format([',
  ],
  run(input) {
    const text = input.toString()
    const at = text.indexOf('\n')
    const expression = at < 0 ? text : text.slice(0, at)
    const checked = check(expression)
    if ('problems' in checked) {
      assert(checked.problems.length > 0, 'a wrong expression has a problem')
      for (const p of checked.problems) {
        assert(p.start >= 0 && p.end >= p.start && p.start <= expression.length, `a problem is inside the text: ${p.message}`)
        assert(
          !/undefined|\[object/.test(p.message.replaceAll(expression, '')) || /undefined/.test(expression),
          `a message is one: ${p.message}`,
        )
      }
      return checked.problems[0].message.replaceAll(/'[^']*'|"[^"]*"|\d+/g, '…').slice(0, 60)
    }
    let record: unknown = {}
    try {
      record = JSON.parse(at < 0 ? RECORD : text.slice(at + 1))
    } catch {
      record = JSON.parse(RECORD)
    }
    try {
      const value = compile(expression).evaluate(new Message(record))
      assert(value !== undefined, 'a result is a value')
      JSON.stringify(value)
      return `${checked.type}:${typeof value}`
    } catch (error) {
      if (error instanceof DataError || error instanceof DecodeError) return outcomeOf(error)
      throw error
    }
  },
}
