/**
 * Ids of topics (KIP-516, Kafka 2.8 and later): a topic that is deleted and made again has another one. kafkajs' metadata requests are
 * older than that, so this is Metadata version 10, encoded here.
 */
import type { Cluster } from './cluster.ts'
import { internals, type Request } from './internals.ts'
import { ADMIN_TIMEOUT } from './topics-and-offsets.ts'

const METADATA = 3
const VERSION = 10
const NO_ID = '0'.repeat(32)
const UNKNOWN_TOPIC = 3

export interface TopicFacts {
  readonly id: string
  readonly partitions: number
  /** Partitions that no broker leads at the moment. */
  readonly leaderless: readonly number[]
}

type Described = Map<string, TopicFacts | 'missing' | 'unknown'>

/** Topics that do not exist, and all topics of older brokers, are missing from the map. @throws {PipelineError} */
export async function topicIds(cluster: Cluster, topics: readonly string[]): Promise<Map<string, TopicFacts>> {
  const found = new Map<string, TopicFacts>()
  const described = await cluster.retry('look up the ids of topics', ADMIN_TIMEOUT, () => describeTopics(cluster, topics))
  for (const [topic, facts] of described ?? []) if (typeof facts === 'object') found.set(topic, facts)
  return found
}

/**
 * The state of topics according to one broker, asked once; `missing`: the topic does not exist, `unknown`: not reported. undefined: the
 * broker is older than Kafka 2.8.
 */
export async function describeTopics(cluster: Cluster, topics: readonly string[]): Promise<Described | undefined> {
  const broker = await cluster.broker()
  try {
    if ((broker.versions?.[METADATA]?.maxVersion ?? 0) < VERSION) return undefined
    return await broker.connectionPool.send(request(topics))
  } catch (error) {
    cluster.failed(broker, error)
    throw error
  }
}

function request(topics: readonly string[]): Request<Described> {
  const names = topics.map(t => Buffer.from(t))
  const parts: Buffer[] = [
    // Empty tags end the request header of flexible versions.
    Buffer.from([0]),
    unsigned(names.length + 1),
    ...names.flatMap(name => [Buffer.alloc(16), unsigned(name.length + 1), name, Buffer.from([0])]),
    // No topic may be created, no permissions are requested; no tags.
    Buffer.from([0, 0, 0, 0]),
  ]
  const { Encoder } = internals()
  return {
    request: {
      apiKey: METADATA,
      apiVersion: VERSION,
      apiName: 'Metadata',
      encode: async () => new Encoder().writeBuffer(Buffer.concat(parts)),
    },
    response: { decode: async payload => decode(payload), parse: async found => found },
  }
}

function decode(payload: Buffer): Described {
  const at = new Cursor(payload)
  at.tags()
  at.skip(4)
  for (let n = at.unsigned() - 1; n > 0; n--) {
    at.skip(4)
    at.string()
    at.skip(4)
    at.string()
    at.tags()
  }
  at.string()
  at.skip(4)
  const found: Described = new Map()
  for (let n = at.unsigned() - 1; n > 0; n--) {
    const error = at.int16()
    const name = at.string()
    const id = at.take(16).toString('hex')
    at.skip(1)
    const partitions = at.unsigned() - 1
    const leaderless: number[] = []
    for (let p = 0; p < partitions; p++) {
      // Error code, number, leader, leader's epoch.
      at.skip(2)
      const partition = at.int32()
      if (at.int32() < 0) leaderless.push(partition)
      at.skip(4)
      for (let list = 0; list < 3; list++) at.skip(4 * Math.max(0, at.unsigned() - 1))
      at.tags()
    }
    at.skip(4)
    at.tags()
    if (error === 0 && id !== NO_ID) found.set(name, { id, partitions, leaderless })
    else found.set(name, error === UNKNOWN_TOPIC ? 'missing' : 'unknown')
  }
  return found
}

function unsigned(n: number): Buffer {
  const bytes: number[] = []
  for (; n > 127; n >>>= 7) bytes.push((n & 127) | 128)
  return Buffer.from([...bytes, n])
}

class Cursor {
  private readonly buffer: Buffer
  private at = 0

  constructor(buffer: Buffer) {
    this.buffer = buffer
  }

  take(bytes: number): Buffer {
    const end = this.at + bytes
    if (end > this.buffer.length) throw new RangeError('the metadata response is too short')
    const taken = this.buffer.subarray(this.at, end)
    this.at = end
    return taken
  }
  skip(bytes: number): void {
    this.take(bytes)
  }
  int16(): number {
    return this.take(2).readInt16BE()
  }
  int32(): number {
    return this.take(4).readInt32BE()
  }
  unsigned(): number {
    let n = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.take(1)[0]
      n |= (byte & 127) << shift
      if (byte < 128) return n
    }
  }
  /** Compact; null reads as ''. */
  string(): string {
    return this.take(Math.max(0, this.unsigned() - 1)).toString()
  }
  tags(): void {
    for (let n = this.unsigned(); n > 0; n--) {
      this.unsigned()
      this.skip(this.unsigned())
    }
  }
}
