/** The text of a step from variables and files, and its replacement in output. */
import { addSecret, secretParts } from '../kit/text/secrets.ts'
import type { Marked } from './convert.ts'
import { alternatives, type Schema } from './schema.ts'
import { formatPath, type Path, type ScalarNode } from './tree.ts'

export interface Outside {
  readonly node: ScalarNode
  /** Schema of the text; undefined: any value is valid. */
  readonly schema: Schema | undefined
  readonly path: Path
}

/** Formats of names, paths and times, which are not secret. */
const PUBLIC = new Set(['duration', 'size', 'window_size', 'timestamp', 'time_zone', 'topic', 'identifier', 'field', 'path', 'source_step'])

/** The part that may be shown; `false`: nothing. Enum values are not secret. */
const publicOf = (schema: Schema | undefined, root: Schema): boolean | 'origin' =>
  alternatives(schema, root)
    .map(s => s.public ?? (s.enum !== undefined || s.const !== undefined || PUBLIC.has(s.format ?? '')))
    .find(shown => shown !== false) ?? false

/** The templates to show, with variable names, by dotted path. The values are masked from now on. */
export function hiddenTexts(
  outside: readonly Outside[],
  config: unknown,
  secrets: readonly Marked[],
  root: Schema,
): Readonly<Record<string, string>> {
  const hidden: Record<string, string> = {}
  const marked = new Set(secrets.map(s => formatPath(s.path)))
  for (const { node, schema, path } of outside) {
    const { template, pieces } = node.substitution!
    const text = String(node.value)
    const shown = publicOf(schema, root)
    // Numbers and booleans are not secret; a value of the wrong type may be.
    if (typeof valueAt(config, path) !== 'string' || marked.has(formatPath(path)) || (shown === true && text !== '')) continue
    const parts = secretParts(
      text,
      pieces.filter(p => p.outside),
    )
    for (const part of parts) addSecret(part)
    if (shown !== 'origin' || parts.length > 0) hidden[path.join('.')] = template
  }
  return hidden
}

/** Masks the values of settings that are marked `secret`. */
export function rememberSecrets(secrets: readonly Marked[]): void {
  for (const { value } of secrets) if (typeof value === 'string') for (const part of secretParts(value)) addSecret(part)
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value as Record<string | number, unknown> | undefined
  for (const part of path) at = at?.[part] as typeof at
  return at
}
