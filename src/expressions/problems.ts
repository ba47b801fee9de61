/** Converts errors of the library to messages for users, with position and fix. */
import { type CelError, type CelNode, type CelType, FIELD, isCelError } from './cel.ts'
import { isJsonNumber } from '../contract/plugin.ts'
import { FUNCTIONS } from './functions.ts'
import type { ExpressionProblem } from './types.ts'

/** Converts an error of the parser or the type checker to a problem. */
export function problemOf(error: unknown, text: string): ExpressionProblem {
  if (!isCelError(error)) {
    const message =
      error instanceof RangeError ? 'the expression is nested too deeply' : `the expression cannot be checked: ${(error as Error).message}`
    return { message, start: 0, end: text.length }
  }
  const { start, end } = error.range ?? { start: 0, end: text.length }
  const written = text.slice(start, end)
  const at = (message: string, suggestion?: string) => ({ message, start, end, ...(suggestion === undefined ? {} : { suggestion }) })
  switch (error.code) {
    case 'unexpected_character':
    case 'unexpected_token':
    case 'expected_token':
      return {
        ...at(...syntax(error, text, start, written)),
        end: Math.max(end, start + (written === '' ? 0 : first(text, start).length)),
      }
    case 'unterminated_string':
    case 'unterminated_triple_quoted_string':
      return at(`the quote ${text[start]} is never closed`)
    case 'reserved_identifier':
      if (written === 'if' || written === 'else') return at(`'${written}' is not part of the language`, 'condition ? a : b')
      return at(`'${written}' is a reserved word`, `value["${written}"]`)
    case 'invalid_number':
      // The parser reports a number beyond the range of a double.
      return isJsonNumber(written) ? at(`${written} is outside the range of a double`, `decimal("${written}")`) : at(plain(error.summary))
    case 'limit_exceeded': {
      const [, limit, most] = /(\w+) \((\d+)\)/.exec(error.summary)!
      return { message: `the expression is too large: more than ${most} ${LIMIT_NAMES[limit] ?? limit}`, start, end: text.length }
    }
    case 'no_such_overload':
      return at(...overload(error.summary))
    case 'no_matching_overload':
      return (error.node && wrongArgument(error.node)) ?? at(plain(error.summary))
    case 'invalid_logical_operand':
    case 'invalid_condition_type':
      return operand(error, at)
    case 'incompatible_ternary_branches': {
      const [left, right] = quoted(error.summary)
      const numbers = isNumber(left) && isNumber(right)
      return at(
        `the branches of '? :' are ${typeName(left)} and ${typeName(right)}: they must have the same type`,
        numbers ? 'write 0.0 instead of 0' : 'write dyn(x) to allow a different type',
      )
    }
    default:
      return at(...wording(error))
  }
}

const LIMIT_NAMES: Record<string, string> = {
  maxAstNodes: 'operators and operands',
  maxDepth: 'nested levels',
  maxListElements: 'elements in a list',
  maxMapEntries: 'entries in a map',
  maxCallArguments: 'arguments',
}

/** Operators of other languages. */
const OPERATORS: Readonly<Record<string, string>> = {
  and: '&&',
  or: '||',
  not: '!',
  '=': '==',
  '&': '&&',
  '|': '||',
  '<>': '!=',
  '??': '.orValue(default)',
  is: '==',
}

function syntax(error: CelError, text: string, start: number, written: string): [message: string, suggestion?: string] {
  if (start >= text.length) {
    const wanted = /Expected (\w+)/.exec(error.summary)?.[1]
    if (text.trim() === '') return ['the expression is empty']
    if (wanted === undefined) return ['the expression ends too early']
    // The usual cause: `{ n: round(x, 2) }` in YAML is the value `round(x` and another key.
    const cut =
      wanted === 'RPAREN' || wanted === 'RBRACKET' ? '; inside { } and [ ] of YAML, a comma ends a value: put the expression in quotes' : ''
    return [`the expression ends where ${TOKENS[wanted] ?? wanted.toLowerCase()} was expected${cut}`]
  }
  const form = misplaced(text, start)
  if (form) return form
  const shown = first(text, start)
  const token = written.length > 1 ? written : shown
  const suggestion = [token, text.slice(start - 1, start + 1)].filter(t => Object.hasOwn(OPERATORS, t)).map(t => OPERATORS[t])[0]
  // A keyword after a dot: `trade.in`.
  if (text[start - 1] === '.' && /^[a-z_]\w*$/i.test(token)) return [`'${token}' is a keyword of the language`, `["${token}"]`]
  return [`unexpected '${token}'`, suggestion]
}

