/** Reports diagnoses of a plain value at their positions in the file. */
import type { Diagnosis } from './diagnose.ts'
import type { Problems } from './problems.ts'
import { formatPath, type Found, nearby, type Path, valueSpan } from './tree.ts'

/** Maps a path in the checked value to its path and position in the file. */
export type Locate = (path: Path) => { path: Path; find: Found }

/** Problems of unresolved values are not reported. */
export function report(
  diagnoses: readonly Diagnosis[],
  locate: Locate,
  unresolved: ReadonlySet<string>,
  problems: Problems,
  secrets: readonly string[] = [],
): void {
  for (const j of diagnoses) {
    const id = formatPath(j.path)
    if (unresolved.has(id) || (j.on === 'parent' && unresolved.has(formatPath(j.path.slice(0, -1))))) continue
    const { path, find: found } = j.on === 'parent' ? { path: locate(j.path).path, find: locate(j.path.slice(0, -1)).find } : locate(j.path)
    const node = found.node
    const hidden =
      j.on === 'value' && (secrets.includes(id) || (node.kind === 'scalar' && node.substitution?.outside === true && !found.partial))
    const written = j.on === 'value' && !found.partial ? valueSpan(found) : (found.key ?? valueSpan(found))
    const inserted = node.kind === 'scalar' && node.substitution !== undefined
    const span = j.on === 'value' && (found.partial || inserted) ? nearby(written) : written
    const origin =
      node.kind === 'scalar' && node.substitution && !found.partial && j.on === 'value' ? ` (from ${node.substitution.template})` : ''
    problems.add(j.code, span, path, `${j.message}${hidden ? '' : (j.shown ?? '')}${origin}`, hidden ? undefined : j.suggestion)
  }
}
