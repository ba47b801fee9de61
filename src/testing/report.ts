/** The text report: a line per test, and for a failed test the expected and actual messages. */
import { DLQ_HEADERS } from '../kit/dead-letter/headers.ts'
import type { Location } from '../config/model.ts'
import type { Row } from './align.ts'
import { header, show, showBytes, valueOf } from './compare.ts'
import type { Expected } from './model.ts'
import type { ChannelId, Failure, TestResult } from './run.ts'
import type { Written } from './in-memory-sinks.ts'

export type Style = 'good' | 'bad' | 'dim' | 'bold'
/** Applies a style, or returns the text unchanged. */
export type Paint = (style: Style, text: string) => string

export const plain: Paint = (_style, text) => text

/** Maximum number of differing messages shown per list; the rest is counted. */
const MAX_ROWS = 20

export function testLine(result: TestResult, paint: Paint): string {
  const time = paint('dim', `${Math.round(result.seconds * 1000)} ms`)
  const { name } = result.test
  return result.failures.length === 0
    ? `  ${paint('good', '✓ ok    ')}  ${name}  ${time}`
    : `  ${paint('bad', '✗ FAILED')}  ${paint('bold', name)}  ${time}`
}

/** Indented by four spaces. */
export function failureText(failure: Failure, paint: Paint): string {
  const lines = [`${paint('bold', failure.what)}  ${paint('dim', place(failure.at))}`, ...body(failure, paint).map(l => `  ${l}`)]
  return lines.map(l => `    ${l}`.trimEnd()).join('\n')
}

function body(failure: Failure, paint: Paint): string[] {
  if (failure.kind === 'error') return failure.text.split('\n').map(l => paint('bad', l))
  if (failure.kind === 'metric')
    return [
      ...both(String(failure.expected), failure.actual === undefined ? 'nothing' : String(failure.actual), paint),
      ...(failure.hint ? [failure.hint] : []),
    ]
  const lines: string[] = []
  if (failure.kind === 'repeat') lines.push(paint('bad', failure.text))
  else if (failure.count)
    lines.push('number of messages', ...both(String(failure.count[0]), String(failure.count[1]), paint).map(l => `  ${l}`))
  else if (!failure.expectation) lines.push(paint('bad', 'not checked by any expect'))
  let same = 0
  let shown = 0
  const flush = (): void => {
    if (same > 0) lines.push(paint('dim', `  ${same === 1 ? '1 message' : `${same} messages`} as expected`))
    same = 0
  }
  for (const [i, row] of failure.rows.entries()) {
    if (row.kind === 'same') {
      same++
      continue
    }
    flush()
    if (shown++ === MAX_ROWS) {
      lines.push(paint('dim', `  … and ${failure.rows.slice(i).filter(r => r.kind !== 'same').length} more`))
      break
    }
    lines.push(...rowLines(row, failure.channel, paint))
  }
  flush()
  return lines
}

function rowLines(row: Row, channel: ChannelId, paint: Paint): string[] {
  if (row.kind === 'missing')
    return [`${paint('good', '-')} missing  ${paint('dim', place(row.expected.at))}`, `    ${paint('good', expectedText(row.expected))}`]
  if (row.kind === 'unexpected') return [`${paint('bad', '+')} unexpected`, `    ${paint('bad', writtenText(row.actual, channel))}`]
  if (row.kind === 'same') return []
  return [
    `~ different  ${paint('dim', place(row.expected.at))}  ${paint('dim', origin(row.actual))}`,
    ...row.differences.flatMap(d => [
      `    ${d.path}`,
      ...both(d.expected ?? 'nothing', d.actual ?? 'nothing', paint).map(l => `      ${l}`),
    ]),
  ]
}

const both = (expected: string, actual: string, paint: Paint): string[] => [
  `expected  ${paint('good', expected)}`,
  `actual    ${paint('bad', actual)}`,
]

function writtenText(record: Written, channel: ChannelId): string {
  const parts = [valueOf(record).shown, ...(record.key === null ? [] : [`key ${showBytes(record.key)}`])]
  if (channel.kind === 'dlq')
    parts.push(`${header(record, DLQ_HEADERS.step)}: ${header(record, DLQ_HEADERS.errorType)}: ${header(record, DLQ_HEADERS.message)}`)
  parts.push(origin(record))
  return parts.join('  ')
}

function origin(record: Written): string {
  const offset = header(record, DLQ_HEADERS.offset)
  return `(from ${record.lane}${offset === undefined ? '' : ` offset ${offset}`})`
}

function expectedText(expected: Expected): string {
  const { value, raw, key, errorType, step, message, offset } = expected
  const parts = [
    value === undefined ? undefined : show(value),
    raw === undefined ? undefined : showBytes(raw),
    key === undefined ? undefined : `key ${showBytes(key)}`,
    step === undefined && errorType === undefined && message === undefined
      ? undefined
      : [step, errorType, message].filter(x => x !== undefined).join(': '),
    offset === undefined ? undefined : `offset ${offset}`,
  ]
  return parts.filter(p => p !== undefined).join('  ')
}

const place = ({ file, line, column }: Location): string => `${file}:${line}:${column}`
