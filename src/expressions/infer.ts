/** Computes the type of the result of an expression from the type of its record, and lists the fields that it reads. */
import { ExactNumber } from '../contract/plugin.ts'
import { type CelNode, FIELD, META, VALUE } from './cel.ts'
import { isPlainPath } from './plain-path.ts'
import { prepare } from './prepare.ts'
import {
  ANY,
  type Field,
  type Inferred,
  inferPath,
  isOnly,
  listOf,
  objectOf,
  type Read,
  type RecordType,
  scalar,
  typeAt,
  union,
  unionOf,
} from './record-type.ts'
import { OPTIONAL_ENTRY } from './syntax.ts'
import type { ExpressionProblem } from './types.ts'

type Scope = ReadonlyMap<string, RecordType>

/** A text with problems has the type `any` and reads nothing. */
export function inferExpression(text: string, record: RecordType): Inferred {
  if (isPlainPath(text)) return inferPath(text, record)
  const prepared = prepare(text)
  if ('problems' in prepared) return { type: ANY, reads: [], problems: [] }
  const walker = new Walker(text, record)
  const type = walker.infer(prepared.program.ast, new Map())
  // A test for a field also guards the reads of it.
  const tested = new Set(walker.reads.filter(r => r.safe).map(r => r.names.join('.')))
  const reads = walker.reads.map(r => (tested.has(r.names.join('.')) ? { ...r, safe: true } : r))
  return { type, reads, problems: walker.problems }
}

interface Place {
  readonly root: RecordType
  readonly names: readonly string[]
  readonly ranges: Read['ranges']
  readonly optional: boolean
}

const BOOLEAN = scalar('boolean')
const ORDER = new Set(['<', '<=', '>', '>=', '==', '!='])
const ARITHMETIC = new Set(['+', '-', '*', '/', '%'])
const TESTS = new Set(['&&', '||', '!_', 'in'])

class Walker {
  readonly reads: Read[] = []
  readonly problems: ExpressionProblem[] = []
  private readonly text: string
  private readonly record: RecordType

  constructor(text: string, record: RecordType) {
    this.text = text
    this.record = record
  }

  infer(node: CelNode, scope: Scope): RecordType {
    switch (node.op) {
      case 'value':
        return literal(node.args)
      case 'id':
      case '.':
      case '.?':
      case '[]':
      case '[?]': {
        const place = this.place(node, scope)
        if (place.names.length > 0) this.reads.push({ ...place, safe: place.optional })
        return typeAt(place.root, place.names)
      }
      case '?:': {
        const [test, then, otherwise] = node.args as CelNode[]
        this.infer(test, scope)
        return union(this.infer(then, scope), this.infer(otherwise, scope))
      }
      case 'list': {
        const items = (node.args as CelNode[]).map(item => this.infer(entry(item), scope))
        return listOf(unionOf(items))
      }
      case 'map':
        return this.object(node, scope)
      case 'call':
        return this.call(node, scope)
      case 'rcall':
        return this.method(node, scope)
      default:
        return this.operator(node, scope)
    }
  }

  private place(node: CelNode, scope: Scope): Place {
    const from = (root: RecordType, names: readonly string[] = [], ranges: Read['ranges'] = []): Place => ({
      root,
      names,
      ranges,
      optional: false,
    })
    if (node.op === 'id') {
      const name = String(node.args)
      if (scope.has(name)) return from(scope.get(name)!)
      if (name === VALUE) return from(this.record)
      if (name === META || !name.startsWith(FIELD)) return from(ANY)
      const written = name.slice(FIELD.length)
      return from(this.record, [written], [{ start: node.start, end: node.start + written.length }])
    }
    if (!['.', '.?', '[]', '[?]'].includes(node.op)) return from(this.infer(node, scope))
    const owner = node.args[0] as CelNode
    const before = this.place(owner, scope)
    const optional = before.optional || node.op.includes('?')
    const step: unknown = node.op.startsWith('.')
      ? node.args[1]
      : (node.args[1] as CelNode).op === 'value'
        ? (node.args[1] as CelNode).args
        : undefined
    if (typeof step === 'string') {
      const start = this.text.indexOf(step, owner.end)
      return {
        root: before.root,
        names: [...before.names, step],
        ranges: [...before.ranges, { start, end: start + step.length }],
        optional,
      }
    }
    // An element of a list: the list is read, and the next name is a field of the element.
    if (before.names.length > 0) this.reads.push({ ...before, safe: optional })
    if (step === undefined) this.infer(node.args[1] as CelNode, scope)
    const list = typeAt(before.root, before.names)
    return { root: list.kind === 'list' ? list.items : ANY, names: [], ranges: [], optional }
  }

  private object(node: CelNode, scope: Scope): RecordType {
    const fields: [string, Field][] = []
    let open = false
    for (const [key, value] of node.args as [CelNode, CelNode][]) {
      const type = this.infer(entry(value), scope)
      if (key.op === 'value' && typeof key.args === 'string')
        fields.push([key.args, { type, presence: value.op === OPTIONAL_ENTRY ? 'maybe' : 'always' }])
      else {
        this.infer(key, scope)
        open = true
      }
    }
    return objectOf(fields, open)
  }

