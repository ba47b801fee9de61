/** The headers that a dead letter adds to those of its record: the only place that knows their names. */
import type { Header } from '../../contract/plugin.ts'
import { redact } from '../text/secrets.ts'

/** In the order of writing. */
export const DLQ_HEADERS = {
  /** Always the first of them: a reader finds the record's own headers before its last occurrence. */
  topic: 'source_topic',
  partition: 'source_partition',
  offset: 'source_offset',
  time: 'source_timestamp',
  /** Which message of a record that became several. */
  part: 'source_part',
  pipeline: 'pipeline',
  step: 'step',
  location: 'config_location',
  errorType: 'error_type',
  message: 'error_message',
  /** Where a plugin threw what it did not mean to throw. */
  errorLocation: 'error_location',
  attempts: 'attempts',
  failedAt: 'failed_at',
  firstFailedAt: 'first_failed_at',
  sourceStep: 'source_step',
  /** Plugin type of the source: `kafka`, `redis`… Names alone do not distinguish a topic from a stream. */
  sourceType: 'source_type',
  stepInput: 'step_input',
  stepInputMissing: 'step_input_missing',
  stepKey: 'step_key',
  /** `true` where the DLQ took only the first part of the payload, by `kafka` sinks. */
  truncated: 'truncated',
  originalSize: 'original_size',
} as const

/** Header values are one line: brokers' tools and logs print them as such. */
export const messageHeader = (message: string): Header => [
  DLQ_HEADERS.message,
  redact(message)
    .replace(/\s*\n\s*/g, ' ')
    .slice(0, 2000),
]

/** Of a record that was written back to its topic: how often it has been a dead letter. */
export const ATTEMPTS = 'dlq_attempts'
