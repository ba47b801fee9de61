/**
 * A proxy that understands enough of Kafka's protocol to strike at a named step: before the broker sees the nth request of a kind, or
 * after the broker has answered it and before the client receives the response.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export const API = {
  Produce: 0,
  Fetch: 1,
  ListOffsets: 2,
  Metadata: 3,
  OffsetFetch: 9,
  FindCoordinator: 10,
  JoinGroup: 11,
  Heartbeat: 12,
  SyncGroup: 14,
  InitProducerId: 22,
  AddPartitionsToTxn: 24,
  AddOffsetsToTxn: 25,
  EndTxn: 26,
  TxnOffsetCommit: 28,
} as const

export type Api = keyof typeof API

/**
 * `before`: the request is lost. `after`: the answer is lost. `late`: the request is lost for the client, and reaches the broker a second
 * later, when all members have continued. In each case the client's connection breaks.
 */
export type Moment = 'before' | 'after' | 'late'

export interface KafkaProxy {
  readonly port: number
  /** Arms one strike at the nth request of that kind from now on; resolves when it has happened. `strike` runs first, e.g. kills the client. */
  arm(api: Api, moment: Moment, nth?: number, strike?: () => void): Promise<void>
  stop(): Promise<void>
}

interface Trap {
  readonly key: number
  readonly moment: Moment
  left: number
  spring(): void
}

export async function startKafkaProxy(target: () => number): Promise<KafkaProxy> {
  const sockets = new Set<Socket>()
  const traps = new Set<Trap>()
  const server: Server = createServer(client => {
    const broker = connect({ host: '127.0.0.1', port: target() })
    for (const socket of [client, broker]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.once('close', () => sockets.delete(socket))
    }
    client.once('close', () => setTimeout(() => broker.destroy(), 1_500).unref())
    broker.once('close', () => client.destroy())
    /** Correlation ids whose answer springs a trap. */
    const awaited = new Map<number, Trap>()

    frames(client, frame => {
      const trap = [...traps].find(t => t.key === frame.readInt16BE(4) && --t.left === 0)
      if (trap?.moment === 'after') awaited.set(frame.readInt32BE(8), trap)
      if (!trap || trap.moment === 'after') return void broker.write(frame)
      traps.delete(trap)
      trap.spring()
      client.resetAndDestroy()
      if (trap.moment === 'late') setTimeout(() => broker.write(frame), 1_000).unref()
    })
    frames(broker, frame => {
      const trap = awaited.get(frame.readInt32BE(4))
      if (!trap) return void client.write(frame)
      traps.delete(trap)
      trap.spring()
      client.resetAndDestroy()
    })
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    arm: (api, moment, nth = 1, strike = () => {}) =>
      new Promise(resolve => {
        traps.add({
          key: API[api],
          moment,
          left: nth,
          spring() {
            strike()
            resolve()
          },
        })
      }),
    async stop() {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

/** Calls `each` with every whole frame, length field included. */
function frames(socket: Socket, each: (frame: Buffer) => void): void {
  let held: Buffer[] = []
  let size = 0
  socket.on('data', (chunk: Buffer) => {
    held.push(chunk)
    size += chunk.length
    // A large frame comes in many chunks: they are joined once, when it is complete.
    while (size >= 4) {
      if (held[0].length < 4) held = [Buffer.concat(held)]
      const need = 4 + held[0].readInt32BE(0)
      if (size < need) return
      const all = held.length === 1 ? held[0] : Buffer.concat(held)
      held = all.length === need ? [] : [all.subarray(need)]
      size -= need
      each(all.subarray(0, need))
    }
  })
}
