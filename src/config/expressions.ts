/** Compiles and type-checks the expressions of a config, and reports problems at their exact position in the file. */
import { loadLanguage } from '../expressions/on-demand.ts'
import { isPlainPath } from '../expressions/plain-path.ts'
import type { Marked } from './convert.ts'
import type { Problems } from './problems.ts'
import type { Locate } from './report.ts'
import { spanInScalar } from './scalar.ts'
import { formatPath, nearby, type Path, valueSpan } from './tree.ts'

/** @returns the `path` of each expression with a problem */
export async function checkExpressions(
  expressions: readonly Marked[],
  place: Locate,
  unresolved: ReadonlySet<string>,
  problems: Problems,
): Promise<Path[]> {
  for (const one of expressions)
    if (one.schema.returns === 'bool' && isPlainPath(one.value as string)) warnBare(one, place, unresolved, problems)
  const toCheck = expressions.filter(({ value }) => !isPlainPath(value as string))
  if (toCheck.length === 0) return []
  const { check } = await loadLanguage()
  const wrong: Path[] = []
  for (const { path: relative, value, schema } of toCheck) {
    if (unresolved.has(formatPath(relative))) continue
    const { path, find: found } = place(relative)
    const node = found.node.kind === 'scalar' && !found.partial ? found.node : undefined
    const whole = node ? valueSpan(found) : found.key!
    const result = check(value as string)
    if ('problems' in result) {
      wrong.push(relative)
      // A problem at the end is placed after the last word, not below its block.
      const end = (value as string).trimEnd().length
      for (const p of result.problems)
        problems.add(
          'CONFIG_EXPRESSION',
          (node && spanInScalar(node, Math.min(p.start, end), Math.min(p.end, end))) ?? nearby(whole),
          path,
          p.message,
          p.suggestion,
        )
    } else if (schema.returns === 'bool' && result.type !== 'bool' && result.type !== 'dyn') {
      wrong.push(relative)
      problems.add('CONFIG_EXPRESSION_TYPE', whole, path, `a condition must be true or false; this expression has the type ${result.type}`)
    }
  }
  return wrong
}

/** A field as a condition. What shows that it is true or false withdraws the warning. */
function warnBare({ path: relative, value }: Marked, place: Locate, unresolved: ReadonlySet<string>, problems: Problems): void {
  if (unresolved.has(formatPath(relative))) return
  const { path, find: found } = place(relative)
  // It is read of the status of the pipeline, not of records.
  if (path[0] === 'endpoints') return
  if (found.node.kind !== 'scalar' || found.partial) return
  const text = value as string
  const message = `every record in which ${text} is not true or false is dead-lettered: write ${text} == true, ${text} > 0.0 or has(value.${text})`
  problems.warn('CONFIG_EXPRESSION_TYPE', valueSpan(found), path, message, `${text} == true`)
}
