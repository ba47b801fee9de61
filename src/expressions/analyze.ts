/**
 * Checks that the type checker cannot do: the names of functions and the fields of the record.
 * Renames the free names of the tree (see `FIELD`), so it runs once per tree, before the type check.
 */
import { ExactNumber, isJsonNumber } from '../contract/plugin.ts'
import { patternReason } from '../kit/text/pattern-reason.ts'
import { suggest } from '../kit/text/suggest.ts'
import { type CelNode, type Comprehension, FIELD, META, VALUE } from './cel.ts'
import { expanded, parse } from './environment.ts'
import { FUNCTION_BY_NAME, type FunctionEntry, HABITS, METHOD_BY_NAME, NAMESPACES } from './functions.ts'
import { checkTimeArguments } from './functions-times.ts'
import { pattern } from './implementations.ts'
import { BINDING } from './macros.ts'
import { evaluateMap } from './maps.ts'
import { ABSENT, OPTIONAL_ENTRY } from './syntax.ts'
import type { ExpressionProblem } from './types.ts'

export interface Analysis {
  readonly problems: ExpressionProblem[]
  /** Top-level fields of the record that are read by name. */
  readonly fields: Set<string>
  /** Calls of methods, to be checked when types are known. */
  readonly methods: CelNode[]
  usesValue: boolean
  usesMeta: boolean
  /** `.?` or `[?]` occurs. */
  usesOptional: boolean
}

export function analyze(root: CelNode): Analysis {
  const analysis: Analysis = { problems: [], fields: new Set(), methods: [], usesValue: false, usesMeta: false, usesOptional: false }
  walk(root, new Set(), analysis)
  return analysis
}

function walk(original: CelNode, bound: ReadonlySet<string>, out: Analysis): void {
  const go = (n: CelNode) => walk(n, bound, out)
  const node = expanded(original)
  if (node.op === '.?' || node.op === '[?]') out.usesOptional = true
  const namespace = original.op === 'rcall' ? namespaceOf(original, bound) : undefined
  if (namespace !== undefined) return namespaced(original, namespace, bound, out)
  if (original.op === 'rcall' && !callable(original, METHOD_BY_NAME, out)) return original.args[2].forEach(go), go(original.args[1])
  const binds = original.op === 'rcall' ? BINDING.get(`${original.args[0]}/${original.args[2].length}`) : undefined
  if (binds !== undefined && node === original) return binding(original.args[1], original.args[2], binds, bound, out)
  switch (node.op) {
    case 'value':
      return literal(node, out)
    case 'id':
      return name(node, bound, out)
    case '.':
    case '.?':
      if (!knownPart(node, bound, out)) return
      return go(node.args[0])
    case 'call':
      if (callable(node, FUNCTION_BY_NAME, out) && node.args[0] === 'has' && !isPath(node.args[1][0]))
        return report(out, node.args[1][0], 'has() takes the path of a field', pathOf(node.args[1][0]))
      if (node.args[0] === 'parse_time' || node.args[0] === 'format_time') timeArguments(node, out)
      rename(node, FUNCTION_BY_NAME)
      return node.args[1].forEach(go)
    case 'rcall':
      rename(node, METHOD_BY_NAME)
      if (node.args[0] === 're') regex(node, out)
      out.methods.push(node)
      go(node.args[1])
      return node.args[2].forEach(go)
    case 'comprehension': {
      const { iterable, iterVarName, init, step }: Comprehension = node.args
      go(iterable)
      const inner = new Set(bound).add(iterVarName)
      if (init.op !== 'list') walk(init, inner, out)
      return walk(step, inner, out)
    }
    case 'map':
      return mapLiteral(node, go, bound, out)
    case 'list':
      if (node.args.length === 0) anyType(node, 'list<dyn>')
      if (node.args.some((item: CelNode) => item.op === OPTIONAL_ENTRY)) withoutAbsent(node)
      return node.args.forEach(go)
    case '-_':
      // The smallest integer is the negation of a literal that is one too large.
      return isSmallest(node.args) ? undefined : go(node.args)
    case '==':
    case '!=':
      // Lists and objects of different types can be equal: `[1] == [1.0]`.
      node.args.forEach(loosen)
      return node.args.forEach(go)
    case 'accuValue':
    case 'accuInc':
      return
    default:
      // Operators: `args` is the operand or the list of them.
      if (Array.isArray(node.args)) node.args.forEach(go)
      else go(node.args)
  }
}

function report(out: Analysis, { start, end }: { start: number; end: number }, message: string, suggestion?: string): void {
  out.problems.push({ message, start, end, ...(suggestion === undefined ? {} : { suggestion }) })
}

const isSmallest = (node: CelNode): boolean => node.op === 'value' && node.args === 2n ** 63n

