/** Everything an expression may call: the one table behind the checker, the interpreter, the docs page and its test. */
import type { Json } from '../plugin.ts'
import * as impl from './implementations.ts'

export interface FunctionEntry {
  readonly name: string
  /** `function`: `round(x)`. `method`: `text.upper()`. */
  readonly form: 'function' | 'method'
  /** Numbers of arguments it takes, a method's receiver not counted. */
  readonly arity: readonly number[]
  /** How it is written, for docs and messages. */
  readonly usage: string
  readonly description: string
  /** Expression and what it gives, over an empty record; tested. */
  readonly examples: readonly (readonly [expression: string, result: Json])[]
  /** Ours: CEL signatures (under the name in `as`) with what they do. Without it the library's own function or macro is meant. */
  readonly overloads?: readonly (readonly [signature: string, handler: (...args: any[]) => unknown])[]
  /** The name inside the library, where ours replaces one of the same name. */
  readonly as?: string
}

/**
 * A function of numbers, be they integers or doubles. It gives a double even for integers: the library takes the result type from
 * the overload it finds first, so overloads with different ones would have it wrong for values whose type shows at run time only.
 */
const ofTwoNumbers = (name: string, f: (a: number, b: number) => number) =>
  ['double', 'int'].flatMap(a =>
    ['double', 'int'].map(
      b => [`${name}(${a}, ${b}): double`, (x: number | bigint, y: number | bigint) => f(Number(x), Number(y))] as const,
    ),
  )

const ofOneNumber = (name: string, f: (x: number) => number) =>
  ['double', 'int'].map(a => [`${name}(${a}): double`, (x: number | bigint) => f(Number(x))] as const)

