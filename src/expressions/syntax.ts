/**
 * CEL syntax that the parser of the library does not support: optional entries (`{?"a": x}`, `[?x]`), names in backquotes (value.`a-b`),
 * raw bytes literals, and numbers that start with a point. The parser receives a text of the same length, so positions stay the same;
 * then the original parts are restored in the tree.
 */
import { ExactNumber } from '../contract/plugin.ts'
import { type CelNode, type CelType, type Comprehension, loadCel } from './cel.ts'

export interface Rewritten {
  /** Has the length of the original. */
  readonly text: string
  /** Positions of the `?` of optional entries. */
  readonly optional: ReadonlySet<number>
  /** By position: the name of a field, or the value of a literal, and the name that replaces it for the parser. */
  readonly names: ReadonlyMap<number, Placed<string>>
  readonly literals: ReadonlyMap<number, Placed<unknown>>
}

interface Placed<T> {
  readonly as: string
  readonly is: T
}

/** The operator of an optional list entry, or of the value of an optional map entry. */
export const OPTIONAL_ENTRY = '?entry'
/** The result of an optional entry without a value. */
export const ABSENT = Symbol('absent')

const TOKEN =
  /(?<space>(?:\s|\/\/[^\n]*)+)|(?<quoted>(?:br?|rb?)?(?<quote>"""|'''|"|')(?:\\[^]|(?!\k<quote>)[^])*\k<quote>)|(?<name>`[\w\-./ ]+`)|(?<point>\.\d+(?:e[+-]?\d+)?)|(?<operand>\w+|[)\]}])|[^]/gi
const MAY_NEED = /[{[,]\s*(?:\/\/[^\n]*\s*)*\?|`|\.\d|(?:br|rb)["']/i

/** Undefined if the parser can read the text unchanged. */
export function rewrite(text: string): Rewritten | undefined {
  if (!MAY_NEED.test(text)) return undefined
  const optional = new Set<number>()
  const names = new Map<number, Placed<string>>()
  const literals = new Map<number, Placed<unknown>>()
  const tokens = [...text.matchAll(TOKEN)].filter(t => t.groups!.space === undefined)
  const open: string[] = []
  let out = text
  const put = (at: number, what: string): void => void (out = out.slice(0, at) + what + out.slice(at + what.length))
  const placed = <T>(at: number, length: number, is: T): Placed<T> => {
    const as = unused(out, length)
    put(at, as)
    return { as, is }
  }
  tokens.forEach((token, i) => {
    const { index: at, groups } = token
    const [written] = token
    const before = tokens[i - 1]?.[0]
    const behind = tokens[i + 1]?.[0] ?? ''
    const behindOperand = i > 0 && isOperand(tokens[i - 1])
    // The replacement name must not join adjacent characters or be called.
    const alone = !/\w/.test(text[at - 1] ?? '') && !/\w/.test(text[at + written.length] ?? '') && behind !== '('
    if (written === '{' || written === '(') open.push(written)
    else if (written === '[') open.push(behindOperand ? 'index' : '[')
    else if (/^[)\]}]$/.test(written)) open.pop()
    else if (written === '?') {
      // Not `{?}`: the rest would be an empty object.
      const inLiteral = open.at(-1) === '{' || open.at(-1) === '['
      if (!inLiteral || !/^[{[,]$/.test(before ?? '') || /^[}\],]?$/.test(behind)) return
      optional.add(at)
      put(at, ' ')
    } else if (groups!.name !== undefined) {
      const selects = before === '.' || (before === '?' && tokens[i - 2]?.[0] === '.')
      if (selects && alone) names.set(at, placed(at, written.length, written.slice(1, -1)))
    } else if (alone && !behindOperand && before !== '.') {
      const value = groups!.point !== undefined ? fraction(written) : groups!.quoted !== undefined ? rawBytes(written) : undefined
      if (value !== undefined) literals.set(at, placed(at, written.length, value))
    }
  })
  return optional.size + names.size + literals.size === 0 ? undefined : { text: out, optional, names, literals }
}

/** Whether the token ends a value, so that a following `[` is an index. */
const isOperand = ({ 0: written, groups }: RegExpExecArray): boolean =>
  written !== 'in' && [groups!.quoted, groups!.name, groups!.point, groups!.operand].some(part => part !== undefined)

function unused(text: string, length: number): string {
  for (let i = 0; ; i++) {
    const name = `_${i.toString(36)}`.padEnd(length, '_')
    if (!text.includes(name)) return name
  }
}

/** Undefined for other literals, which the parser supports. */
function rawBytes(quoted: string): Uint8Array | undefined {
  const [start, quote] = /^(?:br|rb)("""|'''|["'])/i.exec(quoted) ?? []
  if (start === undefined) return undefined
  const content = quoted.slice(start.length, -quote.length)
  return quote.length === 1 && /[\n\r]/.test(content) ? undefined : Buffer.from(content)
}

function fraction(point: string): number | ExactNumber | undefined {
  const text = `0${point}`
  const exact = new ExactNumber(text)
  return Number.isFinite(Number(exact)) ? (exact.plain ?? exact) : undefined
}

/** Restores the parts that `rewrite` removed in the tree. */
export function restore(root: CelNode, { optional, names, literals }: Rewritten): void {
  const left = { optional: new Set(optional), names: new Set(names.keys()), literals: new Set(literals.keys()) }
  const seen = new Set<unknown>()
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null || seen.has(node)) return
    seen.add(node)
    if (!isNode(node)) return Object.values(node).forEach(visit)
    entries(node)
    const name = node.op === '.' || node.op === '.?' ? names.get(node.pos) : undefined
    if (name && name.as === node.args[1]) {
      node.args[1] = name.is
      left.names.delete(node.pos)
    }
    const literal = node.op === 'id' ? literals.get(node.start) : undefined
    if (literal && literal.as === node.args) {
      becomeLiteral(node, literal.is)
      left.literals.delete(node.start)
    }
    if (node.op === 'comprehension') variable(node)
    visit(node.args)
    visit(node.meta.alternate)
  }
  // The literal is at the position of a macro variable: `[1].map(.5, 1)`.
  const variable = (node: CelNode): void => {
    for (const [start, { as }] of literals)
      if (as === (node.args as Comprehension).iterVarName) throw unexpected('invalid_macro_argument', start)
  }
  const entries = (node: CelNode): void => {
    if (node.op !== 'list' && node.op !== 'map') return
    let from = node.start
    ;(node.args as (CelNode | [CelNode, CelNode])[]).forEach((entry, i) => {
      const [key, value] = Array.isArray(entry) ? entry : [entry, entry]
      const mark = [...left.optional].find(at => from <= at && at < key.start)
      if (mark !== undefined) {
        left.optional.delete(mark)
        const made = optionalEntry(value)
        if (Array.isArray(entry)) entry[1] = made
        else node.args[i] = made
      }
      from = value.end
    })
  }
  visit(root)
  for (const start of [...left.optional, ...left.names, ...left.literals]) throw unexpected('unexpected_token', start)
}

function unexpected(code: string, start: number): Error {
  const { ParseError } = loadCel()
  return new ParseError({ code, message: 'unexpected', node: { start, end: start + 1 } } as never)
}

const isNode = (v: object): v is CelNode => 'op' in v && 'args' in v && 'meta' in v

function becomeLiteral(node: CelNode, value: unknown): void {
  Object.assign(node, { op: 'value', args: value })
  node.setMeta('check', (checker: { debugType(v: unknown): CelType }) => checker.debugType(value))
  node.setMeta('evaluate', () => value)
}

interface Checker {
  check(node: CelNode, scope: unknown): CelType & { readonly valueType?: CelType }
  createError(code: string, message: string, node: CelNode): Error
}
interface Evaluator {
  run(node: CelNode, scope: unknown): unknown
  debugType(value: unknown): CelType
  createError(code: string, message: string, node: CelNode): Error
}

function optionalEntry(operand: CelNode): CelNode {
  const invalid = (at: Checker | Evaluator, type: CelType) =>
    at.createError('optional_expected', `must be optional, got '${type.name}'`, operand)
  const entry = operand.clone(
    {
      name: OPTIONAL_ENTRY,
      check(checker: Checker, _: CelNode, scope: unknown): CelType {
        const type = checker.check(operand, scope)
        if (type.kind !== 'optional' && type.kind !== 'dyn') throw invalid(checker, type)
        return type.valueType ?? type
      },
      evaluate(ev: Evaluator, _: CelNode, scope: unknown): unknown {
        const found = ev.run(operand, scope)
        if (!(found instanceof loadCel().Optional)) throw invalid(ev, ev.debugType(found))
        return found.hasValue() ? found.value() : ABSENT
      },
    },
    operand,
  )
  return entry.setMeta('async', false)
}
