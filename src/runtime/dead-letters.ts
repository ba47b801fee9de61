/** A dead letter is the source record's own bytes and key, with headers that say where it came from and why it died. */
import { type Header, Message, PipelineError } from '../plugin.ts'
import type { Location } from './config/model.ts'

export interface Failure {
  readonly step: string
  readonly at: Location
  readonly error: Error
}

/** `decode`, `data`, `sink_batch`… from our codes; a foreign error's class name. */
export function errorType(error: Error): string {
  return error instanceof PipelineError ? error.code.replace(/^PIPE_/, '').toLowerCase() : error.name
}

export function deadLetter(message: Message, failure: Failure, pipeline: string): Message {
  const origin = message.origin
  const headers: Header[] = [
    ...(message.headers ?? []),
    ['source_topic', origin?.topic ?? origin?.lane ?? ''],
    ['source_partition', String(origin?.partition ?? 0)],
    ['source_offset', String(message.offset)],
    ['source_timestamp', String(message.time)],
    ...(message.part === undefined ? [] : [['source_part', message.part] as const]),
    ['pipeline', pipeline],
    ['step', failure.step],
    ['config_location', `${failure.at.file}:${failure.at.line}`],
    ['error_type', errorType(failure.error)],
    // Header values are one line: brokers' tools and logs print them as such.
    ['error_message', failure.error.message.replace(/\s*\n\s*/g, ' ').slice(0, 2000)],
  ]
  return new Message(
    original(message),
    message.offset >= 0 || origin ? undefined : message.key,
    message.time,
    headers,
    message.offset,
    origin,
    message.payload,
    message.keyBytes,
  )
}

/** The source's bytes; a message that never had any is written as it stands. */
function original(message: Message): Buffer | null {
  if (message.payload !== null) return message.payload
  if (message.origin && message.offset >= 0 && !message.changed) return null
  const encoded = message.encode()
  return typeof encoded === 'string' ? Buffer.from(encoded) : encoded
}

/** A record that can neither be processed nor put aside: the pipeline stops in front of it. */
export class UnhandledRecord extends Error {
  constructor(message: Message, failure: Failure) {
    const { step, at, error } = failure
    const where = message.origin ? `${message.origin.lane} offset ${message.offset}` : 'a record without a source position'
    super(
      `step '${step}' (${at.file}:${at.line}) refused ${where}: ${error.message}\n  There is no dlq to put it in, so the pipeline stops; nothing past this record is committed. Add a 'dlq:' section, or mend the record.`,
      { cause: error },
    )
    this.name = 'UnhandledRecord'
  }
}
