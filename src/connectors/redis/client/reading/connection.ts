/** The main thread's side of the reading thread. */
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { READING_THREAD } from '../../../../generated/reading-thread.ts'
import { type Address, type Attempt, FULL, type FromThread, MAX_WAITING, type ToThread, WAITING } from './protocol.ts'

export interface Connection {
  /** Bytes that were read but are not parsed. */
  readonly waiting: number
  /** Call with the number of bytes parsed. */
  parsed(bytes: number): void
  pause(paused: boolean): void
  /** `ended` follows after all bytes that were read. */
  close(): void
}

export interface ConnectionHandlers {
  data(bytes: Buffer): void
  /** No more data arrives; called once. */
  ended(error: Error): void
}

/** Starts with the first connection. If the thread dies, the connection is lost, and the next one gets a new thread. */
export class ReadingThread {
  private worker: Worker | undefined

  /** Opens a connection and hands over all its data. @param greeting initial commands */
  connect(address: Address, tls: object | undefined, greeting: string, handlers: ConnectionHandlers): Connection {
    const worker = (this.worker ??= this.start())
    const { port1: port, port2 } = new MessageChannel()
    const state = new Int32Array(new SharedArrayBuffer(8))
    let ended = false
    const end = (error: Error): void => {
      if (ended) return
      ended = true
      worker.off('error', died)
      worker.off('exit', exited)
      port.close()
      handlers.ended(error)
    }
    const take = (message: FromThread): void => {
      if (ended) return
      if (message instanceof Uint8Array) handlers.data(Buffer.from(message.buffer))
      else end(Object.assign(new Error(message.message), { code: message.code }))
    }
    const died = (error: Error): void => {
      // All its data has arrived.
      for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) take(next.message as FromThread)
      end(error)
    }
    const exited = (code: number): void => died(new Error(`the reading thread ended (${code})`))
    worker.on('error', died)
    worker.on('exit', exited)
    port.on('message', take)
    worker.postMessage({ port: port2, state, address, tls, greeting } satisfies Attempt, [port2])
    const tell = (what: ToThread): void => port.postMessage(what)
    return {
      get waiting() {
        return Atomics.load(state, WAITING)
      },
      parsed(bytes) {
        const left = Atomics.sub(state, WAITING, bytes) - bytes
        if (left <= MAX_WAITING / 2 && Atomics.load(state, FULL) === 1) tell('more')
      },
      pause: paused => tell(paused ? 'pause' : 'resume'),
      close: () => tell('close'),
    }
  }

  async close(): Promise<void> {
    await this.worker?.terminate()
  }

  private start(): Worker {
    // thread.ts as text: a bundle or a single executable does not contain it as a file.
    const worker = new Worker(READING_THREAD, {
      eval: true,
      name: 'redis-pubsub',
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 },
    })
    const gone = (): void => {
      if (this.worker === worker) this.worker = undefined
    }
    worker.on('error', gone)
    worker.on('exit', gone)
    return worker
  }
}
