/** Random expressions, mostly well typed, and random records that mostly fit them. */
import fc, { type Arbitrary } from 'fast-check'
import { Message } from '../../src/contract/plugin.ts'

// Few names, and some of them often: a type inferred from one use of a field must not be assumed where that use did not happen.
const NUMBERS = ['price', 'price', 'price', 'n', 'n', 'o.x', 'value.price', 'o.deep.x', 'list[0]', 'meta.time', 'value["n"]']
const TEXTS = ['symbol', 'symbol', 'symbol', 'type', 'o.s', 'value.symbol', 'texts[0]', 'meta.key', 'meta.topic']
const BOOLEANS = ['flag', 'flag', 'ok', 'o.b']
const ANYTHING = [
  'missing',
  'nul',
  'o',
  'list',
  'texts',
  'value',
  'odd',
  'same',
  'price',
  'symbol',
  'constructor',
  'toString',
  'length',
  'o.constructor',
  'value.__proto__',
  'o.nul',
  'meta.partition',
  'meta.offset',
  'list[9]',
  'value.list',
  'texts.length',
]

const quoted = fc.constantFrom(
  '""',
  '"a"',
  '"BTC"',
  '"BTC-USD"',
  "'b'",
  '"1.5"',
  '"-"',
  '"2026-03-29 02:30:00"',
  '"2026-01-31T12:00:00Z"',
  '"x\\"y"',
  '"é\\n🙂"',
)
const double = fc.constantFrom('0.0', '1.0', '2.5', '0.1', '1e3', '1e308', '5e-324', '1005.0', '3.14159')
const int = fc.constantFrom('0', '1', '2', '3', '10', '60000', '9007199254740991', '9007199254740993', '4611686018427387904')

const { num, text, bool, any } = fc.letrec<{ num: string; integer: string; text: string; bool: string; any: string; list: string }>(tie => {
  const [num, integer, text, bool, any, list] = (['num', 'integer', 'text', 'bool', 'any', 'list'] as const).map(k => tie(k))
  const of = (...parts: (string | Arbitrary<string>)[]): Arbitrary<string> =>
    fc.tuple(...parts.map(p => (typeof p === 'string' ? fc.constant(p) : p))).map(p => p.join(''))
  const choice = fc.oneof.bind(fc, { depthSize: 'small', withCrossShrink: true }) as typeof fc.oneof
  // Occasionally a value of another type, so that the interpreter's errors are covered, too.
  const slip = (a: Arbitrary<string>): Arbitrary<string> => fc.oneof({ arbitrary: a, weight: 24 }, { arbitrary: any, weight: 1 })
  const [N, T, B] = [slip(num), slip(text), slip(bool)]
  const condition = of('(', B, ' ? ')
  return {
    integer: choice(
      int,
      of('size(', fc.oneof(text, list), ')'),
      of('int(', N, ')'),
      of('(', integer, fc.constantFrom(' + ', ' - ', ' * ', ' / ', ' % '), integer, ')'),
      of('-', integer),
      of(condition, integer, ' : ', integer, ')'),
    ),
    num: choice(
      fc.constantFrom(...NUMBERS),
      double,
      integer,
      of('(', N, fc.constantFrom(' + ', ' - ', ' * ', ' / ', ' % '), N, ')'),
      of('-', N),
      of(fc.constantFrom('floor', 'ceil', 'abs', 'round', 'int', 'double'), '(', N, ')'),
      of(fc.constantFrom('min', 'max'), '(', N, ', ', N, ')'),
      of('round(', N, ', ', fc.constantFrom('0', '1', '2', '12', '99', '1.0', 'n'), ')'),
      of(text, '.indexOf(', T, ')'),
      of('double(', text, ')'),
      of('parse_time(', text, fc.constantFrom('', ', "Europe/Paris"', ', "%Y-%m-%d %H:%M:%S", "UTC"', ', "s"'), ')'),
      of(condition, N, ' : ', N, ')'),
      of('value.?', fc.constantFrom('price', 'missing', 'nul', 'toString'), '.orValue(', N, ')'),
      of('o.?', fc.constantFrom('x', 'deep', 'nope'), '.orValue(', N, ')'),
    ),
    text: choice(
      fc.constantFrom(...TEXTS),
      quoted,
      of('(', T, ' + ', T, ')'),
      of(text, '.', fc.constantFrom('upper()', 'lower()', 'trim()')),
      of(text, '.replace(', T, ', ', T, ')'),
      of(text, '.split(', T, ')[', fc.constantFrom('0', '1', '7'), ']'),
      of('string(', fc.oneof(num, bool, text), ')'),
      of('format_time(', N, fc.constantFrom('', ', "%F %T %z", "America/New_York"'), ')'),
      of(condition, T, ' : ', T, ')'),
      of(text, '.substring(', fc.constantFrom('0', '1', '9'), ')'),
    ),
    bool: choice(
      fc.constantFrom(...BOOLEANS, 'true', 'false'),
      of('(', N, fc.constantFrom(' < ', ' <= ', ' > ', ' >= ', ' == ', ' != '), N, ')'),
      of('(', T, fc.constantFrom(' < ', ' <= ', ' == ', ' != '), T, ')'),
      of('(', any, fc.constantFrom(' == ', ' != '), any, ')'),
      of('(', any, fc.constantFrom(' == ', ' != '), fc.constantFrom('null', 'same', 'odd'), ')'),
      of('(', B, fc.constantFrom(' && ', ' || '), B, ')'),
      of('!', B),
      of(text, '.', fc.constantFrom('contains', 'startsWith', 'endsWith'), '(', T, ')'),
      of(text, '.re("^[A-Z]+(-.*)?$")'),
      of('(', T, ' in ["BTC", "a", "1.5"])'),
      of('(', N, ' in [1, 2.5, 3])'),
      of('(', any, ' in ', list, ')'),
      of(
        'has(',
        fc.constantFrom(
          'value.price',
          'value.missing',
          'o.x',
          'o.deep.x',
          'o.nope.x',
          'value.toString',
          'missing.x',
          'meta.topic',
          'value.constructor',
        ),
        ')',
      ),
      of(list, '.', fc.constantFrom('all', 'exists', 'exists_one'), '(i, i > ', N, ')'),
    ),
    list: choice(
      fc.constantFrom('list', 'texts', '[]'),
      of('[', any, ', ', any, ']'),
      of(text, '.split(', T, ')'),
      of('list.map(i, i * ', N, ')'),
      of('list.filter(i, i > ', N, ')'),
    ),
    any: choice(
      fc.constantFrom(...ANYTHING),
      num,
      text,
      bool,
      list,
      of('{"k": ', any, ', "l": ', any, '}'),
      of('dyn(', any, ')'),
      // Never generated, so few: the whole must stay the interpreter's.
      fc.oneof(
        of(text, '.lastIndexOf(', T, ')'),
        of('math.', fc.constantFrom('abs', 'sign', 'trunc'), '(', N, ')'),
        of('math.greatest(', N, ', ', N, ')'),
        of('[', any, ', ?value.?', fc.constantFrom('price', 'missing', '`nul`'), ']'),
        of('{?"k": value.?', fc.constantFrom('price', 'missing'), ', "l": ', any, '}'),
        of('(value.`price` + ', fc.constantFrom('.5', '.25'), ')'),
        of(text, fc.constantFrom('.reverse()', '.charAt(0)', '.charAt(2)')),
        of('"%s|%s".format([', any, ', ', N, '])'),
        of(list, '.', fc.constantFrom('all', 'exists', 'exists_one'), '(j, i, i > ', N, ' && j < 2)'),
        of(list, '.transformList(j, i, ', fc.oneof(any, fc.constant('j'), fc.constant('i')), ')'),
      ),
      of(condition, any, ' : ', any, ')'),
      of('(', any, ' + ', any, ')'),
    ),
  }
})

