/** Errors thrown on purpose; which one a plugin throws decides what the runtime does. */

/** Base of all errors thrown on purpose. `retryable` decides: retry with back-off, or dead-letter. Unknown errors stop the pipeline. */
export class PipelineError extends Error {
  readonly code: string
  readonly retryable: boolean
  constructor(code: string, message: string, options: { cause?: unknown; retryable?: boolean } = {}) {
    super(message, { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.retryable = options.retryable ?? false
  }
}
/** A record's bytes are not what they should be. Dead-lettered with `error_type: decode`. */
export class DecodeError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_DECODE', message, { cause })
  }
}
/** A record's content breaks a step's rules (missing field, wrong type, negative price). Dead-lettered. */
export class DataError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_DATA', message, { cause })
  }
}
/** The peer is gone or not ready: tried again with back-off. */
export class ConnectionError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_CONNECTION', message, { cause, retryable: true })
  }
}
/** The world outside the file is wrong and waiting will not help: bad credentials, missing right, taken port. Exit code 3. */
export class EnvironmentError extends PipelineError {
  constructor(message: string, cause?: unknown, code = 'PIPE_ENVIRONMENT') {
    super(code, message, { cause })
  }
}
/** State that this pipeline cannot go on from: made by other steps or from other records, or gone. Exit code 3. */
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
/** A pipeline that ran to its end says no: see `Context.report`. Exit code 4. */
export class VerdictError extends PipelineError {
  constructor(message: string) {
    super('PIPE_VERDICT', message)
  }
}
/** Another instance owns the lane now. The runtime drops the lane; nothing of it was committed. */
export class FencedError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_FENCED', message, { cause })
  }
}
/** It is not known whether the transaction was committed. The lane restores its checkpoint, which has the answer. */
export class UnknownOutcomeError extends PipelineError {
  constructor(message: string, cause?: unknown) {
    super('PIPE_UNKNOWN_OUTCOME', message, { cause, retryable: true })
  }
}
/** Some messages of a batch failed for good; the others are durable (in a transaction: part of it). Index => error. */
export class BatchError extends PipelineError {
  readonly failed: ReadonlyMap<number, Error>
  constructor(failed: ReadonlyMap<number, Error>) {
    super('PIPE_BATCH', `${failed.size} message(s) of the batch failed: ${[...failed.values()][0]?.message}`)
    this.failed = failed
  }
}
