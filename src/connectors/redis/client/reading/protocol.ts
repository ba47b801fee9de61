/** The messages between the main thread and the reading thread. */
import type { MessagePort } from 'node:worker_threads'

export interface Address {
  readonly host: string
  readonly port: number
}

/** One connection, opened once; it communicates through its own port. */
export interface Attempt {
  readonly port: MessagePort
  readonly state: Int32Array<SharedArrayBuffer>
  readonly address: Address
  readonly tls: object | undefined
  /** Initial commands. */
  readonly greeting: string
}

/** ms. After the second missing answer the connection counts as dead. */
export const CONNECT_TIMEOUT = 5000
export const DEAD_AFTER = 15_000

/** Indexes of `Attempt.state`: bytes handed over but not parsed; 1 while reading waits for their number to fall. */
export const [WAITING, FULL] = [0, 1]
/** Maximum number of bytes that may wait to be parsed; above it, reading waits. */
export const MAX_WAITING = 64 * 1024 * 1024

/** `more`: the other side has caught up. */
export type ToThread = 'pause' | 'resume' | 'more' | 'close'
/** Received bytes, and finally the reason for the end. */
export type FromThread = Uint8Array | { readonly message: string; readonly code: string | undefined }

export const command = (args: readonly string[]): string =>
  `*${args.length}\r\n${args.map(a => `$${Buffer.byteLength(a)}\r\n${a}\r\n`).join('')}`
