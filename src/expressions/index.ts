/** Expressions: CEL over one message. Only this folder uses the CEL library. */
import { compile } from './compile.ts'
import { keyParts } from './key-parts.ts'
import { provideLanguage } from './on-demand.ts'
import { prepare } from './prepare.ts'
import type { ExpressionProblem, ExpressionType } from './types.ts'

export { META_NAMES } from './analyze.ts'
export { FUNCTIONS, type FunctionEntry } from './functions.ts'
export { compileObject, type Shape } from './object.ts'
export { type NumberUse, numberUse } from './number-use.ts'
export { compile, keyParts }
export { inferExpression } from './infer.ts'
export { type FieldPath, fieldPaths } from './paths.ts'
export type { Expression, ExpressionProblem, ExpressionType } from './types.ts'

/** Checks an expression without a record. Never throws. */
export function check(text: string): { readonly type: ExpressionType } | { readonly problems: readonly ExpressionProblem[] } {
  const prepared = prepare(text)
  return 'problems' in prepared ? prepared : { type: prepared.type }
}

provideLanguage({ check, compile, keyParts })
