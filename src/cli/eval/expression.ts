/** An expression of the command line: compiled with its problems at their characters, and evaluated over one record. */
import { resolveTree } from '../../config/env.ts'
import { bindVariables } from '../../config/variables.ts'
import type { Problem } from '../../config/model.ts'
import { Problems } from '../../config/problems.ts'
import { spanInScalar } from '../../config/scalar.ts'
import { type ScalarNode, SourceText } from '../../config/tree.ts'
import { encodeJson, type Message } from '../../contract/plugin.ts'
import { loadLanguage } from '../../expressions/on-demand.ts'
import type { Expression, ExpressionType } from '../../expressions/types.ts'

export interface Compiled {
  readonly expression: Expression
  readonly type: ExpressionType
}

export async function compileText(text: string): Promise<Compiled | { readonly problems: readonly Problem[] }> {
  const { check, compile } = await loadLanguage()
  const problems = new Problems()
  const span = { source: new SourceText('expression', text), start: 0, end: text.length }
  const typed: ScalarNode = { kind: 'scalar', span, value: text, style: 'plain' }
  const schema = { type: 'string', format: 'expression' }
  const resolved = resolveTree(typed, [], process.env, process.cwd(), problems)
  const node = bindVariables(resolved, schema, [], { root: schema, env: process.env, problems, lenient: false }) as ScalarNode
  const bound = node.value as string
  const checked = check(bound)
  if ('problems' in checked)
    for (const p of checked.problems)
      problems.add('CONFIG_EXPRESSION', spanInScalar(node, p.start, p.end) ?? span, [], p.message, p.suggestion)
  if (!problems.empty || 'problems' in checked) return { problems: problems.list() }
  return { expression: compile(bound), type: checked.type }
}

/** The result as JSON, or why there is none. */
export function evaluate(expression: Expression, record: Message): { readonly text: string } | { readonly error: string } {
  try {
    return { text: encodeJson(expression.evaluate(record)) }
  } catch (error) {
    return { error: (error as Error).message }
  }
}
