/** What the main thread and the thread that reads say to each other. */
import type { MessagePort } from 'node:worker_threads'

export interface Address {
  readonly host: string
  readonly port: number
}

/** One connection, made once; it speaks through a port of its own. */
export interface Attempt {
  readonly port: MessagePort
  readonly state: Int32Array<SharedArrayBuffer>
  readonly address: Address
  readonly tls: object | undefined
  /** Commands to begin with. */
  readonly greeting: string
}

/** ms. After the second without an answer a connection is taken for dead. */
export const CONNECT_TIMEOUT = 5000
export const DEAD_AFTER = 15_000

/** Of `Attempt.state`: bytes handed over and not parsed; 1 while reading waits for them to become fewer. */
export const [WAITING, FULL] = [0, 1]
/** Bytes that may wait to be parsed: beyond that reading waits. */
export const MAX_WAITING = 64 * 1024 * 1024

/** `more`: the other side has caught up. */
export type ToThread = 'pause' | 'resume' | 'more' | 'close'
/** Bytes as they came, and at last why there will be no more. */
export type FromThread = Uint8Array | { readonly message: string; readonly code: string | undefined }

export const command = (args: readonly string[]): string =>
  `*${args.length}\r\n${args.map(a => `$${Buffer.byteLength(a)}\r\n${a}\r\n`).join('')}`
