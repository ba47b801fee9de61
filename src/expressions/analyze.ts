/**
 * What the type checker can't know: which names may be called, and which are fields of the record.
 * Renames the free names of the tree (see `FIELD`), so it runs once per tree, before the type check.
 */
import { suggest } from '../kit/text/suggest.ts'
import { type CelNode, type Comprehension, FIELD, META, VALUE } from './cel.ts'
import { expanded } from './environment.ts'
import { FUNCTION_BY_NAME, type FunctionEntry, HABITS, METHOD_BY_NAME } from './functions.ts'
import { pattern } from './implementations.ts'
import type { ExpressionProblem } from './types.ts'

export interface Analysis {
  readonly problems: ExpressionProblem[]
  /** Top-level fields of the record that are read by name. */
  readonly fields: Set<string>
  /** Calls of methods, to be looked at once types are known. */
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
  if (original.op === 'rcall' && !callable(original, METHOD_BY_NAME, out)) return original.args[2].forEach(go), go(original.args[1])
  switch (node.op) {
    case 'value':
      return literal(node, out)
    case 'id':
      return name(node, bound, out)
    case '.':
    case '.?':
      return go(node.args[0])
    case 'call':
      if (callable(node, FUNCTION_BY_NAME, out) && node.args[0] === 'has' && !isPath(node.args[1][0]))
        return report(out, node.args[1][0], 'has() takes the path of a field', pathOf(node.args[1][0]))
      rename(node, FUNCTION_BY_NAME)
      return node.args[1].forEach(go)
    case 'rcall':
      if (node.args[0] === 're') regex(node, out)
      out.methods.push(node)
      go(node.args[1])
      return node.args[2].forEach(go)
    case 'comprehension': {
      const { iterable, iterVarName, init, step }: Comprehension = node.args
      go(iterable)
      const inner = new Set(bound).add(iterVarName)
      walk(init, inner, out)
      return walk(step, inner, out)
    }
    case 'map':
      return mapLiteral(node, go, out)
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

function literal(node: CelNode, out: Analysis): void {
  const v = node.args
  if (v === null || typeof v !== 'object') return
  if (v instanceof Uint8Array) report(out, node, 'bytes literals are not supported: records are JSON')
  else report(out, node, 'unsigned integers are not supported', String(v))
}

function name(node: CelNode, bound: ReadonlySet<string>, out: Analysis): void {
  const written: string = node.args
  // A tree made by a macro can hold one node twice.
  if (bound.has(written) || written.startsWith(FIELD)) return
  node.args = FIELD + written
  if (node.args === VALUE) out.usesValue = true
  else if (node.args === META) out.usesMeta = true
  else out.fields.add(written)
}

/** Reports a call of something that is not in the table. */
function callable(node: CelNode, table: ReadonlyMap<string, FunctionEntry>, out: Analysis): boolean {
  const [called, ...rest] = node.args as [string, ...unknown[]]
  const count = (rest.at(-1) as unknown[]).length
  const entry = table.get(called)
  if (entry?.arity.includes(count)) return true
  const method = table === METHOD_BY_NAME
  const at = nameRange(node, called, method)
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

/** The name inside `f(x)` or `a.f(x)`. A method's node begins with its receiver, so the name is looked for behind that. */
function nameRange(node: CelNode, called: string, method: boolean): { start: number; end: number } {
  if (!method) return { start: node.start, end: node.start + called.length }
  const text = (node as CelNode & { input: string }).input
  const start = text.indexOf(called, text.indexOf('.', (node.args[1] as CelNode).end))
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
    return report(out, argument, 're() takes its pattern as a literal', 'text.re("pattern")')
  try {
    pattern(argument.args)
  } catch (error) {
    report(out, argument, `not a regular expression: ${(error as Error).message.replace(/^error parsing regexp: /, '')}`)
  }
}

/** Keys the library would drop without a word. */
const LOST_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

function mapLiteral(node: CelNode, go: (n: CelNode) => void, out: Analysis): void {
  const seen = new Set<string>()
  for (const [key, value] of node.args as [CelNode, CelNode][]) {
    if (key.op !== 'value' || typeof key.args !== 'string')
      report(out, key, 'a key of a map must be a text literal', key.op === 'id' ? `"${key.args}"` : undefined)
    else if (LOST_KEYS.has(key.args)) report(out, key, `'${key.args}' can't be a key`)
    else if (seen.has(key.args)) report(out, key, `the key '${key.args}' stands twice`)
    else seen.add(key.args)
    go(value)
  }
}
