/** Functions without a receiver: `round(x)`. */
import { compareNumbers, ExactNumber } from '../contract/plugin.ts'
import { absolute, divide, type Numeric, roundTo, toWhole } from '../kit/values/arithmetic.ts'
import type { FunctionEntry, Overload } from './function-entry.ts'
import * as impl from './implementations.ts'

/**
 * A function of integers, doubles or decimals, with a declared result of double: the library uses the result type of the first matching
 * overload, so different result types would be wrong for values whose type is only known at run time.
 */
const NUMBERS = ['double', 'int', 'decimal']
type OfTwo = (a: Numeric, b: Numeric) => number | ExactNumber
const ofTwoNumbers = (name: string, f: OfTwo) => NUMBERS.flatMap(a => NUMBERS.map(b => [`${name}(${a}, ${b}): double`, f] as const))

/** `f` for values that a double can represent, `exact` for others. */
const ofOneNumber = (name: string, f: (x: number) => number, exact: (x: Numeric) => number | ExactNumber) =>
  NUMBERS.map(a => [`${name}(${a}): double`, (x: Numeric) => (isPlain(x) ? f(Number(x)) : exact(x))] as const)

const isPlain = (x: Numeric): boolean => typeof x === 'number' || (typeof x === 'bigint' && Number.isSafeInteger(Number(x)))
/** An argument in the form of record numbers. */
const asNumber = (x: Numeric): number | ExactNumber => (typeof x !== 'bigint' ? x : isPlain(x) ? Number(x) : new ExactNumber(String(x)))
const least: OfTwo = (a, b) => (compareNumbers(asNumber(a), asNumber(b)) <= 0 ? asNumber(a) : asNumber(b))
const greatest: OfTwo = (a, b) => (compareNumbers(asNumber(a), asNumber(b)) >= 0 ? asNumber(a) : asNumber(b))
const rounded: OfTwo = (x, places) =>
  isPlain(x) && Number(places) <= 15 ? impl.round(Number(x), Number(places)) : roundTo(x, Number(places))

