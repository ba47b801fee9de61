/** What happens to a batch when its request comes back: settled, repeated, taken apart, or everything given up. */
import type { Logger } from '../../../../contract/plugin.ts'
import { ConnectionError, type PipelineError } from '../../../../contract/plugin.ts'
import type { Batch } from './batch.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProduceResult } from './request.ts'
import { batchOutcome } from './batch-outcome.ts'
import { monotonic } from '../../../../kit/clock.ts'

/** Kafka's default `delivery.timeout.ms`. */
export const DELIVERY_TIMEOUT = 120_000
const WARN_AFTER_ATTEMPTS = 5

export interface Sent {
  readonly queue: PartitionQueue
  readonly batch: Batch
}

export interface ResponseHost {
  readonly log: Logger
  /** The leader of the topic's partitions is elsewhere. */
  stale(topic: string): void
  /** The broker has forgotten the producer id: take a new one once nothing is under way. */
  forget(error: PipelineError): void
  /** Nothing of what waits will be acknowledged in time. */
  giveUp(error: PipelineError): void
  /** Nothing will ever be acknowledged. */
  fail(error: PipelineError): void
}

/** @param results undefined with `acks: 0`: there is no answer, and all is well. */
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
    } else if (v.kind === 'refused') rejectBatch(queue, batch, v.error, v.maySplit)
    else if (v.kind === 'sequence') outOfSequence(queue, batch, v.error, host)
    else host.fail(v.error)
  }
}

/** The queue's batches are to be sent again, in order, once all its requests have come back. */
export function retryBatches(queue: PartitionQueue, error: PipelineError, host: ResponseHost): void {
  queue.recovering = true
  const oldest = queue.sent[0]
  if (oldest === undefined) return
  if (oldest.attempts === WARN_AFTER_ATTEMPTS) {
    host.log.warn({ topic: queue.topic, partition: queue.partition, error: error.message }, 'Kafka producer: still trying')
  }
  queue.notBefore = monotonic() + Math.min(1000, 20 * 2 ** Math.min(oldest.attempts, 6))
  if (monotonic() - oldest.createdAt < DELIVERY_TIMEOUT) return
  // Later records must not overtake the ones given up, so all go.
  host.giveUp(new ConnectionError(`not acknowledged within ${DELIVERY_TIMEOUT / 1000} s: ${error.message}`, error))
}

/** The broker will never take this batch: find the record that is to blame. */
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
  // Behind a batch that failed this is only to be expected.
  if (queue.recovering || queue.sent[0] !== batch) return retryBatches(queue, error, host)
  queue.recovering = true
  host.forget(error)
}