export const FUNCTIONS: readonly FunctionEntry[] = [
  {
    name: 'round',
    form: 'function',
    arity: [1, 2],
    usage: 'round(x), round(x, places)',
    description:
      'To the nearest whole number, or to 0 to 15 decimal places; a half goes away from zero. Rounds the number as it is written, so `round(1.005, 2)` is 1.01.',
    examples: [
      ['round(2.5)', 3],
      ['round(-2.5)', -3],
      ['round(1.005, 2)', 1.01],
      ['round(1234.5678, 1)', 1234.6],
    ],
    overloads: [...ofOneNumber('round', x => impl.round(x, 0)), ...ofTwoNumbers('round', impl.round)],
  },
  {
    name: 'floor',
    form: 'function',
    arity: [1],
    usage: 'floor(x)',
    description: 'The largest whole number that is not above x. `floor(ts / 60000) * 60000` is the start of the minute.',
    examples: [
      ['floor(2.7)', 2],
      ['floor(-2.1)', -3],
    ],
    overloads: ofOneNumber('floor', Math.floor),
  },
  {
    name: 'ceil',
    form: 'function',
    arity: [1],
    usage: 'ceil(x)',
    description: 'The smallest whole number that is not below x.',
    examples: [['ceil(2.1)', 3]],
    overloads: ofOneNumber('ceil', Math.ceil),
  },
  {
    name: 'abs',
    form: 'function',
    arity: [1],
    usage: 'abs(x)',
    description: 'Without its sign.',
    examples: [
      ['abs(-2.5)', 2.5],
      ['abs(-2)', 2],
    ],
    overloads: ofOneNumber('abs', Math.abs),
  },
  {
    name: 'min',
    form: 'function',
    arity: [2],
    usage: 'min(a, b)',
    description: 'The smaller of two numbers.',
    examples: [['min(2.5, 3)', 2.5]],
    overloads: ofTwoNumbers('min', Math.min),
  },
  {
    name: 'max',
    form: 'function',
    arity: [2],
    usage: 'max(a, b)',
    description: 'The larger of two numbers.',
    examples: [['max(2.5, 3)', 3]],
    overloads: ofTwoNumbers('max', Math.max),
  },
  {
    name: 'string',
    form: 'function',
    arity: [1],
    usage: 'string(x)',
    description: 'A number or boolean as text.',
    examples: [
      ['string(1.5) + "%"', '1.5%'],
      ['string(true)', 'true'],
    ],
  },
  {
    name: 'double',
    form: 'function',
    arity: [1],
    usage: 'double(x)',
    as: 'to_double',
    description: 'A number from decimal text; a number stays as it is. Text that is not a decimal number is an error.',
    examples: [['double("1.5") * 2', 3]],
    overloads: [
      ['to_double(double): double', (x: number) => x],
      ['to_double(int): double', (x: bigint) => Number(x)],
      ['to_double(string): double', impl.parseDouble],
    ],
  },
  {
    name: 'int',
    form: 'function',
    arity: [1],
    usage: 'int(x)',
    as: 'to_int',
    description: 'A whole number: digits from text, or a number with its decimals cut off. Integers divide as integers: `int(7) / 2` is 3.',
    examples: [
      ['int("42")', 42],
      ['int(-2.9)', -2],
      ['int(7) / 2', 3],
    ],
    overloads: [
      ['to_int(int): int', (x: bigint) => x],
      ['to_int(double): int', impl.truncate],
      ['to_int(string): int', impl.parseInteger],
    ],
  },
  {
    name: 'size',
    form: 'function',
    arity: [1],
    usage: 'size(x)',
    description: 'Characters of a text, elements of a list, entries of a map, bytes of a `bytes` value.',
    examples: [
      ['size("abc")', 3],
      ['size([1, 2])', 2],
    ],
  },
  {
    name: 'has',
    form: 'function',
    arity: [1],
    usage: 'has(value.a)',
    description: 'Is the field there? Takes a path that begins with `value`, `meta` or a field.',
    examples: [['has(value.price)', false]],
  },
  {
    name: 'dyn',
    form: 'function',
    arity: [1],
    usage: 'dyn(x)',
    description: 'The same value without its static type, so that the branches of `? :` may differ.',
    examples: [['true ? dyn("none") : 1', 'none']],
  },
  {
    name: 'parse_time',
    form: 'function',
    arity: [1],
    usage: 'parse_time(text)',
    description: 'Epoch milliseconds of an ISO 8601 time; the zone is required.',
    examples: [
      ['parse_time("2026-01-31T12:00:00Z")', 1_769_860_800_000],
      ['parse_time("2026-01-31T13:00:00.5+01:00")', 1_769_860_800_500],
    ],
    overloads: [['parse_time(string): double', impl.parseTime]],
  },
  {
    name: 'format_time',
    form: 'function',
    arity: [1],
    usage: 'format_time(ms)',
    description: 'Epoch milliseconds as ISO 8601 text in UTC.',
    examples: [['format_time(1769860800000)', '2026-01-31T12:00:00.000Z']],
    overloads: [
      ['format_time(double): string', impl.formatTime],
      ['format_time(int): string', (x: bigint) => impl.formatTime(Number(x))],
    ],
  },
  {
    name: 'upper',
    form: 'method',
    arity: [0],
    usage: 'text.upper()',
    description: 'In upper case.',
    examples: [['"btc".upper()', 'BTC']],
    overloads: [['string.upper(): string', (s: string) => s.toUpperCase()]],
  },
  {
    name: 'lower',
    form: 'method',
    arity: [0],
    usage: 'text.lower()',
    description: 'In lower case.',
    examples: [['"BTC".lower()', 'btc']],
    overloads: [['string.lower(): string', (s: string) => s.toLowerCase()]],
  },
  {
    name: 'trim',
    form: 'method',
    arity: [0],
    usage: 'text.trim()',
    description: 'Without white space at both ends.',
    examples: [['" a ".trim()', 'a']],
  },
  {
    name: 'contains',
    form: 'method',
    arity: [1],
    usage: 'text.contains(part)',
    description: 'Is the part in it?',
    examples: [['"BTC-USD".contains("USD")', true]],
  },
  {
    name: 'startsWith',
    form: 'method',
    arity: [1],
    usage: 'text.startsWith(part)',
    description: 'Does it begin with the part?',
    examples: [['"BTC-USD".startsWith("BTC")', true]],
  },
  {
    name: 'endsWith',
    form: 'method',
    arity: [1],
    usage: 'text.endsWith(part)',
    description: 'Does it end with the part?',
    examples: [['"BTC-USD".endsWith("USD")', true]],
  },
  {
    name: 're',
    form: 'method',
    arity: [1],
    usage: 'text.re("pattern")',
    description:
      'Does the regular expression (RE2 syntax, a literal) match somewhere? Takes time in proportion to the text, whatever the pattern.',
    examples: [['"BTC-USD".re("^[A-Z]+-USD$")', true]],
    overloads: [['string.re(string): bool', impl.matches]],
  },
  {
    name: 'replace',
    form: 'method',
    arity: [2],
    usage: 'text.replace(from, to)',
    description: 'With every occurrence replaced; plain text, no patterns.',
    examples: [['"a-b-c".replace("-", "/")', 'a/b/c']],
    overloads: [['string.replace(string, string): string', impl.replace]],
  },
  {
    name: 'split',
    form: 'method',
    arity: [1, 2],
    usage: 'text.split(separator), text.split(separator, limit)',
    description: 'The parts between the separators; at most `limit` of them, the last one keeping the rest.',
    examples: [
      ['"BTC-USD".split("-")[0]', 'BTC'],
      ['"a-b-c".split("-", 2)', ['a', 'b-c']],
    ],
  },
  {
    name: 'join',
    form: 'method',
    arity: [0, 1],
    usage: 'list.join(separator)',
    description: 'A list of texts as one text.',
    examples: [['["a", "b"].join("/")', 'a/b']],
  },
  {
    name: 'substring',
    form: 'method',
    arity: [1, 2],
    usage: 'text.substring(start), text.substring(start, end)',
    description: 'From `start` (0 is the first character) up to, not including, `end`. Takes integers: `int(x)` makes one.',
    examples: [['"BTC-USD".substring(0, 3)', 'BTC']],
  },
  {
    name: 'indexOf',
    form: 'method',
    arity: [1],
    usage: 'text.indexOf(part)',
    description: 'Where the part begins, -1 when it is not there.',
    examples: [['"BTC-USD".indexOf("-")', 3]],
  },
  {
    name: 'size',
    form: 'method',
    arity: [0],
    usage: 'x.size()',
    description: 'The same as `size(x)`.',
    examples: [['"abc".size()', 3]],
  },
  {
    name: 'orValue',
    form: 'method',
    arity: [1],
    usage: 'value.?a.orValue(default)',
    description: 'The field, or the default when it is missing. Only behind `.?` and `[?]`.',
    examples: [['value.?price.orValue(0)', 0]],
  },
  {
    name: 'all',
    form: 'method',
    arity: [2],
    usage: 'list.all(x, condition)',
    description: 'Does the condition hold for every element?',
    examples: [['[1, 2].all(x, x > 0)', true]],
  },
  {
    name: 'exists',
    form: 'method',
    arity: [2],
    usage: 'list.exists(x, condition)',
    description: 'Does the condition hold for at least one element?',
    examples: [['[1, 2].exists(x, x > 1)', true]],
  },
  {
    name: 'exists_one',
    form: 'method',
    arity: [2],
    usage: 'list.exists_one(x, condition)',
    description: 'Does the condition hold for exactly one element?',
    examples: [['[1, 2].exists_one(x, x > 1)', true]],
  },
  {
    name: 'map',
    form: 'method',
    arity: [2, 3],
    usage: 'list.map(x, expression), list.map(x, condition, expression)',
    description: 'The expression of every element (for which the condition holds).',
    examples: [
      ['[1, 2].map(x, x * 2)', [2, 4]],
      ['[1, 2].map(x, x > 1, x * 2)', [4]],
    ],
  },
  {
    name: 'filter',
    form: 'method',
    arity: [2],
    usage: 'list.filter(x, condition)',
    description: 'The elements for which the condition holds.',
    examples: [['[1, 2].filter(x, x > 1)', [2]]],
  },
]

