/** Dead letters for what is wrong with the data; anything else is a bug or a failure of ours, and has to be seen. */
import { DataError, type Message, type Output } from '../contract/plugin.ts'

/** For a `catch` in `process`: a DataError dead-letters the message, anything else is thrown on. */
export function failOn(message: Message, error: unknown, out: Output): void {
  if (!(error instanceof DataError)) throw error
  out.fail(message, error)
}

/** What `work` gives, or what is wrong with the data. */
export function attempt<T>(work: () => T): T | DataError {
  try {
    return work()
  } catch (error) {
    if (error instanceof DataError) return error
    throw error
  }
}
