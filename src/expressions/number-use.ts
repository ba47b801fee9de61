/** Determines how an expression uses numbers, for `explain`, which shows the numbers that keep all digits. */
import { ExactNumber } from '../contract/plugin.ts'
import { type CelNode, FIELD, VALUE } from './cel.ts'
import { isBinary } from './numbers.ts'
import { prepare } from './prepare.ts'
import { OPTIONAL_ENTRY } from './syntax.ts'

export interface NumberUse {
  /** `copied`: unchanged numbers of the record. `exact`: literals and decimal arithmetic. `binary`: a double. `none`: not a number. */
  readonly how: 'copied' | 'exact' | 'binary' | 'none'
  /** Paths of fields whose numbers are in the result; the empty path is the whole value. */
  readonly reads: readonly string[]
  /** The result is the value at this path. */
  readonly path?: string
  /** The result is an object of these fields. */
  readonly fields?: Readonly<Record<string, NumberUse>>
}

/** Undefined for a text with problems. */
export function numberUse(text: string): NumberUse | undefined {
  const prepared = prepare(text)
  return 'problems' in prepared ? undefined : useOf(prepared.program.ast)
}

const NOT_NUMBERS = new Set(['bool', 'string', 'null', 'null_type', 'timestamp', 'duration', 'bytes', 'type'])
const ARITHMETIC = new Set(['+', '-', '*', '/', '%', '-_'])
/** Methods and functions that return their argument. */
const COPIES = new Set(['dyn', 'orValue', 'or', 'optional.of', 'min', 'max', 'first', 'last'])

/** Whether a type has no numbers, including `list<string>`. */
const isText = (node: CelNode): boolean => NOT_NUMBERS.has((node.checkedType?.name ?? '').replace(/^(list<)+|>+$/g, ''))

const resultOf = (node: CelNode): CelNode => node.meta?.alternate ?? node

function useOf(given: CelNode): NumberUse {
  const node = given.op === OPTIONAL_ENTRY ? given.args : given
  const path = pathOf(node)
  if (path !== undefined) return { how: 'copied', reads: [path], path }
  const literal = objectOf(node)
  if (literal) return literal
  const reads = new Set<string>()
  const found = { exact: false, binary: false, number: false }
  visit(node, reads, found)
  if (!found.number) return { how: 'none', reads: [] }
  return { how: found.binary ? 'binary' : found.exact ? 'exact' : 'copied', reads: [...reads] }
}

/** The use of an object literal with literal keys. */
function objectOf(node: CelNode): NumberUse | undefined {
  if (node.op !== 'map') return undefined
  const fields: Record<string, NumberUse> = Object.create(null)
  for (const [key, value] of node.args as [CelNode, CelNode][]) {
    if (key.op !== 'value' || typeof key.args !== 'string') return undefined
    fields[key.args] = useOf(value)
  }
  const all = Object.values(fields)
  const how = (['binary', 'exact', 'copied'] as const).find(h => all.some(f => f.how === h)) ?? 'none'
  return { how, reads: all.flatMap(f => f.reads), fields }
}

function visit(original: unknown, reads: Set<string>, found: { exact: boolean; binary: boolean; number: boolean }): void {
  if (Array.isArray(original)) return original.forEach(item => visit(item, reads, found))
  if (typeof original !== 'object' || original === null) return
  if (!('op' in original)) {
    // Operands of a comprehension.
    if (Object.getPrototypeOf(original) === Object.prototype) Object.values(original).forEach(item => visit(item, reads, found))
    return
  }
  const given = original as CelNode
  if (isText(given)) return
  const path = pathOf(given)
  if (path !== undefined) {
    found.number = true
    reads.add(path)
    return
  }
  const node = resultOf(given)
  switch (node.op) {
    case 'value':
      if (typeof node.args === 'number' || typeof node.args === 'bigint' || node.args instanceof ExactNumber)
        found.number = found.exact = true
      return
    case 'id':
      // A variable of a comprehension: its range is visited there.
      found.number = true
      return
    case '?:':
      return visit(node.args.slice(1), reads, found)
    case 'call':
    case 'rcall':
      found.number = true
      if (!COPIES.has(node.args[0] as string)) found.exact = true
      if (isBinary(node)) found.binary = true
      return visit(node.args.slice(1), reads, found)
    default:
      if (ARITHMETIC.has(node.op)) {
        found.number = found.exact = true
        if (isBinary(node)) found.binary = true
      }
      visit(node.args, reads, found)
  }
}

/** `a.b`, `value.a.b` and `value["a"]` are paths; the empty one is the whole value. */
function pathOf(node: CelNode): string | undefined {
  if (node.op === 'id') {
    const name = String(node.args)
    if (name === VALUE) return ''
    return name.startsWith(FIELD) && !name.startsWith('$meta') ? name.slice(FIELD.length) : undefined
  }
  const index = node.op === '[]' || node.op === '[?]' ? (node.args[1] as CelNode) : undefined
  const step = node.op === '.' || node.op === '.?' ? (node.args[1] as unknown) : index?.op === 'value' ? (index.args as unknown) : undefined
  if (typeof step !== 'string') return undefined
  const before = pathOf(node.args[0] as CelNode)
  return before === undefined ? undefined : before === '' ? step : `${before}.${step}`
}