export const expression: Arbitrary<string> = fc.oneof(num, text, bool, any)

/** Values that only a user's plugin puts into a record. */
class Foreign {
  get price(): number {
    return 5
  }
}

const number = fc.oneof(
  fc.constantFrom(0, -0, 1, 2, 2.5, -1, 0.1, 1e308, 2 ** 53, 60000, Number.POSITIVE_INFINITY),
  fc.double({ noNaN: true }),
  fc.integer(),
)
const string = fc.oneof(fc.constantFrom('', 'a', 'BTC', 'BTC-USD', '1.5', ' 7 ', '🙂', '-3'), fc.string({ maxLength: 8 }))
const weird = fc.oneof(
  number,
  string,
  fc.boolean(),
  fc.constant(null),
  fc.constantFrom<unknown>(
    [],
    {},
    [1, 2],
    ['a'],
    { x: 1 },
    [null],
    { constructor: 1 },
    [[1]],
    { deep: { x: 2 } },
    7n,
    Buffer.from('a'),
    new Foreign(),
  ),
)
const mostly = <T>(a: Arbitrary<T>): Arbitrary<unknown> =>
  fc.oneof({ arbitrary: a as Arbitrary<unknown>, weight: 7 }, { arbitrary: weird, weight: 1 })

const object = fc.record(
  {
    x: mostly(number),
    s: mostly(string),
    b: mostly(fc.boolean()),
    deep: mostly(fc.record({ x: mostly(number), constructor: string }, { requiredKeys: ['x'], noNullPrototype: true })),
    nul: fc.constant(null),
    constructor: mostly(string),
  },
  { requiredKeys: ['x', 's', 'b'], noNullPrototype: true },
)

const record = fc.record(
  {
    price: mostly(number),
    volume: mostly(number),
    n: mostly(fc.nat(5)),
    symbol: mostly(string),
    name: mostly(string),
    type: mostly(string),
    flag: mostly(fc.boolean()),
    ok: mostly(fc.boolean()),
    o: mostly(object),
    list: mostly(fc.array(number, { maxLength: 3 })),
    texts: mostly(fc.array(string, { maxLength: 3 })),
    nul: fc.constant(null),
    odd: weird,
    constructor: weird,
    toString: weird,
  },
  { requiredKeys: ['price', 'volume', 'symbol', 'flag', 'ok', 'name'], noNullPrototype: true },
)

/** `same` equals `odd` without being it. */
const withSame = record.map(r => ({
  ...r,
  same: Array.isArray(r.odd) || Object.getPrototypeOf(r.odd ?? 0) === Object.prototype ? structuredClone(r.odd) : r.odd,
}))

const withPrototypeKey = record.map(r =>
  Object.defineProperty({ ...r }, '__proto__', { value: 1, enumerable: true, configurable: true, writable: true }),
)

/** New messages with the same content: possible records, and a few invalid values. */
export const records: Arbitrary<(() => Message)[]> = fc.array(
  fc
    .tuple(
      fc.oneof(
        { arbitrary: withSame as Arbitrary<unknown>, weight: 20 },
        { arbitrary: withPrototypeKey, weight: 1 },
        { arbitrary: weird, weight: 1 },
      ),
      fc.constantFrom(null, 'BTC', ''),
      fc.boolean(),
    )
    .map(([value, key, kafka]) => () => {
      const origin = { lane: 'in/0', source: 'in', format: 'json' as const, ...(kafka ? { topic: 'in', partition: 0 } : {}) }
      return new Message(value, key, 1_700_000_000_000, [['h', 'v']], 7, origin)
    }),
  { minLength: 1, maxLength: 6 },
)
