/** Compares an expected and an actual message field by field. */
import { DLQ_HEADERS } from '../kit/dead-letter/headers.ts'
import { compareNumbers, ExactNumber, type Json, parseJson } from '../contract/plugin.ts'
import type { Channel, Expected } from './model.ts'
import type { Written } from './in-memory-sinks.ts'

/** One difference; undefined: absent. Texts are ready to print. */
export interface Difference {
  /** `value.volume`, `key`, `headers.trace`… */
  readonly path: string
  readonly expected: string | undefined
  readonly actual: string | undefined
}

export function compare(expected: Expected, actual: Written, match: Channel['match']): Difference[] {
  const out: Difference[] = []
  const plain = (path: string, want: Json | undefined, have: Json | undefined): void => {
    if (want !== undefined && want !== have) out.push({ path, expected: show(want), actual: have === undefined ? undefined : show(have) })
  }
  if ('value' in expected) {
    const value = valueOf(actual)
    if (value.text !== undefined) {
      if (value.text !== expected.value) out.push({ path: 'value', expected: show(expected.value), actual: value.shown })
    } else if (value.json === undefined) out.push({ path: 'value', expected: show(expected.value), actual: value.shown })
    else differences('value', expected.value as Json, value.json, match === 'subset', out)
  }
  if (expected.raw !== undefined && !sameBytes(expected.raw, actual.value))
    out.push({ path: 'raw', expected: showBytes(expected.raw), actual: showBytes(actual.value) })
  if (expected.key !== undefined && !sameBytes(expected.key, actual.key))
    out.push({ path: 'key', expected: showBytes(expected.key), actual: showBytes(actual.key) })
  for (const [name, want] of Object.entries(expected.headers ?? {})) plain(`headers.${name}`, want, header(actual, name))
  plain('time', expected.time, actual.time)
  plain('lane', expected.lane, actual.lane)
  plain('topic', expected.topic, actual.topic)
  plain('error_type', expected.errorType, header(actual, DLQ_HEADERS.errorType))
  plain('step', expected.step, header(actual, DLQ_HEADERS.step))
  plain('offset', expected.offset, Number(header(actual, DLQ_HEADERS.offset)))
  const message = header(actual, DLQ_HEADERS.message) ?? undefined
  if (expected.message !== undefined && !message?.includes(expected.message))
    out.push({ path: 'message', expected: `… ${expected.message} …`, actual: message })
  return distinguishable(out)
}

/** Texts that look alike, such as é in one and in two code points, with their code points. */
function distinguishable(all: Difference[]): Difference[] {
  const norm = (text: string): string => text.normalize('NFKC')
  const paths = Map.groupBy(all, ({ path }) => norm(path))
  return all.map(({ path, expected, actual }) => {
    const shown = paths.get(norm(path))!.length > 1 ? escaped(path) : path
    return expected !== undefined && actual !== undefined && norm(expected) === norm(actual)
      ? { path: shown, expected: escaped(expected), actual: escaped(actual) }
      : { path: shown, expected, actual }
  })
}

const escaped = (text: string): string => text.replace(/[^\x20-\x7e]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** The last header of that name: the runtime appends its headers to those of the source. */
export const header = (record: Written, name: string): string | null | undefined => record.headers.findLast(([n]) => n === name)?.[1]

/** The value of a record: JSON or text if its bytes are that. `shown` is always printable. */
export function valueOf(record: Written): { json?: Json; text?: string; shown: string } {
  if (record.value === null) return { shown: '(tombstone)' }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(record.value)
  } catch {
    return { shown: showBytes(record.value) }
  }
  try {
    const json = parseJson(text) as Json
    return { json, shown: show(json) }
  } catch {
    return { text, shown: showBytes(record.value) }
  }
}

function differences(path: string, want: Json | undefined, have: Json | undefined, subset: boolean, out: Difference[]): void {
  if (want === have || (isNumber(want) && isNumber(have) && compareNumbers(want, have) === 0)) return
  if (Array.isArray(want) && Array.isArray(have)) {
    for (let i = 0; i < Math.max(want.length, have.length); i++) differences(`${path}[${i}]`, want[i], have[i], subset, out)
  } else if (isMap(want) && isMap(have)) {
    for (const key of new Set([...Object.keys(want), ...Object.keys(have)])) {
      if (subset && !Object.hasOwn(want, key)) continue
      differences(`${path}.${key}`, own(want, key), own(have, key), subset, out)
    }
  } else out.push({ path, expected: want === undefined ? undefined : show(want), actual: have === undefined ? undefined : show(have) })
}

const isMap = (value: Json | undefined): value is { [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber)
const isNumber = (value: Json | undefined): value is number | ExactNumber => typeof value === 'number' || value instanceof ExactNumber
const own = (map: { [key: string]: Json }, key: string): Json | undefined => (Object.hasOwn(map, key) ? map[key] : undefined)
const sameBytes = (a: Buffer | null, b: Buffer | null): boolean => (a === null || b === null ? a === b : a.equals(b))

export const show = (value: Json | undefined): string => clip(JSON.stringify(value) ?? 'undefined')

/** Text in quotes, or hex if the bytes are not text. */
export function showBytes(data: Buffer | null): string {
  if (data === null) return 'null'
  try {
    return clip(JSON.stringify(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data.subarray(0, 4096))), data.length)
  } catch {
    return clip(`hex ${data.subarray(0, 64).toString('hex')}`, data.length)
  }
}

/** Shortens long text in the middle. */
function clip(text: string, length = text.length): string {
  if (text.length <= 400 && length <= 4096) return text
  return `${text.slice(0, 200)} … ${text.slice(-60)} (${length} long)`
}
