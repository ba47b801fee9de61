/** The CEL math extension: `math.greatest(1, 2, 3)`. */
import { compareNumbers, ExactNumber } from '../contract/plugin.ts'
import { absolute, isNumeric, type Numeric, roundTo, toWhole } from '../kit/values/arithmetic.ts'
import { makeUnsigned as make, unsigned } from './cel.ts'
import type { FunctionEntry, Overload } from './function-entry.ts'

type Unsigned = { valueOf(): bigint }
type Any = Numeric | Unsigned

/** In the form in which record numbers are compared. */
const comparable = (x: Any): number | ExactNumber => {
  const n = unsigned(x) ?? (x as Numeric)
  return typeof n === 'bigint' ? new ExactNumber(String(n)) : n
}

/** The greatest (1) or least (-1) of numbers of any type, unchanged. */
function extreme(name: string, values: readonly unknown[], side: 1 | -1): unknown {
  const list = values.length === 1 && Array.isArray(values[0]) ? (values[0] as unknown[]) : values
  const wrong = list.find(x => !isNumeric(x) && unsigned(x) === undefined)
  if (wrong !== undefined || list.length === 0) throw new Error(`math.${name}() takes numbers, or a list of them that is not empty`)
  return list.reduce((best, x) => (compareNumbers(comparable(x as Any), comparable(best as Any)) * side > 0 ? x : best))
}
const extremes = (name: string, side: 1 | -1): Overload[] =>
  Array.from({ length: 8 }, (_, i) => [
    `math.${name}(${Array.from({ length: i + 1 }, () => 'dyn').join(', ')}): dyn`,
    (...values: unknown[]) => extreme(name, values, side),
  ])

/** Overloads for a double and a decimal. */
const ofNumber = (name: string, result: string, f: (x: number) => unknown, exact: (x: ExactNumber) => unknown): Overload[] => [
  [`math.${name}(double): ${result}`, f],
  [`math.${name}(decimal): ${result}`, exact],
]
/** Overloads for integers, with a constant result: they have no fraction and are finite. */
const whole = (name: string, result: unknown): Overload[] => ['int', 'uint'].map(type => [`math.${name}(${type}): bool`, () => result])

const int64 = (x: bigint): bigint => BigInt.asIntN(64, x)
const uint64 = (x: bigint): bigint => BigInt.asUintN(64, x)

/** Declared as `dyn`: the library uses the result type of the first overload if types are only known at run time. */
const bits = (name: string, f: (x: bigint, y: bigint) => bigint): Overload[] => [
  [`math.${name}(int, int): dyn`, (x: bigint, y: bigint) => int64(f(x, y))],
  [`math.${name}(uint, uint): dyn`, (x: Unsigned, y: Unsigned) => make(uint64(f(x.valueOf(), y.valueOf())))],
]
const shift = (name: string, f: (x: bigint, by: bigint) => bigint): Overload[] => {
  const by = (n: bigint): bigint => {
    if (n < 0n) throw new Error(`math.${name}() cannot shift by ${n}`)
    return n > 64n ? 64n : n
  }
  return [
    [`math.${name}(int, int): dyn`, (x: bigint, n: bigint) => int64(f(x, by(n)))],
    [`math.${name}(uint, int): dyn`, (x: Unsigned, n: bigint) => make(uint64(f(x.valueOf(), by(n))))],
  ]
}

const negativeOverflow = (x: bigint): bigint => {
  if (x === -(2n ** 63n)) throw new Error(`math.abs() cannot hold the absolute value of ${x}`)
  return x < 0n ? -x : x
}

const entry = (
  name: string,
  arity: readonly number[],
  usage: string,
  description: string,
  examples: FunctionEntry['examples'],
  overloads: readonly Overload[],
): FunctionEntry => ({ name: `math.${name}`, form: 'function', arity, usage: `math.${usage}`, description, examples, overloads })

/** Rounds half away from zero, like `round`. */
const roundHalf = (x: number): number => (x < 0 ? -Math.round(-x) : Math.round(x))

