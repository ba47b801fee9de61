/** Reading event times from records. */
import { DataError, type Message } from '../../contract/plugin.ts'
import { getter, show } from './fields.ts'
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

/** Reads a message's event time from a field, or takes its own. The reader throws a `DataError` for a time that is none. */
export function timeReader(field: string | undefined, maxFuture: number): (message: Message) => number {
  if (field === undefined) return message => message.time
  const get = getter(field)
  return message => {
    const raw = get(message.value)
    const time = parseTime(raw)
    const problem = timeProblem(field, raw, time, message, maxFuture)
    if (problem) throw problem
    return time
  }
}

export function wrong(field: string, value: unknown, allowed: string): DataError {
  return new DataError(`${field} is ${show(value)}; allowed: ${allowed}`)
}