/** Sets the type of a literal whose elements have no type, or may have any. */
function anyType(node: CelNode, type: string): void {
  const { check } = node.meta
  node.setMeta('check', (checker: any, of: CelNode, scope: unknown) => {
    check!(checker, of, scope)
    return checker.getType(type)
  })
}

function withoutAbsent(list: CelNode): void {
  const { evaluate } = list.meta
  list.setMeta('evaluate', (ev: unknown, of: CelNode, scope: unknown) =>
    (evaluate!(ev, of, scope) as unknown[]).filter(item => item !== ABSENT),
  )
}

function loosen(node: CelNode): void {
  if (node.meta.alternate) return
  if (node.op === 'list') {
    node.args.forEach(loosen)
    if (node.args.length > 0) anyType(node, 'list<dyn>')
  } else if (node.op === 'map') {
    for (const [, value] of node.args as [CelNode, CelNode][]) loosen(value)
    if (node.args.length > 0) anyType(node, 'map<dyn, dyn>')
  }
}

function literal(node: CelNode, out: Analysis): void {
  const v = node.args
  if (typeof v === 'bigint' && BigInt.asIntN(64, v) !== v)
    report(
      out,
      node,
      `${v} is outside the range of 64-bit integers`,
      BigInt.asUintN(64, v) === v ? `decimal("${v}"), or ${v}u` : `decimal("${v}")`,
    )
  if (typeof v !== 'number' && !(v instanceof Uint8Array)) return
  const text = (node as CelNode & { input: string }).input.slice(node.start, node.end)
  if (typeof v === 'number') {
    // Keeps the decimal value if a double has another value.
    if (isJsonNumber(text) && new ExactNumber(text).plain !== v) node.args = new ExactNumber(text)
    return
  }
  // The library keeps only the lowest byte of each character.
  if (/[^\0-\x7f]/.test(text)) node.args = parse(text.replaceAll(/\\[^]|[^\0-\x7f]+/g, escaped)).ast.args
}

const escaped = (part: string): string => (part[0] === '\\' ? part : Buffer.from(part).toString('hex').replaceAll(/../g, '\\x$&'))

/** The namespace of a call such as `math.sqrt(x)`; undefined: a method of a value. */
function namespaceOf(node: CelNode, bound: ReadonlySet<string>): string | undefined {
  const [called, receiver] = node.args as [string, CelNode]
  if (receiver.op !== 'id' || !NAMESPACES.has(receiver.args) || bound.has(receiver.args)) return undefined
  return FUNCTION_BY_NAME.has(`${receiver.args}.${called}`) || !METHOD_BY_NAME.has(called) ? receiver.args : undefined
}

function namespaced(node: CelNode, namespace: string, bound: ReadonlySet<string>, out: Analysis): void {
  const [called, , args] = node.args as [string, CelNode, CelNode[]]
  if (!callable(node, FUNCTION_BY_NAME, out, `${namespace}.${called}`)) return
  // The receiver is a constant, not a field.
  if (namespace === 'cel') return bind(args, bound, out)
  out.methods.push(node)
  for (const arg of args) walk(arg, bound, out)
}

/** `cel.bind(name, value, expression)`. */
function bind([name, value, expression]: CelNode[], bound: ReadonlySet<string>, out: Analysis): void {
  walk(value, bound, out)
  if (name.op !== 'id') return report(out, name, 'must be a name that the last argument uses', 'x')
  walk(expression, new Set(bound).add(name.args), out)
}

/** A macro whose first arguments are names. */
function binding(receiver: CelNode, args: readonly CelNode[], names: number, bound: ReadonlySet<string>, out: Analysis): void {
  walk(receiver, bound, out)
  const inner = new Set(bound)
  for (const node of args.slice(0, names)) {
    if (node.op !== 'id') return report(out, node, 'must be a name for the elements', 'x')
    if (inner.has(node.args) && !bound.has(node.args)) return report(out, node, `duplicate name '${node.args}'`)
    inner.add(node.args)
  }
  for (const node of args.slice(names)) walk(node, inner, out)
}

function timeArguments(node: CelNode, out: Analysis): void {
  const [name, [, ...args]] = node.args as [string, CelNode[]]
  const texts = args.map(arg => (arg.op === 'value' && typeof arg.args === 'string' ? arg.args : undefined))
  if (texts.some(text => text === undefined)) return
  try {
    checkTimeArguments(name, texts as string[])
  } catch (error) {
    report(out, { start: args[0].start, end: args.at(-1)!.end }, (error as Error).message)
  }
}

function name(node: CelNode, bound: ReadonlySet<string>, out: Analysis): void {
  const written: string = node.args
  // A tree from a macro can contain a node twice.
  if (bound.has(written) || written.startsWith(FIELD)) return
  node.args = FIELD + written
  if (node.args === VALUE) out.usesValue = true
  else if (node.args === META) out.usesMeta = true
  else out.fields.add(written)
}

