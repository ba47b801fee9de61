/** What a partition's error code in a Produce answer means for the batch. */
import { ConnectionError, DataError, EnvironmentError, FencedError, type PipelineError } from '../../../../contract/plugin.ts'
import { TooLargeError } from '../../driver.ts'
import { internals } from '../internals.ts'

export type BatchOutcome =
  | { kind: 'ok' }
  | { kind: 'retry'; error: PipelineError; stale: boolean }
  /** Some record of it can never be written. */
  | { kind: 'refused'; error: Error; maySplit: boolean }
  | { kind: 'sequence'; error: PipelineError }
  | { kind: 'fatal'; error: PipelineError }

const DUPLICATE_SEQUENCE = 46

export function batchOutcome(code: number | undefined, topic: string, count: number): BatchOutcome {
  if (code === 0 || code === DUPLICATE_SEQUENCE) return { kind: 'ok' }
  if (code === undefined) return { kind: 'retry', error: new ConnectionError(`the broker did not answer for topic ${topic}`), stale: false }
  const what = describe(code)
  const text = `cannot write to topic ${topic}: ${what}`
  switch (code) {
    case 10: // MESSAGE_TOO_LARGE
    case 18: // RECORD_LIST_TOO_LARGE
      return {
        kind: 'refused',
        error: new TooLargeError(`the record is larger than topic ${topic} takes (its max.message.bytes)`),
        maySplit: true,
      }
    case 32: // INVALID_TIMESTAMP
    case 87: // INVALID_RECORD
      return {
        kind: 'refused',
        error: new DataError(count === 1 ? `topic ${topic} does not take the record: ${what}` : text),
        maySplit: true,
      }
    case 17: // INVALID_TOPIC_EXCEPTION
      return { kind: 'refused', error: new DataError(text), maySplit: false }
    case 45: // OUT_OF_ORDER_SEQUENCE_NUMBER
    case 59: // UNKNOWN_PRODUCER_ID
      return { kind: 'sequence', error: new ConnectionError(text) }
    case 47: // INVALID_PRODUCER_EPOCH
    case 49: // INVALID_PRODUCER_ID_MAPPING
    case 90: // PRODUCER_FENCED
      return { kind: 'fatal', error: new FencedError(`${text}; another instance has taken over`) }
    case 48: // INVALID_TXN_STATE: the coordinator has ended the transaction, by its timeout
      return { kind: 'fatal', error: new ConnectionError(text) }
    case 29: // TOPIC_AUTHORIZATION_FAILED
    case 31: // CLUSTER_AUTHORIZATION_FAILED
    case 53: // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
      return { kind: 'fatal', error: new EnvironmentError(`${text}; the broker's ACLs do not allow it`) }
    case 76: // UNSUPPORTED_COMPRESSION_TYPE
    case 43: // UNSUPPORTED_FOR_MESSAGE_FORMAT
    case 35: // UNSUPPORTED_VERSION
    case 21: // INVALID_REQUIRED_ACKS
      return { kind: 'fatal', error: new EnvironmentError(text) }
    default:
      // 3, 5, 6, 9, 56, 74, 75: the leader is elsewhere. 2, 7, 19, 20 and what is still unknown: it may pass.
      return { kind: 'retry', error: new ConnectionError(text), stale: [3, 5, 6, 9, 56, 74, 75].includes(code) }
  }
}

function describe(code: number): string {
  const e = internals().createErrorFromCode(code)
  return e.type === undefined || e.message.includes(e.type) ? e.message : `${e.message} (${e.type})`
}