const byForm = (form: FunctionEntry['form']) => new Map(FUNCTIONS.filter(f => f.form === form).map(f => [f.name, f]))
export const FUNCTION_BY_NAME: ReadonlyMap<string, FunctionEntry> = byForm('function')
export const METHOD_BY_NAME: ReadonlyMap<string, FunctionEntry> = byForm('method')

/** What people write out of habit, and what to write here. */
export const HABITS: Readonly<Record<string, string>> = {
  now: 'meta.time (a replay must give the same result, so there is no clock)',
  timestamp: 'parse_time(text)',
  duration: 'milliseconds as a number',
  matches: 'text.re("pattern")',
  upperAscii: 'text.upper()',
  lowerAscii: 'text.lower()',
  toUpperCase: 'text.upper()',
  toLowerCase: 'text.lower()',
  includes: 'text.contains(part), or part in list',
  substr: 'text.substring(start, end)',
  slice: 'text.substring(start, end)',
  len: 'size(x)',
  length: 'size(x)',
  count: 'size(x)',
  str: 'string(x)',
  float: 'double(x)',
  number: 'double(x)',
  uint: 'int(x)',
  bool: 'x == "true"',
  lastIndexOf: 'text.split(separator)',
  coalesce: 'value.?a.orValue(default)',
  default: 'value.?a.orValue(default)',
}
