/** Reading event times from records. */
import { DataError, type Message } from '../../plugin.ts'
import { show } from './fields.ts'
import { formatDuration } from './time.ts'

/** The last instant a JavaScript date can hold. */
const MAX_TIME = 8.64e15

/** Epoch ms out of an integer or a string of digits; NaN: it is neither. */
export function parseTime(raw: unknown): number {
  const time = typeof raw === 'string' && /^\d{1,16}$/.test(raw) ? Number(raw) : raw
  return typeof time === 'number' && Number.isInteger(time) && time >= 0 && time <= MAX_TIME ? time : Number.NaN
}

/** What is wrong with a time in `field`; undefined: nothing. A record whose own time is unknown (0) allows any time. */
export function timeProblem(field: string, raw: unknown, time: number, message: Message, maxFuture: number): DataError | undefined {
  if (Number.isNaN(time)) return wrong(field, raw, 'an integer, epoch milliseconds, or one as a string of digits')
  const recordTime = message.time
  if (recordTime <= 0 || time <= recordTime + maxFuture) return undefined
  const limit = `at most ${formatDuration(maxFuture)} after the record's own time ${recordTime}`
  return wrong(field, raw, `${limit}; this is ${formatDuration(time - recordTime)} after it`)
}

export function wrong(field: string, value: unknown, allowed: string): DataError {
  return new DataError(`${field} is ${show(value)}; allowed: ${allowed}`)
}