/** The parts of `meta`. */
export const META_NAMES: readonly string[] = ['key', 'time', 'topic', 'partition', 'offset', 'headers', 'source', 'lane', 'file', 'line']

/** Reports unknown parts of `meta`, and `this`, which other languages write before a field. */
function knownPart(node: CelNode, bound: ReadonlySet<string>, out: Analysis): boolean {
  const [owner, part] = node.args as [CelNode, string]
  if (owner.op !== 'id' || bound.has(owner.args)) return true
  if (owner.args === 'this') {
    report(out, owner, `'this' is not defined: the fields of a record are variables`, part)
    return false
  }
  if (owner.args !== 'meta' || META_NAMES.includes(part)) return true
  const near = suggest(part, META_NAMES)
  report(
    out,
    nameRange(node, part, true),
    `meta has no ${part}; it has ${META_NAMES.join(', ')}. For a field of the record, write value.meta.${part}`,
    near && `meta.${near}`,
  )
  return false
}

/** Reports a call of a function that is not in the table. */
function callable(node: CelNode, table: ReadonlyMap<string, FunctionEntry>, out: Analysis, called: string = node.args[0]): boolean {
  const [name, ...rest] = node.args as [string, ...unknown[]]
  const count = (rest.at(-1) as unknown[]).length
  const entry = table.get(called)
  if (entry?.arity.includes(count)) return true
  const method = table === METHOD_BY_NAME
  const at = nameRange(node, name, node.op === 'rcall')
  if (entry)
    report(
      out,
      at,
      `${called}() takes ${entry.arity.join(' or ')} argument${entry.arity.at(-1) === 1 ? '' : 's'}, got ${count}`,
      entry.usage,
    )
  else {
    const other = (method ? FUNCTION_BY_NAME : METHOD_BY_NAME).get(called)
    const near = other?.usage ?? (Object.hasOwn(HABITS, called) ? HABITS[called] : undefined) ?? nearest(called, table)
    report(out, at, `unknown function '${called}'`, near)
  }
  return false
}

function nearest(called: string, table: ReadonlyMap<string, FunctionEntry>): string | undefined {
  const near = suggest(called, table.keys())
  return near === undefined ? undefined : table.get(near)!.usage
}

/** Position of the name in `f(x)` or `a.f(x)`. The node of a method starts with its receiver, so the name is after that. */
function nameRange(node: CelNode, called: string, method: boolean): { start: number; end: number } {
  if (!method) return { start: node.start, end: node.start + called.length }
  const text = (node as CelNode & { input: string }).input
  const owner = (node.op === 'rcall' ? node.args[1] : node.args[0]) as CelNode
  const start = text.indexOf(called, text.indexOf('.', owner.end))
  return { start, end: start + called.length }
}

function rename(node: CelNode, table: ReadonlyMap<string, FunctionEntry>): void {
  const as = table.get(node.args[0])?.as
  if (as) node.args[0] = as
}

function isPath(node: CelNode): boolean {
  let at = node
  while (at.op === '.' || at.op === '.?') at = at.args[0]
  return at.op === 'id' && at !== node
}

const pathOf = (node: CelNode): string | undefined => (node.op === 'id' ? `has(value.${node.args})` : undefined)

function regex(node: CelNode, out: Analysis): void {
  const argument: CelNode = node.args[2][0]
  if (argument.op !== 'value' || typeof argument.args !== 'string')
    return report(out, argument, 'the pattern of re() must be a literal', 'text.re("pattern")')
  try {
    pattern(argument.args)
  } catch (error) {
    report(out, argument, `not a regular expression: ${patternReason(error)}`)
  }
}

/** Keys that the library silently drops. */
const LOST_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

function mapLiteral(node: CelNode, go: (n: CelNode) => void, bound: ReadonlySet<string>, out: Analysis): void {
  const seen = new Set<string>()
  const entries = node.args as [CelNode, CelNode][]
  if (entries.length === 0) anyType(node, 'map<dyn, dyn>')
  const texts = entries.every(([key]) => key.op === 'value' && typeof key.args === 'string')
  // The library creates an object, whose keys are strings.
  if (!texts || entries.some(([, value]) => value.op === OPTIONAL_ENTRY)) node.setMeta('evaluate', evaluateMap)
  for (const [key, value] of entries) {
    // A name without quotes.
    if (key.op === 'id' && !bound.has(key.args))
      report(out, key, 'a key of a map is a string: put it in quotes, or write value.name to use the value of a field', `"${key.args}"`)
    else if (!texts) go(key)
    else if (LOST_KEYS.has(key.args)) report(out, key, `'${key.args}' cannot be a key`)
    else if (seen.has(key.args)) report(out, key, `duplicate key '${key.args}'`)
    else seen.add(key.args)
    go(value)
  }
}
