/**
 * A number in a pipeline file is a double. A number that a double cannot represent is rejected, because it would silently change; with
 * `exact` in the schema of its key, it keeps its digits.
 */
import { ExactNumber, isJsonNumber } from '../contract/plugin.ts'
import type { Problems } from './problems.ts'
import { type Schema, typesOf } from './schema.ts'
import type { Path, ScalarNode, Span } from './tree.ts'

/** The value of a number in the file: a number, or `ExactNumber` if no double has its decimal value. Not for other scalars. */
export function exactNumber(node: ScalarNode): unknown {
  const text = numberText(node.span)
  return isJsonNumber(text) ? (new ExactNumber(text).plain ?? new ExactNumber(text)) : node.value
}

/** @param schemas of the key, with the other allowed types */
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
    problems.add('CONFIG_VALUE', node.span, path, `${text} is outside the range of numbers (1.8e308): ${instead}`)
  else problems.add('CONFIG_VALUE', node.span, path, `${text} would be read as ${value}: ${instead}`)
}

/** A number as written, without a plus sign, which JSON does not allow. */
export function numberText({ source, start, end }: Span): string {
  return source.text.slice(start, end).replace(/^\+/, '')
}

function isHeld(text: string, value: number): boolean {
  if (isJsonNumber(text)) return new ExactNumber(text).plain !== undefined
  // 0x…, 0o…, .5, .inf, and defaults, whose span is their key: only integers can lose digits.
  return !Number.isInteger(value) || Number.isSafeInteger(value)
}
