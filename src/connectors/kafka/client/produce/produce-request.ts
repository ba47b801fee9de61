/**
 * A Produce request and its outcome: the request (v3 to v7), made of finished record batches instead of kafkajs' message objects; the
 * meaning of each partition's error code; and the outcome of its batch: settled, repeated, split, or everything failed.
 */
import type { Logger } from '../../../../contract/plugin.ts'
import { ConnectionError, DataError, EnvironmentError, FencedError, type PipelineError } from '../../../../contract/plugin.ts'
import { monotonic } from '../../../../kit/clock.ts'
import { TooLargeError } from '../../driver.ts'
import { type Broker, type Encoded, internals } from '../internals.ts'
import type { Batch, PartitionQueue } from './batch.ts'

export interface ProduceBatch {
  readonly topic: string
  readonly partition: number
  readonly bytes: Buffer
}
export interface ProduceOptions {
  readonly acks: -1 | 0 | 1
  readonly transactionalId: string | null
  /** How long the broker may wait for its replicas. */
  readonly timeoutMs: number
}
export interface ProduceResult {
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
}

/** Undefined with `acks: 0`: there is no response. */
export async function produce(
  broker: Broker,
  batches: readonly ProduceBatch[],
  options: ProduceOptions,
): Promise<ProduceResult[] | undefined> {
  const { apiKeys, requests, Encoder } = internals()
  const { request, response } = broker.lookupRequest(
    apiKeys.Produce,
    requests.Produce,
  )({ acks: options.acks, timeout: options.timeoutMs, topicData: [] })
  if (request.apiVersion < 3) throw new Error('the broker is older than Kafka 0.11')
  const byTopic = new Map<string, ProduceBatch[]>()
  for (const batch of batches) {
    const list = byTopic.get(batch.topic)
    if (list === undefined) byTopic.set(batch.topic, [batch])
    else list.push(batch)
  }
  const encode = async () => {
    const parts: Buffer[] = [
      new Encoder(64).writeString(options.transactionalId).writeInt16(options.acks).writeInt32(options.timeoutMs).writeInt32(byTopic.size)
        .buffer,
    ]
    for (const [topic, list] of byTopic) {
      parts.push(new Encoder(topic.length + 8).writeString(topic).writeInt32(list.length).buffer)
      for (const { partition, bytes } of list) {
        const head = Buffer.allocUnsafe(8)
        head.writeInt32BE(partition, 0)
        head.writeInt32BE(bytes.length, 4)
        parts.push(head, bytes)
      }
    }
    return joined(parts)
  }
  const data = await broker.connectionPool.send<any>({
    request: { ...request, encode },
    // kafkajs' parse throws the first partition's error and hides the others.
    response: { decode: response.decode, parse: async d => d },
  })
  if (data === undefined) return undefined
  return (data.topics as any[]).flatMap(t =>
    (t.partitions as any[]).map(p => ({
      topic: t.topicName as string,
      partition: p.partition as number,
      errorCode: p.errorCode as number,
    })),
  )
}

/** Also for kafkajs' own framing, in case other code in the process loaded it before ours was installed. */
function joined(parts: readonly Buffer[]): Encoded {
  let buffer: Buffer | undefined
  return {
    parts,
    get buffer() {
      return (buffer ??= Buffer.concat(parts))
    },
    get buf() {
      return this.buffer
    },
  }
}

/** Kafka's default `delivery.timeout.ms`. */
export const DELIVERY_TIMEOUT = 120_000
const WARN_AFTER_ATTEMPTS = 5

export interface Sent {
  readonly queue: PartitionQueue
  readonly batch: Batch
}

export interface ResponseHost {
  readonly log: Logger
  /** The leader of the topic's partitions has moved. */
  stale(topic: string): void
  /** The broker has lost the producer id: request a new one when no request is in progress. */
  forget(error: PipelineError): void
  /** The waiting batches will not be acknowledged in time. */
  giveUp(error: PipelineError): void
  /** Nothing will ever be acknowledged. */
  fail(error: PipelineError): void
}

/** @param results undefined with `acks: 0`: there is no response, and it counts as success. */
export function handleProduceResponse(request: readonly Sent[], results: readonly ProduceResult[] | undefined, host: ResponseHost): void {
  for (const { queue, batch } of request) {
    const code = results === undefined ? 0 : results.find(r => r.partition === queue.partition && r.topic === queue.topic)?.errorCode
    const v = batchOutcome(code, queue.topic, batch.count)
    if (v.kind === 'ok') {
      queue.remove(batch)
      queue.known = true
      batch.acked()
    } else if (v.kind === 'retry') {
      if (v.stale) host.stale(queue.topic)
      retryBatches(queue, v.error, host)
    } else if (v.kind === 'rejected') rejectBatch(queue, batch, v.error, v.maySplit)
    else if (v.kind === 'sequence') outOfSequence(queue, batch, v.error, host)
    else host.fail(v.error)
  }
}

