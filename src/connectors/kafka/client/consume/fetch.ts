/** The Fetch request (v4 to v11) with its answer taken apart by hand: record sets stay bytes until somebody polls. */
import type { AbortedTransaction } from '../../codec/decode.ts'
import { readInt64 } from '../../codec/numbers.ts'
import { type Broker, internals } from '../internals.ts'

export interface FetchPartition {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly maxBytes: number
}
export interface FetchOptions {
  readonly maxWaitMs: number
  readonly maxBytes: number
  readonly committed: boolean
}
export interface Fetched {
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly aborted: AbortedTransaction[]
  /** Record batches, the last one perhaps cut off. */
  readonly records: Buffer
}

export async function fetch(broker: Broker, partitions: readonly FetchPartition[], options: FetchOptions): Promise<Fetched[]> {
  const { apiKeys, requests } = internals()
  const topics = new Map<string, { topic: string; partitions: object[] }>()
  for (const { topic, partition, offset, maxBytes } of partitions) {
    let entry = topics.get(topic)
    if (entry === undefined) topics.set(topic, (entry = { topic, partitions: [] }))
    entry.partitions.push({ partition, fetchOffset: offset, maxBytes })
  }
  const { request, requestTimeout } = broker.lookupRequest(
    apiKeys.Fetch,
    requests.Fetch,
  )({
    maxWaitTime: options.maxWaitMs,
    minBytes: 1,
    maxBytes: options.maxBytes,
    isolationLevel: options.committed ? 1 : 0,
    topics: [...topics.values()],
    rackId: '',
  })
  return broker.connectionPool.send<Fetched[]>({
    request,
    requestTimeout,
    response: { decode: async payload => decode(payload, request.apiVersion), parse: async decoded => decoded.partitions },
  })
}

/** Exported for the test against bytes of other versions. */
export function decode(b: Buffer, version: number): { clientSideThrottleTime: number; partitions: Fetched[] } {
  if (version < 4) throw new Error('the broker is older than Kafka 0.11')
  let p = 4
  if (version >= 7) p += 6 // error code, session id: no sessions are used
  const partitions: Fetched[] = []
  const topicCount = b.readInt32BE(p)
  p += 4
  for (let t = 0; t < topicCount; t++) {
    const length = b.readInt16BE(p)
    const topic = b.toString('utf8', p + 2, p + 2 + length)
    p += 2 + length
    const count = b.readInt32BE(p)
    p += 4
    for (let i = 0; i < count; i++) {
      const partition = b.readInt32BE(p)
      const errorCode = b.readInt16BE(p + 4)
      const highWatermark = readInt64(b, p + 6)
      const lastStableOffset = readInt64(b, p + 14)
      p += version >= 5 ? 30 : 22
      const aborted: AbortedTransaction[] = []
      const abortedCount = b.readInt32BE(p)
      p += 4
      for (let a = 0; a < abortedCount; a++) {
        aborted.push({ producerId: readInt64(b, p), firstOffset: readInt64(b, p + 8) })
        p += 16
      }
      if (version >= 11) p += 4 // preferred read replica: no rack is set
      const size = Math.max(0, b.readInt32BE(p))
      p += 4
      partitions.push({ topic, partition, errorCode, highWatermark, lastStableOffset, aborted, records: b.subarray(p, p + size) })
      p += size
    }
  }
  return { clientSideThrottleTime: version >= 8 ? b.readInt32BE(0) : 0, partitions }
}