export const MATH: readonly FunctionEntry[] = [
  entry(
    'greatest',
    [1, 2, 3, 4, 5, 6, 7, 8],
    'greatest(a, b, ...), math.greatest(list)',
    'The greatest of up to eight numbers, or of a list.',
    [
      ['math.greatest(1, 2.5, 2)', 2.5],
      ['math.greatest([4, 7])', 7],
    ],
    extremes('greatest', 1),
  ),
  entry(
    'least',
    [1, 2, 3, 4, 5, 6, 7, 8],
    'least(a, b, ...), math.least(list)',
    'The least of up to eight numbers, or of a list.',
    [['math.least(3, 1, 2)', 1]],
    extremes('least', -1),
  ),
  entry(
    'ceil',
    [1],
    'ceil(x)',
    'As `ceil(x)`.',
    [['math.ceil(1.2)', 2]],
    ofNumber('ceil', 'double', Math.ceil, x => toWhole(x, 1)),
  ),
  entry(
    'floor',
    [1],
    'floor(x)',
    'As `floor(x)`.',
    [['math.floor(1.8)', 1]],
    ofNumber('floor', 'double', Math.floor, x => toWhole(x, -1)),
  ),
  entry(
    'round',
    [1],
    'round(x)',
    'As `round(x)`.',
    [['math.round(1.5)', 2]],
    ofNumber('round', 'double', roundHalf, x => roundTo(x, 0)),
  ),
  entry(
    'trunc',
    [1],
    'trunc(x)',
    'The number without its decimals.',
    [['math.trunc(-1.8)', -1]],
    ofNumber('trunc', 'double', Math.trunc, x => toWhole(x, x.text.startsWith('-') ? 1 : -1)),
  ),
  entry(
    'abs',
    [1],
    'abs(x)',
    'The absolute value, in the same type.',
    [['math.abs(-2)', 2]],
    [...ofNumber('abs', 'dyn', Math.abs, absolute), ['math.abs(int): dyn', negativeOverflow], ['math.abs(uint): dyn', (x: Unsigned) => x]],
  ),
  entry(
    'sign',
    [1],
    'sign(x)',
    'The sign: -1, 0 or 1, in the same type.',
    [['math.sign(-2.5)', -1]],
    [
      ...ofNumber('sign', 'dyn', Math.sign, x => compareNumbers(x, 0)),
      ['math.sign(int): dyn', (x: bigint) => (x > 0n ? 1n : x < 0n ? -1n : 0n)],
      ['math.sign(uint): dyn', (x: Unsigned) => make(x.valueOf() === 0n ? 0n : 1n)],
    ],
  ),
  entry(
    'sqrt',
    [1],
    'sqrt(x)',
    'The square root, a binary double.',
    [['math.sqrt(16)', 4]],
    [
      ...ofNumber('sqrt', 'double', Math.sqrt, x => Math.sqrt(Number(x))),
      ['math.sqrt(int): double', (x: bigint) => Math.sqrt(Number(x))],
      ['math.sqrt(uint): double', (x: Unsigned) => Math.sqrt(Number(x.valueOf()))],
    ],
  ),
  entry(
    'isNaN',
    [1],
    'isNaN(x)',
    'True if the number is NaN, such as 0.0 / 0.0.',
    [['math.isNaN(0.0 / 0.0)', true]],
    [...ofNumber('isNaN', 'bool', Number.isNaN, () => false), ...whole('isNaN', false)],
  ),
  entry(
    'isInf',
    [1],
    'isInf(x)',
    'True if the number is infinite, such as 1.0 / 0.0.',
    [['math.isInf(1.0 / 0.0)', true]],
    [
      ...ofNumber(
        'isInf',
        'bool',
        x => Math.abs(x) === Number.POSITIVE_INFINITY,
        () => false,
      ),
      ...whole('isInf', false),
    ],
  ),
  entry(
    'isFinite',
    [1],
    'isFinite(x)',
    'True if the number is neither infinite nor NaN.',
    [['math.isFinite(1.5)', true]],
    [...ofNumber('isFinite', 'bool', Number.isFinite, () => true), ...whole('isFinite', true)],
  ),
  entry(
    'bitAnd',
    [2],
    'bitAnd(a, b)',
    'Bitwise and.',
    [['math.bitAnd(6, 3)', 2]],
    bits('bitAnd', (x, y) => x & y),
  ),
  entry(
    'bitOr',
    [2],
    'bitOr(a, b)',
    'Bitwise or.',
    [['math.bitOr(6, 3)', 7]],
    bits('bitOr', (x, y) => x | y),
  ),
  entry(
    'bitXor',
    [2],
    'bitXor(a, b)',
    'Bitwise exclusive or.',
    [['math.bitXor(6, 3)', 5]],
    bits('bitXor', (x, y) => x ^ y),
  ),
  entry(
    'bitNot',
    [1],
    'bitNot(a)',
    'Bitwise not.',
    [['math.bitNot(1)', -2]],
    [
      ['math.bitNot(int): dyn', (x: bigint) => ~x],
      ['math.bitNot(uint): dyn', (x: Unsigned) => make(uint64(~x.valueOf()))],
    ],
  ),
  entry(
    'bitShiftLeft',
    [2],
    'bitShiftLeft(a, n)',
    'Shifts the bits of an integer left by n; bits beyond 64 are dropped.',
    [['math.bitShiftLeft(1, 4)', 16]],
    shift('bitShiftLeft', (x, by) => x << by),
  ),
  entry(
    'bitShiftRight',
    [2],
    'bitShiftRight(a, n)',
    'Shifts the bits of an integer right by n, filled with zeros.',
    [['math.bitShiftRight(16, 4)', 1]],
    shift('bitShiftRight', (x, by) => uint64(x) >> by),
  ),
]
