/** Collects findings with their line of text, so reports do not need the file. */
import type { Code } from './codes.ts'
import { replacement } from './fix.ts'
import type { Problem } from './model.ts'
import { redact } from '../kit/text/secrets.ts'
import { formatPath, OBJECT, type Path, type Span } from './tree.ts'

/** A file with more findings than this is probably not a pipeline file. */
const MAX_PROBLEMS = 500

const excerpts = new WeakMap<Problem, string>()

/** The line of a problem, with values of secret keys masked; undefined if there is none (the file could not be read). */
export const excerptOf = (problem: Problem): string | undefined => excerpts.get(problem)

export interface Finding {
  readonly code: Code
  readonly span: Span
  readonly path: Path
  readonly message: string
  readonly suggestion?: string
  readonly severity?: 'error' | 'warning'
  /** Position in another file. */
  readonly place?: { readonly file: string; readonly line: number; readonly column: number }
}

export class Problems {
  private readonly findings: Finding[] = []
  private readonly secrets: Span[] = []
  private added = 0

  add(code: Code, span: Span, path: Path, message: string, suggestion?: string): void {
    this.added++
    if (this.findings.length < MAX_PROBLEMS) this.findings.push({ code, span, path, message, suggestion })
  }

  /** Removes a finding at this position: another problem replaces it. */
  withdraw(code: Code, { source, start }: Span): void {
    const at = this.findings.findIndex(f => f.code === code && f.span.source === source && f.span.start === start)
    if (at < 0) return
    const [found] = this.findings.splice(at, 1)
    if (found.severity !== 'warning') this.added--
  }

  /** Adds a problem in another file, which is named at `span`. Its text is not shown: it could be any file on the machine. */
  addElsewhere(code: Code, place: NonNullable<Finding['place']>, span: Span, path: Path, message: string, suggestion?: string): void {
    const { line, column } = span.source.position(span.start)
    const by = span.source.file === OBJECT ? formatPath(path) : `${span.source.file}:${line}:${column}`
    this.added++
    if (this.findings.length < MAX_PROBLEMS)
      this.findings.push({ code, span, path, message: `${message} (read by ${by})`, suggestion, place })
  }

  /** Adds a warning: the file stays valid. */
  warn(code: Code, span: Span, path: Path, message: string, suggestion?: string): void {
    if (this.findings.length < MAX_PROBLEMS) this.findings.push({ code, span, path, message, suggestion, severity: 'warning' })
  }

  /** Marks secret text: excerpts never show it. */
  mask(span: Span): void {
    this.secrets.push(span)
  }

  /** Whether there is an error at or below the path. */
  hasBelow(path: Path): boolean {
    return this.findings.some(f => f.severity !== 'warning' && path.every((part, i) => f.path[i] === part))
  }

  /** No errors; there may be warnings. */
  get empty(): boolean {
    return this.added === 0
  }

  /** Number of errors, including those beyond the limit of the list. */
  get count(): number {
    return this.added
  }

  /** Sorted by position, without duplicates. */
  list(): Problem[] {
    const seen = new Set<string>()
    const out: Problem[] = []
    for (const finding of this.findings) {
      const problem = this.toProblem(finding)
      const id = JSON.stringify(problem)
      if (seen.has(id)) continue
      seen.add(id)
      if (!finding.place) excerpts.set(problem, this.excerpt(finding.span))
      out.push(problem)
    }
    return out.sort(
      (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column || (a.code < b.code ? -1 : 1),
    )
  }

  private toProblem({ code, span, path, message, suggestion, severity, place }: Finding): Problem {
    const said = {
      path: formatPath(path),
      message: redact(message) + usedBy(span),
      ...(suggestion === undefined ? {} : { suggestion: redact(suggestion) }),
    }
    if (place) return { code, severity: 'error', ...place, endLine: place.line, endColumn: place.column + 1, ...said }
    const from = span.source.position(span.start)
    const to = span.source.position(Math.max(span.end, span.start))
    // A caret needs at least one column.
    const empty = to.line === from.line && to.column === from.column
    const text = suggestion === undefined || code === 'CONFIG_MISSING_KEY' ? undefined : replacement(span, said.suggestion!)
    return {
      code,
      severity: severity ?? 'error',
      file: span.source.file,
      line: from.line,
      column: from.column,
      endLine: to.line,
      endColumn: empty ? to.column + 1 : to.column,
      ...said,
      ...(text !== undefined && { fix: { line: from.line, column: from.column, endLine: to.line, endColumn: to.column, text } }),
    }
  }

  private excerpt({ source, start }: Span): string {
    const { line } = source.position(start)
    const from = source.lineStart(line)
    let text = source.line(line)
    for (const secret of this.secrets) {
      if (secret.source !== source) continue
      const a = Math.max(secret.start - from, 0)
      const b = Math.min(secret.end - from, text.length)
      if (a < b) text = text.slice(0, a) + '*'.repeat(b - a) + text.slice(b)
    }
    return text
  }
}

/** The way from the pipeline file to a place in a shared file. */
function usedBy({ source: { use } }: Span): string {
  if (use === undefined) return ''
  const { source, start } = use.at
  const { line, column } = source.position(start)
  return ` (used by ${source.file}:${line}:${column}${usedBy(use.at)
    .replace(/^ \(used by /, ', ')
    .replace(/\)$/, '')})`
}
