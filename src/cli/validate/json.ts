import type { FileResult } from '../validate.ts'

/** The machine-readable report; its shape is stable. */
export function formatJson(results: readonly FileResult[]): string {
  const files = results.map(({ file, ok, problems }) => ({
    file,
    ok,
    problems: problems.map(p => ({
      code: p.code,
      severity: p.severity,
      line: p.line,
      column: p.column,
      endLine: p.endLine,
      endColumn: p.endColumn,
      path: p.path,
      message: p.message,
      suggestion: p.suggestion ?? null,
      fix: p.fix ?? null,
      ...(p.file === file ? {} : { file: p.file }),
    })),
  }))
  return `${JSON.stringify({ ok: results.every(r => r.ok), files }, null, 2)}\n`
}
