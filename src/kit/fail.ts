/** Dead letters for wrong data; any other error is a bug or an internal failure, and must be visible. */
import { DataError, type Message, type Output } from '../contract/plugin.ts'

/** For a `catch` in `process`: a DataError dead-letters the message, anything else is thrown on. */
export function failOn(message: Message, error: unknown, out: Output): void {
  if (!(error instanceof DataError)) throw error
  out.fail(message, error)
}

/** The result of `work`, or the problem of the data. */
export function attempt<T>(work: () => T): T | DataError {
  try {
    return work()
  } catch (error) {
    if (error instanceof DataError) return error
    throw error
  }
}
