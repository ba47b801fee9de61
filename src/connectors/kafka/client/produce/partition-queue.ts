/** What waits for, or is on its way to, one partition. */
import { type Identity, stamp } from '../../codec/encode.ts'
import type { Batch } from './batch.ts'
import { REQUESTS_PER_BROKER } from './in-flight-requests.ts'

export class PartitionQueue {
  readonly topic: string
  readonly partition: number
  /** Being filled. */
  open: Batch | undefined
  /** Full, or to be sent again; in order. */
  ready: Batch[] = []
  /** Sent and not answered; in order. */
  sent: Batch[] = []
  /** Requests under way that carry a batch of this partition. */
  outstanding = 0
  /** A batch must be repeated: nothing more is sent until every request has come back, then all repeat in order. */
  recovering = false
  /** A batch was refused for good, so the sequence numbers behind it are void. */
  resequenceFrom = -1
  /** When a repetition may start, `monotonic` ms. */
  notBefore = 0
  nextSequence = 0
  /** The broker has accepted a batch of this producer; before that it takes any sequence number, so only one may be under way. */
  known = false
  /** Part of the current transaction. Always true without transactions. */
  enrolled = true

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  get idle(): boolean {
    return this.open === undefined && this.ready.length === 0 && this.sent.length === 0
  }

  /** When the next batch may be sent: now or earlier, a time, or Infinity when an answer has to come first. */
  due(now: number, lingerMs: number, { producerId }: Identity): number {
    if (!this.enrolled || this.recovering) return Infinity
    const limit = producerId < 0 || !this.known ? 1 : REQUESTS_PER_BROKER
    if (this.outstanding >= limit) return Infinity
    if (this.notBefore > now) return this.notBefore
    if (this.ready.length > 0) return now
    return this.open === undefined ? Infinity : this.open.createdAt + lingerMs
  }

  /** The next batch, finished and numbered, counted as sent. */
  take(identity: Identity, transactional: boolean): Batch {
    let batch = this.ready.shift()
    if (batch === undefined) {
      batch = this.open!
      this.open = undefined
    }
    const bytes = batch.seal()
    if (batch.sequence < 0) {
      const idempotent = identity.producerId >= 0
      batch.sequence = idempotent ? this.nextSequence : -1
      if (idempotent) this.nextSequence = sequenceAfter(this.nextSequence, batch.count)
      stamp(bytes, identity, batch.sequence, transactional)
    }
    batch.attempts++
    this.sent.push(batch)
    this.outstanding++
    return batch
  }

  /** Drops a settled batch. */
  remove(batch: Batch): void {
    const i = this.sent.indexOf(batch)
    if (i >= 0) this.sent.splice(i, 1)
  }

  /** Every request has come back: put what failed in front again, in order. */
  requeue(): void {
    this.ready = [...this.sent, ...this.ready]
    this.sent = []
    this.recovering = false
    if (this.resequenceFrom >= 0) {
      this.nextSequence = this.resequenceFrom
      for (const batch of this.ready) batch.sequence = -1
      this.resequenceFrom = -1
    }
  }

  /** A new producer id starts counting at 0. */
  forget(): void {
    this.requeue()
    this.nextSequence = 0
    this.known = false
    for (const batch of this.ready) batch.sequence = -1
  }

  takeAll(): Batch[] {
    const all = [...this.sent, ...this.ready, ...(this.open ? [this.open] : [])]
    this.open = undefined
    this.ready = []
    this.sent = []
    this.recovering = false
    this.resequenceFrom = -1
    return all
  }
}

/** Batch sequence numbers are int32 and wrap to 0. */
export const sequenceAfter = (sequence: number, count: number): number => (sequence + count) % 2147483648