/** CEL syntax that is not allowed at this position, and common syntax of other languages. */
function misplaced(text: string, start: number): [message: string, suggestion: string] | undefined {
  const before = text.slice(0, start)
  const [quoted] = /^`[^`]+`/.exec(text.slice(start)) ?? []
  if (quoted !== undefined) {
    const name = quoted.slice(1, -1)
    const owner = /([\w.]*)\.$/.exec(before)?.[1] ?? 'value'
    if (/^[\w\-./ ]+$/.test(name) && !before.endsWith('.')) return ['backquotes are allowed only for a name after a dot', `value.${quoted}`]
    return [`${quoted} is not the name of a field`, `${owner}[${JSON.stringify(name)}]`]
  }
  if (text[start] === '?' && /[{[(,]\s*$/.test(before))
    return ['only entries of lists and objects can be optional', '[?value.?a], {?"a": value.?a}']
  // JSONPath, jq and VRL.
  const [whole, path] = /^\$?\.([a-z_]\w*(?:\.[a-z_]\w*)*)/i.exec(text.slice(start)) ?? []
  if (whole !== undefined) return [`unexpected '${whole}': a field is written without '${whole.startsWith('$') ? '$.' : '.'}'`, path]
  const [point] = /^\.\d+(?:e[+-]?\d+)?/i.exec(text.slice(start)) ?? []
  if (point === undefined) return undefined
  if (!Number.isFinite(Number(point))) return [`${point} is outside the range of a double`, `decimal("0${point}")`]
  return [`unexpected '${point}'`, `0${point}`]
}

const TOKENS: Record<string, string> = { RPAREN: "')'", RBRACKET: "']'", RBRACE: "'}'", COLON: "':'", IDENTIFIER: 'a name' }

const OVERLOAD = /^(?:no such overload: )?(.+?) (==|!=|<=|>=|<|>|\+|-|\*|\/|%|in) (.+)$/

/** `no such overload: string * int`, statically or at run time. */
export function overload(summary: string): [message: string, suggestion?: string] {
  const unary = /^no such overload: ([!-])(.+)$/.exec(summary)
  if (unary) return [`'${unary[1]}' does not work on ${typeName(unary[2])}`]
  const [, left, op, right] = OVERLOAD.exec(summary) ?? []
  if (op === undefined) return [plain(summary)]
  const [a, b] = [typeName(left), typeName(right)]
  // Of two operands, the one with a known type is reported.
  const message = `'${op}' does not work on ${[a, b].filter(t => t !== NAMES.dyn).join(' and ')}`
  if (op === '+' && (a === 'text') !== (b === 'text')) return [message, 'string(x) converts a number to a string']
  if (a === 'text' || b === 'text')
    return [message, isNumberName(a) || isNumberName(b) ? 'double(x) converts a string to a number' : undefined]
  return [message]
}

/** Finds the operand that is not a boolean; the library reports the whole operation. */
function operand(error: CelError, at: (message: string) => ExpressionProblem): ExpressionProblem {
  const [type] = quoted(error.summary)
  const message = `must be true or false here, not ${typeName(type)}`
  const sides: CelNode[] = error.node && (error.node.op === '&&' || error.node.op === '||') ? (error.node.args as CelNode[]) : []
  const wrong = sides.find(s => s.checkedType && s.checkedType.name !== 'bool' && s.checkedType.kind !== 'dyn')
  return wrong ? { message, start: wrong.start, end: wrong.end } : at(message)
}

/**
 * Finds the argument that no overload of a call accepts. The library does not check the arguments of a method whose receiver has
 * type `dyn`, so this function checks all methods.
 */
export function wrongArgument(call: CelNode): ExpressionProblem | undefined {
  const method = call.op === 'rcall'
  const called: string = call.args[0]
  const receiver = method && call.args[1].meta.alternate ? `${call.args[1].args}.` : undefined
  const entry = FUNCTIONS.find(f =>
    receiver === undefined ? (f.as ?? f.name) === called && f.form === (method ? 'method' : 'function') : f.name === receiver + called,
  )
  const operands: CelNode[] = method ? [call.args[1], ...call.args[2]] : call.args[1]
  const types = operands.map(o => o.checkedType)
  const overloads = (call.candidates?.declarations ?? []).map(d => (method ? [d.receiverType, ...d.argTypes] : d.argTypes))
  if (types.includes(undefined) || overloads.length === 0) return undefined
  const fits = (o: readonly (CelType | null)[], i: number) => o[i] === null || types[i]!.matches(o[i]!)
  if (overloads.some(o => operands.every((_, i) => fits(o, i)))) return undefined
  const wrong = operands.findIndex((_, i) => !overloads.some(o => fits(o, i)))
  const { start, end } = wrong < 0 ? call : operands[wrong]
  const got = wrong < 0 ? types.map(t => typeName(t!.name)).join(' and ') : typeName(types[wrong]!.name)
  return { message: `${entry?.name ?? called}() does not take ${got}`, start, end, ...(entry ? { suggestion: entry.usage } : {}) }
}

const first = (text: string, at: number): string => String.fromCodePoint(text.codePointAt(at)!)
const quoted = (summary: string): string[] => [...summary.matchAll(/'([^']*)'/g)].map(m => m[1])
/** The message of errors that occur in the type check and during evaluation. */
export function wording({ code, summary }: CelError): [message: string, suggestion?: string] {
  switch (code) {
    case 'invalid_index_type':
      return [`the position in a list must be an integer, not ${lastType(summary)}`, 'int(x)']
    case 'invalid_macro_argument':
      return ['must be a name that the last argument uses', 'x']
    case 'invalid_comprehension_range':
      return [`${lastType(summary)} has no elements: only a list or an object has elements`]
    case 'cannot_index_type':
      return [`${lastType(summary)} has no fields: only an object or a list has fields`]
    case 'optional_expected':
    case 'incompatible_argument_type':
      return [`must be an optional here, not ${lastType(summary)}`, 'value.?a']
    default:
      return [plain(summary)]
  }
}

/** The last type in a message of the library, in plain words. */
const lastType = (summary: string): string => {
  const type = quoted(summary).at(-1) ?? 'undefined'
  return type === 'undefined' ? 'what does not exist' : typeName(type)
}
const isNumber = (type: string): boolean => type === 'int' || type === 'double'
const isNumberName = (name: string): boolean => name === 'a number' || name === 'an integer'

/** A type name of the library in plain words: `dyn<map<string, dyn>>` is a map. */
export function typeName(type: string): string {
  const inner = /^dyn<(.+)>$/.exec(type)?.[1] ?? type
  const name = /^\w+/.exec(inner)?.[0] ?? inner
  return NAMES[name] ?? name
}

const NAMES: Record<string, string> = {
  double: 'a number',
  decimal: 'a number',
  int: 'an integer',
  string: 'text',
  bool: 'a boolean',
  list: 'a list',
  map: 'a map',
  null: 'null',
  null_type: 'null',
  dyn: 'any value',
  optional: 'an optional',
  bytes: 'bytes',
  uint: 'an unsigned integer',
  timestamp: 'a timestamp',
  duration: 'a duration',
}

/** A message of the library without internal names. */
export const plain = (summary: string): string => {
  const text = summary.replaceAll(/dyn<([^<>]*)>/g, '$1').replaceAll(FIELD, '')
  return text.charAt(0).toLowerCase() + text.slice(1)
}
