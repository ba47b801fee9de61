/**
 * A number of a pipeline file is a double. One that a double does not hold would be another number, and nothing would say so: it is
 * refused, or kept as it is written where the schema of its key says `exact`.
 */
import { ExactNumber, isJsonNumber } from '../contract/plugin.ts'
import type { Problems } from './problems.ts'
import { type Schema, typesOf } from './schema.ts'
import type { Path, ScalarNode, Span } from './tree.ts'

/** What a number in the file is: a number, or `ExactNumber` when no double has its decimal value. Not for other scalars. */
export function exactNumber(node: ScalarNode): unknown {
  const text = numberText(node.span)
  return isJsonNumber(text) ? (new ExactNumber(text).plain ?? new ExactNumber(text)) : node.value
}

/** @param schemas of its key: what else may be written there */
export function checkNumber(node: ScalarNode, schemas: readonly Schema[], path: Path, problems: Problems): void {
  const text = numberText(node.span)
  const value = node.value as number
  if (node.substitution || isHeld(text, value)) return
  const types = new Set(schemas.flatMap(typesOf))
  const instead =
    !types.has('string') && (types.has('number') || types.has('integer'))
      ? 'write a number of at most 15 digits'
      : 'write it as text, in quotes'
  if (!Number.isFinite(value))
    problems.add('CONFIG_VALUE', node.span, path, `${text} is beyond the range of a number here (1.8e308): ${instead}`)
  else problems.add('CONFIG_VALUE', node.span, path, `${text} would be read as ${value}: ${instead}`)
}

/** A number as it is written, without its plus: JSON has none. */
export function numberText({ source, start, end }: Span): string {
  return source.text.slice(start, end).replace(/^\+/, '')
}

function isHeld(text: string, value: number): boolean {
  if (isJsonNumber(text)) return new ExactNumber(text).plain !== undefined
  // 0x…, 0o…, .5, .inf, and defaults, whose place is that of their key: only whole ones can lose something that a person has written.
  return !Number.isInteger(value) || Number.isSafeInteger(value)
}
