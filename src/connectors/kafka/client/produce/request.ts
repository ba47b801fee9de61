/** The Produce request (v3 to v7), made of finished record batches instead of kafkajs' message objects. */
import { type Broker, type Encoded, internals } from '../internals.ts'

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

/** Undefined with `acks: 0`: there is no answer. */
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

/** For kafkajs' own framing too, in case something else in the process has loaded it before ours was put in place. */
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