/** The batches of the queue must be sent again, in order, after all its requests have returned. */
export function retryBatches(queue: PartitionQueue, error: PipelineError, host: ResponseHost): void {
  queue.recovering = true
  const oldest = queue.sent[0]
  if (oldest === undefined) return
  if (oldest.attempts === WARN_AFTER_ATTEMPTS) {
    host.log.warn({ topic: queue.topic, partition: queue.partition, error: error.message }, 'Kafka producer: retrying')
  }
  queue.notBefore = monotonic() + Math.min(1000, 20 * 2 ** Math.min(oldest.attempts, 6))
  if (monotonic() - oldest.createdAt < DELIVERY_TIMEOUT) return
  // Later records must not overtake the failed ones, so all fail.
  host.giveUp(new ConnectionError(`not acknowledged within ${DELIVERY_TIMEOUT / 1000} s: ${error.message}`, error))
}

/** The broker will never accept this batch: find the record that causes it. */
function rejectBatch(queue: PartitionQueue, batch: Batch, error: Error, maySplit: boolean): void {
  const at = queue.sent.indexOf(batch)
  if (at < 0) return
  if (batch.sequence >= 0) {
    queue.resequenceFrom = queue.resequenceFrom < 0 ? batch.sequence : Math.min(queue.resequenceFrom, batch.sequence)
  }
  queue.recovering = true
  if (batch.count === 1 || !maySplit) {
    queue.sent.splice(at, 1)
    batch.reject(error)
    return
  }
  const halves = batch.split(queue.topic)
  for (const half of halves) half.seal()
  queue.sent.splice(at, 1, ...halves)
}

function outOfSequence(queue: PartitionQueue, batch: Batch, error: PipelineError, host: ResponseHost): void {
  // After a failed batch this is expected.
  if (queue.recovering || queue.sent[0] !== batch) return retryBatches(queue, error, host)
  queue.recovering = true
  host.forget(error)
}

/** The meaning of an error code for the batch. */
type BatchOutcome =
  | { kind: 'ok' }
  | { kind: 'retry'; error: PipelineError; stale: boolean }
  /** One of its records can never be written. */
  | { kind: 'rejected'; error: Error; maySplit: boolean }
  | { kind: 'sequence'; error: PipelineError }
  | { kind: 'fatal'; error: PipelineError }

const DUPLICATE_SEQUENCE = 46

function batchOutcome(code: number | undefined, topic: string, count: number): BatchOutcome {
  if (code === 0 || code === DUPLICATE_SEQUENCE) return { kind: 'ok' }
  if (code === undefined) return { kind: 'retry', error: new ConnectionError(`the broker did not answer for topic ${topic}`), stale: false }
  const what = describe(code)
  const text = `cannot write to topic ${topic}: ${what}`
  switch (code) {
    case 10: // MESSAGE_TOO_LARGE
    case 18: // RECORD_LIST_TOO_LARGE
      return {
        kind: 'rejected',
        error: new TooLargeError(`the record is larger than max.message.bytes of topic ${topic}`),
        maySplit: true,
      }
    case 32: // INVALID_TIMESTAMP
    case 87: // INVALID_RECORD
      return {
        kind: 'rejected',
        error: new DataError(count === 1 ? `topic ${topic} rejected the record: ${what}` : text),
        maySplit: true,
      }
    case 17: // INVALID_TOPIC_EXCEPTION
      return { kind: 'rejected', error: new DataError(text), maySplit: false }
    case 45: // OUT_OF_ORDER_SEQUENCE_NUMBER
    case 59: // UNKNOWN_PRODUCER_ID
      return { kind: 'sequence', error: new ConnectionError(text) }
    case 47: // INVALID_PRODUCER_EPOCH
    case 49: // INVALID_PRODUCER_ID_MAPPING
    case 90: // PRODUCER_FENCED
      return { kind: 'fatal', error: new FencedError(`${text}; another instance now owns the lane`) }
    case 48: // INVALID_TXN_STATE: the coordinator has ended the transaction, by its timeout
      return { kind: 'fatal', error: new ConnectionError(text) }
    case 29: // TOPIC_AUTHORIZATION_FAILED
    case 31: // CLUSTER_AUTHORIZATION_FAILED
    case 53: // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
      return { kind: 'fatal', error: new EnvironmentError(`${text}; the ACLs of the broker do not allow it`) }
    case 76: // UNSUPPORTED_COMPRESSION_TYPE
    case 43: // UNSUPPORTED_FOR_MESSAGE_FORMAT
    case 35: // UNSUPPORTED_VERSION
    case 21: // INVALID_REQUIRED_ACKS
      return { kind: 'fatal', error: new EnvironmentError(text) }
    default:
      // 3, 5, 6, 9, 56, 74, 75: the leader has moved. 2, 7, 19, 20 and unknown codes: may be temporary.
      return { kind: 'retry', error: new ConnectionError(text), stale: [3, 5, 6, 9, 56, 74, 75].includes(code) }
  }
}

function describe(code: number): string {
  const e = internals().createErrorFromCode(code)
  return e.type === undefined || e.message.includes(e.type) ? e.message : `${e.message} (${e.type})`
}