  private call(node: CelNode, scope: Scope): RecordType {
    const [name, args] = node.args as [string, CelNode[]]
    if (name === 'has') {
      const place = this.place(args[0], scope)
      if (place.names.length > 0) this.reads.push({ ...place, safe: true })
      return BOOLEAN
    }
    for (const arg of args) this.infer(arg, scope)
    return checked(node)
  }

  private method(node: CelNode, scope: Scope): RecordType {
    const [name, receiver, args] = node.args as [string, CelNode, CelNode[]]
    if (receiver.op === 'id' && receiver.args === 'cel' && name === 'bind') {
      const [variable, value, body] = args
      return this.infer(body, new Map(scope).set(String(variable.args), this.infer(value, scope)))
    }
    // The name of a namespace is not a field.
    const of =
      receiver.op === 'id' && !String(receiver.args).startsWith(FIELD) && !scope.has(receiver.args) ? ANY : this.infer(receiver, scope)
    const variables = bound(name, args)
    if (variables > 0) {
      const inner = new Map(scope)
      const element = of.kind === 'list' ? of.items : name.startsWith('opt') ? of : ANY
      args.slice(0, variables).forEach((arg, i) => inner.set(String(arg.args), variables === 1 && i === 0 ? element : ANY))
      const results = args.slice(variables).map(arg => this.infer(arg, inner))
      if (name === 'map') return listOf(results.at(-1)!)
      return name === 'filter' ? of : checked(node)
    }
    const types = args.map(arg => this.infer(arg, scope))
    if (name === 'orValue' && types.length === 1) return union(of, types[0])
    return checked(node)
  }

  private operator(node: CelNode, scope: Scope): RecordType {
    const operands = (Array.isArray(node.args) ? node.args : [node.args]).filter(isNode)
    const types = operands.map(o => this.infer(o, scope))
    if (TESTS.has(node.op)) return BOOLEAN
    const compares = ORDER.has(node.op)
    if ((compares || ARITHMETIC.has(node.op)) && types.length === 2) {
      const text = types.findIndex(t => isOnly(t, 'string'))
      if (text >= 0 && isOnly(types[1 - text], 'number')) this.mixed(node, operands[text], operands[1 - text])
      if (compares) return BOOLEAN
      if (node.op === '+' && types.every(t => isOnly(t, 'string'))) return types[0]
      if (types.every(t => isOnly(t, 'number'))) return types[0]
    }
    return checked(node)
  }

  private mixed(node: CelNode, text: CelNode, number: CelNode): void {
    const written = (n: CelNode): string => this.text.slice(n.start, n.end).trim()
    const [wrong, suggestion] =
      node.op === '+' && number.op !== 'value' ? [number, `string(${written(number)})`] : [text, `double(${written(text)})`]
    const effect =
      node.op === '==' || node.op === '!=' ? `'${node.op}' never finds them equal` : `'${node.op}' does not work on text and a number`
    this.problems.push({
      message: `${written(text)} is text, and ${written(number)} is a number: ${effect}`,
      start: wrong.start,
      end: wrong.end,
      ...(wrong === text && text.op === 'value' ? {} : { suggestion }),
    })
  }
}

const entry = (node: CelNode): CelNode => (node.op === OPTIONAL_ENTRY ? (node.args as CelNode) : node)
const isNode = (v: unknown): v is CelNode => typeof v === 'object' && v !== null && 'op' in v && 'args' in v

/** Number of arguments that are names for elements. */
function bound(name: string, args: readonly CelNode[]): number {
  const isName = (arg: CelNode | undefined): boolean => arg?.op === 'id' && !String(arg.args).startsWith(FIELD)
  if (
    ['all', 'exists', 'existsOne', 'exists_one', 'filter', 'map', 'optMap', 'optFlatMap'].includes(name) &&
    args.length >= 2 &&
    isName(args[0])
  )
    return args.length === 3 && isName(args[1]) && name !== 'map' ? 2 : 1
  return /^transform(List|Map|MapEntry)$/.test(name) && args.length >= 3 && isName(args[0]) ? 2 : 0
}

function literal(v: unknown): RecordType {
  if (typeof v === 'string') return scalar('string')
  if (typeof v === 'boolean') return BOOLEAN
  if (v === null) return scalar('null')
  return typeof v === 'number' || typeof v === 'bigint' || v instanceof ExactNumber ? scalar('number') : ANY
}

/** The type of the type check of the language. */
function checked(node: CelNode): RecordType {
  const name = /^\w+/.exec(node.checkedType?.name ?? '')?.[0]
  if (name === 'bool') return BOOLEAN
  if (name === 'string' || name === 'timestamp' || name === 'duration') return scalar('string')
  if (name === 'int' || name === 'double' || name === 'decimal') return scalar('number')
  return name === 'list' ? listOf(ANY) : ANY
}
