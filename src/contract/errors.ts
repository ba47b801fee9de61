/** Errors that are thrown on purpose. The class decides how the runtime reacts. */

/** Characters of a message: peers put whole values into their errors, and each is logged. */
const LONGEST = 16_384

const shorten = (message: string): string =>
  message.length > LONGEST ? `${message.slice(0, LONGEST)}… (${message.length} characters)` : message

/**
 * Base class of all errors that are thrown on purpose. If `retryable` is true, the runtime retries with back-off; otherwise, see the
 * subclasses.
 */
export class PipelineError extends Error {
  readonly code: string
  readonly retryable: boolean
  constructor(code: string, message: string, options: { cause?: unknown; retryable?: boolean } = {}) {
    super(shorten(message), { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.retryable = options.retryable ?? false
  }
}
/** The bytes of a record do not match its format. Dead-lettered with `error_type: decode`. */
export class DecodeError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_DECODE', message, { cause })
  }
}
/** The content of a record breaks a rule of a step (missing field, wrong type, negative price). Dead-lettered. */
export class DataError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_DATA', message, { cause })
  }
}
/** The peer is unreachable or not ready. Retried with back-off. */
export class ConnectionError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_CONNECTION', message, { cause, retryable: true })
  }
}
/** A problem outside the file that waiting does not solve: wrong credentials, a missing permission, a port in use. Exit code 3. */
export class EnvironmentError extends PipelineError {
  constructor(message: string, cause?: unknown, code = 'PIPE_ENVIRONMENT') {
    super(code, message, { cause })
  }
}
/** The pipeline cannot continue from the stored state: it was made by other steps or from other records, or it is missing. Exit code 3. */
export class StateError extends EnvironmentError {
  constructor(message: string, cause?: unknown) {
    super(message, cause, 'PIPE_STATE')
  }
}
/** Another process of the pipeline is running, and the two must not run at the same time. Exit code 3. */
export class LiveConflictError extends EnvironmentError {
  constructor(message: string, cause?: unknown) {
    super(message, cause, 'PIPE_LIVE')
  }
}
/** A pipeline ran to its end with a negative result, see `Context.report`. Exit code 4. */
export class VerdictError extends PipelineError {
  constructor(message: string) {
    super('PIPE_VERDICT', message)
  }
}
/** Another instance owns the lane now. The runtime drops the lane or restores its checkpoint; the rejected write is not committed. */
export class FencedError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_FENCED', message, { cause })
  }
}
/** The outcome of a commit is unknown. The lane restores its checkpoint, which shows the outcome. */
export class UnknownOutcomeError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_UNKNOWN_OUTCOME', message, { cause, retryable: true })
  }
}
/**
 * Some messages of a batch failed permanently; the others are durable, or part of the transaction. Maps the index in the batch to the
 * error.
 */
export class BatchError extends PipelineError {
  readonly failed: ReadonlyMap<number, Error>
  constructor(failed: ReadonlyMap<number, Error>) {
    super('PIPE_BATCH', `${failed.size} message(s) of the batch failed: ${[...failed.values()][0]?.message}`)
    this.failed = failed
  }
}
