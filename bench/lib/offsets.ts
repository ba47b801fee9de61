/**
 * How much of a topic a careful reader may see, asked of the broker over one plain socket. A poll costs the broker next
 * to nothing, while a consumer that reads a million records would take its share of the two cores from the measured.
 */
import { connect, type Socket } from 'node:net'

const LIST_OFFSETS = 2
const READ_COMMITTED = 1
const LATEST = -1n

export class OffsetWatch {
  private readonly socket: Socket
  private readonly request: Buffer
  private readonly waiting: { resolve(offset: number): void; reject(error: Error): void }[] = []
  private received = Buffer.alloc(0)

  /** @param address `host:port` of the partition's leader. */
  constructor(address: string, topic: string) {
    const [host, port] = address.split(':')
    this.request = listOffsets(topic)
    this.socket = connect(Number(port), host)
    this.socket.setNoDelay(true)
    this.socket.on('data', chunk => this.take(chunk))
    this.socket.on('error', error => this.fail(error))
    this.socket.on('close', () => this.fail(new Error('connection closed')))
  }

  /** The last stable offset of partition 0: everything before it is committed. */
  async end(): Promise<number> {
    return await new Promise((resolve, reject) => {
      this.waiting.push({ resolve, reject })
      this.socket.write(this.request)
    })
  }

  close(): void {
    this.socket.destroy()
  }

  private take(chunk: Buffer): void {
    this.received = Buffer.concat([this.received, chunk])
    while (this.received.length >= 4) {
      const size = 4 + this.received.readInt32BE(0)
      if (this.received.length < size) return
      const response = this.received.subarray(0, size)
      this.received = this.received.subarray(size)
      const { resolve, reject } = this.waiting.shift()!
      // ... partition i32, error i16, timestamp i64, offset i64, all at the end
      const error = response.readInt16BE(size - 18)
      if (error === 0) resolve(Number(response.readBigInt64BE(size - 8)))
      else reject(new Error(`ListOffsets: error code ${error}`))
    }
  }

  private fail(error: Error): void {
    for (const { reject } of this.waiting.splice(0)) reject(error)
  }
}

/** ListOffsets version 2: the oldest that knows isolation levels. */
function listOffsets(topic: string): Buffer {
  const name = Buffer.from(topic)
  const body = Buffer.alloc(10 + 9 + 2 + name.length + 16)
  let at = 0
  const i16 = (n: number) => (at = body.writeInt16BE(n, at))
  const i32 = (n: number) => (at = body.writeInt32BE(n, at))
  i16(LIST_OFFSETS)
  i16(2)
  i32(1) // correlation id
  i16(-1) // no client id
  i32(-1) // not a replica
  at = body.writeInt8(READ_COMMITTED, at)
  i32(1) // topics
  i16(name.length)
  at += name.copy(body, at)
  i32(1) // partitions
  i32(0)
  body.writeBigInt64BE(LATEST, at)
  const size = Buffer.alloc(4)
  size.writeInt32BE(body.length)
  return Buffer.concat([size, body])
}
