import type { FileResult } from '../validate.ts'

const data = (text: string): string => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
const property = (text: string): string => data(text).replaceAll(':', '%3A').replaceAll(',', '%2C')

/** Workflow commands: GitHub shows them beside the changed lines. */
export function formatGithub(results: readonly FileResult[]): string {
  return results
    .flatMap(r => r.problems)
    .map(p => {
      const meant = p.suggestion === undefined ? '' : ` (did you mean: ${p.suggestion})`
      // GitHub ignores columns of a range over several lines.
      const columns = p.endLine === p.line ? `,col=${p.column},endColumn=${p.endColumn}` : `,col=${p.column}`
      return `::${p.severity} file=${property(p.file)},line=${p.line},endLine=${p.endLine}${columns},title=${property(p.code)}::${data(p.message + meant)}\n`
    })
    .join('')
}
