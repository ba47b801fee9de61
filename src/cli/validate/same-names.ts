/** Files that are valid but cannot run at the same time: they have the same identity, see docs/adr/0034. */
import { readFileSync } from 'node:fs'
import type { Pipeline, Problem } from '../../config/model.ts'
import { consumerGroupOf } from '../../config/traits.ts'

/** @returns one warning per file that has the name, version and groups of an earlier one. */
export function sameNames(pipelines: readonly Pipeline[]): Problem[] {
  const first = new Map<string, Pipeline>()
  return pipelines.flatMap(pipeline => {
    const groups = pipeline.sources.map(s => consumerGroupOf(s) ?? pipeline.name).sort()
    const identity = JSON.stringify([pipeline.name, pipeline.version, groups])
    const other = first.get(identity)
    if (!other) {
      first.set(identity, pipeline)
      return []
    }
    return [
      {
        code: 'CONFIG_NAME_TWICE',
        severity: 'warning',
        file: pipeline.file,
        ...placeOfName(pipeline.file),
        path: 'name',
        message: `${other.file} has the same name ${pipeline.name} and version ${pipeline.version}: only one of the two can run at a time, and it uses the state of the other; rename one of them`,
      },
    ]
  })
}

/** The line of `name:`; the first line if the name is not in the file. */
function placeOfName(file: string): Pick<Problem, 'line' | 'column' | 'endLine' | 'endColumn'> {
  const lines = readFileSync(file, 'utf8').split('\n')
  const line = lines.findIndex(text => /^name\s*:/.test(text))
  return line < 0
    ? { line: 1, column: 1, endLine: 1, endColumn: 2 }
    : { line: line + 1, column: 1, endLine: line + 1, endColumn: lines[line].trimEnd().length + 1 }
}
