/**
 * Numbers in the interpreter. `+ - * %` are exact decimal arithmetic, comparison is by value; `/` and `double()` return binary
 * doubles, and so does arithmetic on their results. The library supports only doubles and 64-bit integers, so the handlers of the
 * operators in a checked tree are replaced. See docs/adr/0027 for the reasons.
 */
import { compareNumbers, ExactNumber } from '../contract/plugin.ts'
import { exactly, isNumeric, negative, type Numeric, type Operator } from '../kit/values/arithmetic.ts'
import { type CelNode, unsigned } from './cel.ts'
import { mapKey } from './maps.ts'
import { compareTexts } from './text.ts'

type Handle = (a: unknown, b: unknown, ast: CelNode, ev: unknown) => unknown
interface Handled {
  handle: Handle
}

/**
 * Whether the number of a node is binary instead of decimal. Depends only on the text, so an expression has the same arithmetic for
 * every record.
 */
export function isBinary(node: CelNode): boolean {
  const { op, args } = node.meta.alternate ?? node
  switch (op) {
    case '/':
      return node.checkedType?.name !== 'int'
    case '+':
    case '-':
    case '*':
    case '%':
      return isBinary(args[0]) || isBinary(args[1])
    case '-_':
      return isBinary(args)
    case '?:':
      return isBinary(args[1]) || isBinary(args[2])
    case 'call':
      if (args[0] === 'to_double') return true
      return PASSES.has(args[0]) && (args[1] as CelNode[]).some(isBinary)
    case 'rcall':
      if (args[0] === 'orValue') return isBinary(args[2][0])
      // `math.abs(x)`, unlike a method of a value.
      return args[1].op === 'id' && args[1].args === 'math' && (args[0] === 'sqrt' || (args[2] as CelNode[]).some(isBinary))
    default:
      return false
  }
}

/** Functions that return one of their arguments, or its absolute value. */
const PASSES = new Set(['min', 'max', 'abs', 'dyn'])

/** Replaces the handlers. Call it once per checked tree. */
export function makeExact(root: CelNode): void {
  const seen = new Set<CelNode>()
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit)
    if (typeof node !== 'object' || node === null) return
    if (!isNode(node)) {
      // Operands of a comprehension.
      if (Object.getPrototypeOf(node) === Object.prototype) Object.values(node).forEach(visit)
      return
    }
    if (seen.has(node)) return
    seen.add(node)
    replace(node)
    visit(node.args)
    visit(node.meta.alternate)
    const { macro } = node.meta
    if (macro) visit([macro.args, macro.receiver, macro.arg])
  }
  visit(root)
}

const isNode = (v: object): v is CelNode => 'op' in v && 'args' in v && 'meta' in v

function replace(node: CelNode): void {
  const given = (node as unknown as Handled).handle
  if (given === undefined) return
  const handle = handler(node, given)
  if (handle) (node as unknown as Handled).handle = handle
}

function handler(node: CelNode, given: Handle): Handle | undefined {
  const { op } = node
  switch (op) {
    case '+':
    case '-':
    case '*':
    case '%': {
      const compute = isBinary(node) ? BINARY[op] : (a: Numeric, b: Numeric) => exactly(op as Operator, a, b)
      return (a, b, ast, ev) => (isMixed(a, b) ? compute(a as Numeric, b as Numeric) : given(a, b, ast, ev))
    }
    case '/':
      return (a, b, ast, ev) => (isMixed(a, b) ? Number(a) / Number(b) : int64(given(a, b, ast, ev)))
    case '<':
    case '<=':
    case '>':
    case '>=': {
      const test = TESTS[op]
      return (x, y, ast, ev) => {
        if (typeof x === 'string' && typeof y === 'string') return test(compareTexts(x, y))
        const [a, b] = isExactNumber(x) || isExactNumber(y) ? [unsigned(x) ?? x, unsigned(y) ?? y] : [x, y]
        if (isExact(a, b)) return test(compareNumbers(widened(a), widened(b)))
        // A decimal that a double holds is a number: `decimal("1") > 0`.
        return isMixed(a, b) ? test(orderOf(a as number, b as number)) : given(x, y, ast, ev)
      }
    }
    case '[]':
    case '[?]':
      return (a, b, ast, ev) => given(a, a instanceof Map || Array.isArray(a) ? mapKey(b) : b, ast, ev)
    case '==':
    case '!=':
      return (a, b, ast, ev) => given(comparable(a), comparable(b), ast, ev)
    case 'in':
      return (a, b, ast, ev) => given(b instanceof Map ? mapKey(comparable(a)) : comparable(a), comparable(b), ast, ev)
    case '-_':
      // A unary operator also has its operand first.
      return (a, ...rest) => {
        if (a instanceof ExactNumber) return negative(a)
        if (typeof a === 'number') return -a
        return int64(given(a, ...rest))
      }
    default:
      return undefined
  }
}

/** Two numbers that are not both 64-bit integers, which the library handles. */
const isMixed = (a: unknown, b: unknown): boolean => isNumeric(a) && isNumeric(b) && !(typeof a === 'bigint' && typeof b === 'bigint')
/** Also of a double and an integer. NaN, for which every comparison is false, with NaN. */
const orderOf = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : a >= b ? 0 : Number.NaN)
/** @throws for 2^63, the only overflow of a negation */
function int64(x: unknown): unknown {
  if (x === 2n ** 63n) throw new RangeError('integer overflow')
  return x
}

const isExactNumber = (x: unknown): boolean => x instanceof ExactNumber
const isExact = (a: unknown, b: unknown): boolean =>
  (a instanceof ExactNumber && isNumeric(b)) || (b instanceof ExactNumber && isNumeric(a))
const widened = (x: unknown): number | ExactNumber => (typeof x === 'bigint' ? new ExactNumber(String(x)) : (x as number | ExactNumber))

const BINARY: Record<string, (a: Numeric, b: Numeric) => number> = {
  '+': (a, b) => Number(a) + Number(b),
  '-': (a, b) => Number(a) - Number(b),
  '*': (a, b) => Number(a) * Number(b),
  '%': (a, b) => Number(a) % Number(b),
}
const TESTS: Record<string, (order: number) => boolean> = {
  '<': order => order < 0,
  '<=': order => order <= 0,
  '>': order => order > 0,
  '>=': order => order >= 0,
}

/** The value in a form that the library compares by value; the same object if it has no `ExactNumber`. */
function comparable(v: unknown): unknown {
  if (typeof v !== 'object' || v === null) return v
  if (v instanceof ExactNumber) {
    if (v.safe !== undefined) return v.safe
    return /^-?\d+$/.test(v.text) ? BigInt(v.text) : v
  }
  const whole = unsigned(v)
  if (whole !== undefined) return whole
  if (Array.isArray(v)) {
    const items = v.map(comparable)
    return items.some((item, i) => item !== v[i]) ? items : v
  }
  if (v instanceof Map) return new Map([...v].map(([name, item]) => [name, comparable(item)]))
  const prototype = Object.getPrototypeOf(v)
  if (prototype !== Object.prototype && prototype !== null) return v
  const entries = Object.entries(v)
  const parts = entries.map(([, item]) => comparable(item))
  return parts.some((part, i) => part !== entries[i][1]) ? Object.fromEntries(entries.map(([name], i) => [name, parts[i]])) : v
}
