/** The headers that a dead letter adds to those of its record. Their names are defined only here. */
import type { Header } from '../../contract/plugin.ts'
import { redact } from '../text/secrets.ts'

/** In the order of writing. */
export const DLQ_HEADERS = {
  /** Always the first of them: the record's own headers are before its last occurrence. */
  topic: 'source_topic',
  partition: 'source_partition',
  offset: 'source_offset',
  time: 'source_timestamp',
  /** The index of the message, if a record became several. */
  part: 'source_part',
  pipeline: 'pipeline',
  step: 'step',
  location: 'config_location',
  errorType: 'error_type',
  message: 'error_message',
  /** Where in a plugin an unexpected error was thrown. */
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
  /** `true` if the DLQ has only the first part of the payload; set by `kafka` sinks. */
  truncated: 'truncated',
  originalSize: 'original_size',
} as const

/** Header values are one line, because tools of brokers and logs print them as they are. */
export const messageHeader = (message: string): Header => [
  DLQ_HEADERS.message,
  redact(message)
    .replace(/\s*\n\s*/g, ' ')
    .slice(0, 2000),
]

/** For a record that was written back to its topic: how often it has been a dead letter. */
export const ATTEMPTS = 'dlq_attempts'
