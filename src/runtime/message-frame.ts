/** Key, time and headers of the messages that external plugins emit. */
import { keyTextOf, type Message } from '../contract/plugin.ts'
import { MAX_TIME } from '../kit/values/time.ts'

/**
 * Describes wrong keys, times or headers that a plugin set, and replaces them by those of the record or by none, so that a dead letter can
 * be written.
 */
export function mendFrame(message: Message): string | undefined {
  const { key, time, headers } = message
  const goodKey = isKey(key)
  const goodTime = isTime(time)
  const goodHeaders = areHeaders(headers)
  if (goodKey && goodTime && goodHeaders) return undefined
  const problems: string[] = []
  if (!goodKey) {
    problems.push(`its key is ${a(key)}, not a string or null`)
    message.key = message.keyBytes === null ? null : keyTextOf(message.keyBytes)
  }
  if (!goodTime) {
    problems.push(`its time is ${typeof time === 'number' ? time : a(time)}, not epoch milliseconds`)
    message.time = isTime(message.recordTime) ? message.recordTime : 0
  }
  if (!goodHeaders) {
    problems.push('its headers are not a list of [name, string, Buffer or null]')
    message.headers = undefined
  }
  return problems.join('; ')
}

export const a = (value: unknown): string =>
  value === undefined ? 'undefined' : `${typeof value === 'object' ? 'an' : 'a'} ${typeof value}`

const isKey = (key: unknown): boolean => key === null || typeof key === 'string'
const isTime = (time: unknown): boolean => typeof time === 'number' && Math.abs(time) <= MAX_TIME
const areHeaders = (headers: unknown): boolean => headers === undefined || (Array.isArray(headers) && headers.every(isHeader))

function isHeader(header: unknown): boolean {
  if (!Array.isArray(header) || typeof header[0] !== 'string') return false
  const value: unknown = header[1]
  return value === null || typeof value === 'string' || Buffer.isBuffer(value)
}
