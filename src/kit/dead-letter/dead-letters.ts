/** A dead letter: the original bytes and key of the source record, with headers for its origin and its error. */
import { ATTEMPTS, DLQ_HEADERS, messageHeader } from './headers.ts'
import { typeOfCode } from '../../contract/error-codes.ts'
import { DataError, type Header, Message, type Origin, PipelineError } from '../../contract/plugin.ts'
import { PluginError } from '../plugin-error.ts'
import { MAX_TIME } from '../values/time.ts'

/** Why a record is dead-lettered: the step, its line in the pipeline file, the error. */
export interface Failure {
  readonly step: string
  /** Where the step is configured. */
  readonly at: { readonly file: string; readonly line: number }
  readonly error: Error
}

/** `decode`, `data`, `late`: the codes of docs/errors.md; for any other error its class name. */
export function errorType(error: Error): string {
  if (error instanceof PluginError) return error.thrown.name
  return error instanceof PipelineError ? typeOfCode(error.code) : error.name
}

/**
 * Origin of a dead letter that runs again: that of the source record, so that every step sees the same record as before. If it fails again,
 * its new dead letter names the same source, with one more attempt.
 */
export interface ReplayOrigin extends Origin {
  readonly at: number
  /** The headers that the next dead letter of the record keeps. */
  readonly replay: {
    readonly attempts: number
    readonly firstFailedAt: string | undefined
    readonly sourceType: string | undefined
    taken(message: Message): void
  }
}

/** Set on a message that was a dead letter and runs again. */
export const replayOf = ({ origin }: Message): ReplayOrigin['replay'] | undefined => (origin as ReplayOrigin | undefined)?.replay

/** A header larger than this is not worth its size: the record can still be replayed from its source. Bytes. */
const MAX_STEP_INPUT = 128 * 1024
/** Both together must fit where the record alone would; brokers accept a megabyte by default. */
const MAX_DEAD_LETTER = 768 * 1024

/** The pipeline as its dead letters name it. */
export interface DeadLetterOwner {
  readonly name: string
  readonly sources: readonly { readonly name: string; readonly type: string }[]
}

/** `now`: epoch ms. */
export function deadLetter(message: Message, failure: Failure, pipeline: DeadLetterOwner, now: number): Message {
  const { origin } = message
  const { error } = failure
  const replay = replayOf(message)
  const before = replay?.attempts ?? attemptsOf(lastHeader(message.headers, ATTEMPTS))
  const payload = original(message)
  const failedAt = new Date(now).toISOString()
  const headers: Header[] = [
    ...(message.headers ?? []),
    [DLQ_HEADERS.topic, origin?.topic ?? origin?.lane ?? ''],
    [DLQ_HEADERS.partition, String(origin?.partition ?? 0)],
    [DLQ_HEADERS.offset, String(message.offset)],
    // A plugin may have set any value; if it is not a valid date it is left out, and the dead letter has its own date.
    ...(Math.abs(message.time) <= MAX_TIME ? [[DLQ_HEADERS.time, String(message.time)] as const] : []),
    ...(message.part === undefined ? [] : [[DLQ_HEADERS.part, message.part] as const]),
    [DLQ_HEADERS.pipeline, pipeline.name],
    [DLQ_HEADERS.step, failure.step],
    [DLQ_HEADERS.location, `${failure.at.file}:${failure.at.line}`],
    [DLQ_HEADERS.errorType, errorType(failure.error)],
    messageHeader((error instanceof PluginError ? error.thrown : error).message),
    // Where in a plugin an unexpected error was thrown.
    ...(error instanceof PluginError && error.location !== undefined ? [[DLQ_HEADERS.errorLocation, error.location] as const] : []),
    [DLQ_HEADERS.attempts, String(before + 1)],
    [DLQ_HEADERS.failedAt, failedAt],
  ]
  if (replay) headers.push([DLQ_HEADERS.firstFailedAt, replay.firstFailedAt ?? failedAt])
  if (origin) {
    headers.push([DLQ_HEADERS.sourceStep, origin.source])
    const type = replay ? replay.sourceType : pipeline.sources.find(s => s.name === origin.source)?.type
    if (type !== undefined) headers.push([DLQ_HEADERS.sourceType, type])
  }
  addStepInput(headers, message, payload)
  return new Message(
    payload,
    message.offset >= 0 || origin ? undefined : message.key,
    // Dated by the time of its failure: with the date of the record, a topic could delete it immediately, or reject it as it rejected the
    // record.
    now,
    headers,
    message.offset,
    origin,
    message.payload,
    message.keyBytes,
  )
}

/** The value at the step, if it differs from the source record: a replay at the step needs it. */
function addStepInput(headers: Header[], message: Message, payload: Buffer | null): void {
  const sourced = message.payload !== null || (message.origin !== undefined && message.offset >= 0)
  if (!sourced) return
  if (message.changed) {
    const input = stepInput(message.value)
    if (input !== undefined && input.length <= MAX_STEP_INPUT && input.length + (payload?.length ?? 0) <= MAX_DEAD_LETTER)
      headers.push([DLQ_HEADERS.stepInput, input])
    else headers.push([DLQ_HEADERS.stepInputMissing, input === undefined ? 'no JSON' : 'too large'])
  }
  const key = message.encodeKey()
  if (key !== message.keyBytes) headers.push([DLQ_HEADERS.stepKey, key])
}

/** The header is untrusted. */
const attemptsOf = (text: string | undefined): number => (/^\d{1,9}$/.test(text ?? '') ? Number(text) : 0)

/** JSON text; undefined: JSON cannot represent it. */
function stepInput(value: unknown): string | undefined {
  if (Buffer.isBuffer(value)) return undefined
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

const lastHeader = (headers: readonly Header[] | undefined, name: string): string | undefined =>
  headers?.findLast(([n, value]) => n === name && value !== null)?.[1]?.toString()

/** The bytes of the source; for a message without any, its current value. */
function original(message: Message): Buffer | null {
  if (message.payload !== null) return message.payload
  if (message.origin && message.offset >= 0 && !message.changed) return null
  try {
    const encoded = message.encode()
    return typeof encoded === 'string' ? Buffer.from(encoded) : encoded
  } catch (error) {
    // This may be the error of the record; its dead letter must still be written.
    if (error instanceof DataError) return null
    throw error
  }
}

/** A record that can neither be processed nor dead-lettered: the pipeline stops before it. */
export class UnhandledRecord extends Error {
  constructor(message: Message, failure: Failure) {
    const { step, at, error } = failure
    const where = message.origin ? `${message.origin.lane} offset ${message.offset}` : 'a record without a source position'
    const [what, remedy] =
      error instanceof PluginError
        ? [
            error.headline(where),
            "Correct the plugin, or add a 'dlq:' section. To reject a record on purpose, call out.fail(message, new DataError('…')).",
          ]
        : [`step '${step}' (${at.file}:${at.line}) rejected ${where}: ${error.message}`, "Add a 'dlq:' section, or correct the record."]
    super(`${what}\n  The pipeline has no dlq for the record and stops; nothing after this record is committed. ${remedy}`, {
      cause: error,
    })
    this.name = 'UnhandledRecord'
  }
}
