/** The JSON report. */
import { DLQ_HEADERS } from '../kit/dead-letter/headers.ts'
import type { Problem } from '../config/model.ts'
import type { Difference } from './compare.ts'
import { header, valueOf } from './compare.ts'
import type { FileResult } from './engine.ts'
import type { Row } from './align.ts'
import type { Failure } from './run.ts'

/** The tests of one file. */
export interface TestFileReport {
  readonly file: string
  readonly ok: boolean
  readonly problems: readonly Problem[]
  readonly tests: readonly TestReport[]
}
export interface TestReport {
  readonly name: string
  readonly ok: boolean
  /** First line in the file. */
  readonly line: number
  /** Real time. */
  readonly seconds: number
  /** Hash of all outputs. */
  readonly hash: string
  readonly failures: readonly TestFailure[]
}
export interface TestFailure {
  readonly kind: Failure['kind']
  /** The failed expectation: `outputs.kafka`, `dead_letters`, `metrics.filter.out`, `error`. */
  readonly what: string
  readonly file: string
  readonly line: number
  readonly column: number
  readonly message?: string
  readonly expected?: number
  readonly actual?: number | null
  /** Records that are missing, unexpected, or differ. */
  readonly messages?: readonly unknown[]
}
export interface TestsReport {
  readonly ok: boolean
  readonly summary: Readonly<Record<'files' | 'tests' | 'passed' | 'failed' | 'problems', number>>
  readonly files: readonly TestFileReport[]
}

export function toJson(files: readonly FileResult[]): TestsReport {
  const tests = files.flatMap(f => f.results)
  const failed = tests.filter(t => t.failures.length > 0).length
  const problems = files.reduce((n, f) => n + f.problems.length, 0)
  return {
    ok: failed === 0 && problems === 0,
    summary: { files: files.length, tests: tests.length, passed: tests.length - failed, failed, problems },
    files: files.map(f => ({
      file: f.file,
      ok: f.problems.length === 0 && f.results.every(r => r.failures.length === 0),
      problems: f.problems,
      tests: f.results.map(r => ({
        name: r.test.name,
        ok: r.failures.length === 0,
        line: r.test.at.line,
        seconds: Math.round(r.seconds * 1e6) / 1e6,
        hash: r.hash,
        failures: r.failures.map(failureOf),
      })),
    })),
  }
}

function failureOf(failure: Failure): TestFailure {
  const { kind, what, at } = failure
  const base = { kind, what, ...at }
  if (failure.kind === 'metric') return { ...base, expected: failure.expected, actual: failure.actual ?? null }
  if (failure.kind === 'error') return { ...base, message: failure.text }
  return {
    ...base,
    ...(failure.kind === 'repeat' && { message: failure.text }),
    messages: failure.rows.filter(r => r.kind !== 'same').map(rowOf),
  }
}

function rowOf(row: Row): unknown {
  const expected = 'expected' in row ? { line: row.expected.at.line, column: row.expected.at.column } : {}
  if (row.kind === 'missing') return { kind: row.kind, ...expected }
  const { actual } = row
  const value = valueOf(actual)
  const record = {
    lane: actual.lane,
    key: actual.key?.toString() ?? null,
    ...(value.json === undefined ? { raw: actual.value?.toString('base64') ?? null } : { value: value.json }),
    ...(header(actual, DLQ_HEADERS.errorType) !== undefined && {
      error_type: header(actual, DLQ_HEADERS.errorType),
      step: header(actual, DLQ_HEADERS.step),
      message: header(actual, DLQ_HEADERS.message),
    }),
  }
  const differences: readonly Difference[] | undefined = row.kind === 'changed' ? row.differences : undefined
  return { kind: row.kind, ...expected, ...(differences && { differences }), actual: record }
}