export const FREE_FUNCTIONS: readonly FunctionEntry[] = [
  {
    name: 'round',
    form: 'function',
    arity: [1, 2],
    usage: 'round(x), round(x, places)',
    description:
      'Rounds to the nearest whole number, or to 0 to 100 decimal places, half away from zero. Rounds the decimal digits, so `round(1.005, 2)` is 1.01.',
    examples: [
      ['round(2.5)', 3],
      ['round(-2.5)', -3],
      ['round(1.005, 2)', 1.01],
      ['round(1234.5678, 1)', 1234.6],
    ],
    overloads: [
      ...ofOneNumber(
        'round',
        x => impl.round(x, 0),
        x => roundTo(x, 0),
      ),
      ...ofTwoNumbers('round', rounded),
    ],
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
    overloads: ofOneNumber('floor', Math.floor, x => toWhole(x, -1)),
  },
  {
    name: 'ceil',
    form: 'function',
    arity: [1],
    usage: 'ceil(x)',
    description: 'The smallest whole number that is not below x.',
    examples: [['ceil(2.1)', 3]],
    overloads: ofOneNumber('ceil', Math.ceil, x => toWhole(x, 1)),
  },
  {
    name: 'abs',
    form: 'function',
    arity: [1],
    usage: 'abs(x)',
    description: 'The absolute value.',
    examples: [
      ['abs(-2.5)', 2.5],
      ['abs(-2)', 2],
    ],
    overloads: ofOneNumber('abs', Math.abs, absolute),
  },
  {
    name: 'min',
    form: 'function',
    arity: [2],
    usage: 'min(a, b)',
    description: 'The smaller of two numbers.',
    examples: [['min(2.5, 3)', 2.5]],
    overloads: ofTwoNumbers('min', least),
  },
  {
    name: 'max',
    form: 'function',
    arity: [2],
    usage: 'max(a, b)',
    description: 'The larger of two numbers.',
    examples: [['max(2.5, 3)', 3]],
    overloads: ofTwoNumbers('max', greatest),
  },
  {
    name: 'string',
    form: 'function',
    arity: [1],
    usage: 'string(x)',
    as: 'to_string',
    description: 'Converts a number, boolean, timestamp, duration or UTF-8 bytes to a string.',
    examples: [
      ['string(1.5) + "%"', '1.5%'],
      ['string(true)', 'true'],
    ],
    overloads: [
      ...['string', 'bool', 'int', 'uint', 'decimal', 'timestamp', 'duration'].map(
        (type): Overload => [`to_string(${type}): string`, (x: unknown) => String(x)],
      ),
      ['to_string(double): string', (x: number) => (Math.abs(x) === Number.POSITIVE_INFINITY ? (x < 0 ? '-Inf' : '+Inf') : String(x))],
      ['to_string(bytes): string', impl.utf8],
    ],
  },
  {
    name: 'decimal',
    form: 'function',
    arity: [1],
    usage: 'decimal(x)',
    as: 'to_decimal',
    description: 'Converts a decimal string to a number with all its digits, for exact arithmetic. A number is unchanged.',
    examples: [
      ['decimal("100.49") * decimal("0.22")', 22.1078],
      ['decimal("0.1") + 0.2', 0.3],
    ],
    overloads: [['to_decimal(string): decimal', impl.parseDecimal], ...NUMBERS.map(a => [`to_decimal(${a}): decimal`, asNumber] as const)],
  },
  {
    name: 'div',
    form: 'function',
    arity: [3],
    usage: 'div(x, y, places)',
    description:
      'Divides x by y, rounded to 0 to 100 decimal places, half away from zero. The arithmetic is exact, while `/` gives the nearest binary double.',
    examples: [
      ['div(100, 3, 2)', 33.33],
      ['div(2.5, 0.5, 0)', 5],
    ],
    overloads: NUMBERS.flatMap(a =>
      NUMBERS.flatMap(b =>
        ['int', 'double'].map(
          c =>
            [`div(${a}, ${b}, ${c}): double`, (x: Numeric, y: Numeric, places: number | bigint) => divide(x, y, Number(places))] as const,
        ),
      ),
    ),
  },
  {
    name: 'double',
    form: 'function',
    arity: [1],
    usage: 'double(x)',
    as: 'to_double',
    description: 'Converts a decimal string to a number; a number is unchanged. Other strings are errors.',
    examples: [['double("1.5") * 2', 3]],
    overloads: [
      ['to_double(double): double', (x: number) => x],
      ['to_double(int): double', (x: bigint) => Number(x)],
      ['to_double(string): double', impl.parseDouble],
      ['to_double(decimal): double', impl.nearest],
      ['to_double(uint): double', Number],
    ],
  },
  {
    name: 'int',
    form: 'function',
    arity: [1],
    usage: 'int(x)',
    as: 'to_int',
    description: 'Converts a string of digits to a whole number, or truncates a number. Integers divide as integers: `int(7) / 2` is 3.',
    examples: [
      ['int("42")', 42],
      ['int(-2.9)', -2],
      ['int(7) / 2', 3],
    ],
    overloads: [
      ['to_int(int): int', (x: bigint) => x],
      ['to_int(double): int', impl.truncate],
      ['to_int(string): int', impl.parseInteger],
      ['to_int(decimal): int', impl.truncate],
      ['to_int(uint): int', (x: { valueOf(): bigint }) => impl.int64(x.valueOf())],
      ['to_int(timestamp): int', impl.secondsOf],
    ],
  },
  {
    name: 'uint',
    form: 'function',
    arity: [1],
    usage: 'uint(x)',
    as: 'to_uint',
    description:
      'Converts to an unsigned 64-bit integer, such as `7u`. In a calculation, all numbers must be unsigned; a negative result is an error.',
    examples: [
      ['uint("42") + 1u', 43],
      ['uint(2.9)', 2],
    ],
    overloads: [
      ['to_uint(uint): uint', (x: unknown) => x],
      ['to_uint(int): uint', impl.unsignedOf],
      ['to_uint(double): uint', (x: number) => impl.unsignedOf(impl.wholeNumber(x, 'uint'))],
      ['to_uint(decimal): uint', (x: ExactNumber) => impl.unsignedOf(impl.wholeNumber(x, 'uint'))],
      ['to_uint(string): uint', impl.parseUnsigned],
    ],
  },
  {
    name: 'bool',
    form: 'function',
    arity: [1],
    usage: 'bool(text)',
    as: 'to_bool',
    description:
      'Converts the strings `true`, `True`, `TRUE`, `t` and `1` to true, and their opposites to false. Other strings are errors.',
    examples: [['bool("true")', true]],
    overloads: [
      ['to_bool(bool): bool', (x: boolean) => x],
      ['to_bool(string): bool', impl.parseBoolean],
    ],
  },
  {
    name: 'bytes',
    form: 'function',
    arity: [1],
    usage: 'bytes(text)',
    as: 'to_bytes',
    description: 'The UTF-8 bytes of a string. `base64.encode(x)` converts bytes to a string.',
    examples: [['size(bytes("é"))', 2]],
    overloads: [
      ['to_bytes(string): bytes', (s: string) => new TextEncoder().encode(s)],
      ['to_bytes(bytes): bytes', (b: unknown) => b],
    ],
  },
  {
    name: 'size',
    form: 'function',
    arity: [1],
    usage: 'size(x)',
    description: 'The number of characters of a string, elements of a list, entries of a map, or bytes of a `bytes` value.',
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
    description: 'True if the field exists. The path begins with `value`, `meta` or a field.',
    examples: [['has(value.price)', false]],
  },
  {
    name: 'dyn',
    form: 'function',
    arity: [1],
    usage: 'dyn(x)',
    description: 'The same value without its static type, so that the branches of `? :` can have different types.',
    examples: [['true ? dyn("none") : 1', 'none']],
  },
]
