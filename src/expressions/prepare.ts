/** Converts text to a checked tree, for `check` and `compile`. */
import { type Analysis, analyze } from './analyze.ts'
import type { Program } from './cel.ts'
import { LIMITS, parse, typeOf } from './environment.ts'
import { makeExact } from './numbers.ts'
import { problemOf, wrongArgument } from './problems.ts'
import type { ExpressionProblem, ExpressionType } from './types.ts'

export interface Prepared {
  readonly text: string
  readonly program: Program
  readonly analysis: Analysis
  readonly type: ExpressionType
}

/** Never throws. */
export function prepare(text: string): Prepared | { readonly problems: readonly ExpressionProblem[] } {
  if (text.length > LIMITS.length) {
    const message = `the expression is ${text.length} characters long, the limit is ${LIMITS.length}`
    return { problems: [{ message, start: LIMITS.length, end: text.length }] }
  }
  try {
    const program = parse(text)
    const analysis = analyze(program.ast)
    if (analysis.problems.length > 0) return { problems: analysis.problems }
    const checked = typeOf(program)
    if ('error' in checked) return { problems: [problemOf(checked.error, text)] }
    const wrong = analysis.methods.map(wrongArgument).filter(p => p !== undefined)
    if (wrong.length > 0) return { problems: wrong }
    const type = typeName(checked.type)
    if (type === undefined) {
      const message = `the result is ${checked.type.startsWith('optional') ? 'an optional' : checked.type}, which is not a JSON value`
      const suggestion = checked.type.startsWith('optional')
        ? `${text.trim()}.orValue(default)`
        : checked.type === 'bytes'
          ? `base64.encode(${text.trim()})`
          : undefined
      return { problems: [{ message, start: 0, end: text.length, ...(suggestion === undefined ? {} : { suggestion }) }] }
    }
    if (checked.type.includes('optional')) {
      const message = 'the result contains an optional, which is not a JSON value'
      return {
        problems: [{ message, start: 0, end: text.length, suggestion: '[?value.?a], {?"a": value.?a}, or value.?a.orValue(default)' }],
      }
    }
    makeExact(program.ast)
    return { text, program, analysis, type }
  } catch (error) {
    return { problems: [problemOf(error, text)] }
  }
}

const TYPES: Readonly<Record<string, ExpressionType>> = {
  bool: 'bool',
  string: 'string',
  double: 'double',
  int: 'int',
  decimal: 'decimal',
  list: 'list',
  map: 'map',
  null: 'null',
  uint: 'int',
  timestamp: 'timestamp',
  duration: 'duration',
  dyn: 'dyn',
}

/** `map<string, double>` is a map; undefined for types that no message can contain. */
const typeName = (cel: string): ExpressionType | undefined => TYPES[/^\w+/.exec(cel)?.[0] ?? '']
