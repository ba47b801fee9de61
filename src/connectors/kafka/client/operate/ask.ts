/** One request to a broker, retried if necessary. */
import { ADMIN_TIMEOUT } from '../topics-and-offsets.ts'
import type { Cluster } from '../cluster.ts'
import { internals, type Broker, type Encoder, type KafkaJSError, type Request } from '../internals.ts'

/** Asks the controller, or the broker from `where`, until it responds, rejects permanently, or `ADMIN_TIMEOUT` passes. */
export function ask<T>(
  cluster: Cluster,
  doing: string,
  request: (broker: Broker) => Promise<T>,
  where: () => Promise<Broker> = () => cluster.controller(),
): Promise<T> {
  return cluster.retry(doing, ADMIN_TIMEOUT, async () => {
    const broker = await where()
    try {
      return await request(broker)
    } catch (error) {
      const cause = (error as KafkaJSError).errors?.[0] ?? error
      cluster.failed(broker, cause)
      throw cause
    }
  })
}

/** A request that kafkajs does not have: its key, one version without tagged fields, its body, and a reader of the response. */
export interface OwnRequest<T> {
  readonly apiKey: number
  readonly apiVersion: number
  readonly apiName: string
  body(encoder: Encoder): Encoder
  answer(payload: Buffer): T
}

export function send<T>(broker: Broker, { apiKey, apiVersion, apiName, body, answer }: OwnRequest<T>): Promise<T> {
  const request: Request<T> = {
    request: { apiKey, apiVersion, apiName, encode: async () => body(new (internals().Encoder)()) },
    // kafkajs looks for a throttle time in the result of `decode`.
    response: { decode: async payload => ({ payload }), parse: async ({ payload }) => answer(payload as Buffer) },
  }
  return broker.connectionPool.send(request)
}

/** Reads the response of a broker, in its order. */
export class Reader {
  private readonly bytes: Buffer
  private at = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }
  int8(): number {
    return this.bytes.readInt8(this.skip(1))
  }
  int16(): number {
    return this.bytes.readInt16BE(this.skip(2))
  }
  int32(): number {
    return this.bytes.readInt32BE(this.skip(4))
  }
  string(): string | null {
    const length = this.int16()
    if (length < 0) return null
    const from = this.skip(length)
    return this.bytes.toString('utf8', from, from + length)
  }
  skipBytes(): void {
    this.skip(Math.max(0, this.int32()))
  }
  list<T>(item: () => T): T[] {
    return Array.from({ length: Math.max(0, this.int32()) }, item)
  }
  varint(): number {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes.readUInt8(this.skip(1))
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }
  compactString(): string {
    const length = this.varint() - 1
    const from = this.skip(length)
    return this.bytes.toString('utf8', from, from + length)
  }
  compactList<T>(item: () => T): T[] {
    return Array.from({ length: Math.max(0, this.varint() - 1) }, item)
  }
  /** `each` reads its own copy: unknown fields are skipped. */
  tagged(each: (tag: number, field: Reader) => void = () => {}): void {
    for (let left = this.varint(); left > 0; left--) {
      const tag = this.varint()
      const length = this.varint()
      const from = this.skip(length)
      each(tag, new Reader(this.bytes.subarray(from, from + length)))
    }
  }
  private skip(length: number): number {
    const from = this.at
    this.at += length
    return from
  }
}

export const brokerError = (code: number, message: string | null): Error => {
  const error = internals().createErrorFromCode(code)
  return message === null || message === '' ? error : Object.assign(error, { message })
}
