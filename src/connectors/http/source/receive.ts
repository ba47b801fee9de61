/**
 * Reads the body of a request within its limits. A rejected body is not read, or is read and discarded for a moment, so that the sender
 * receives the reason.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { InputAccount } from '../../../kit/limits.ts'
import { type Answer, busy, rejectionAnswer } from './answer.ts'

/** Bodies being received, in total. */
export class Receiving {
  bodies = 0
  bytes = 0
  /** What the source holds, these bodies included. */
  readonly account = new InputAccount()

  add(bytes: number): void {
    this.bytes += bytes
    this.account.add(bytes)
  }
}

export interface BodyLimits {
  /** Bytes of one body. */
  readonly max: number
  /** @returns whether there is room for this many bytes in this many bodies being received. */
  room(bytes: number, bodies: number): boolean
}

/** How long a sender may continue a rejected body, ms. */
const LINGER = 2000

/** The body, or the rejection; undefined: the sender disconnected. */
export function receive(
  request: IncomingMessage,
  response: ServerResponse,
  receiving: Receiving,
  { max, room }: BodyLimits,
): Promise<Buffer | Answer | undefined> {
  const tooLarge = (): Answer => rejectionAnswer(413, 'too_large', `the body exceeds ${max} bytes: send less in one request`)
  const length = Number(request.headers['content-length'] ?? 0)
  if (length > max) return Promise.resolve(tooLarge())
  const fits = (more: number): boolean => receiving.account.fits(more) && room(receiving.bytes + more, receiving.bodies)
  receiving.bodies++
  if (!fits(length)) {
    receiving.bodies--
    return Promise.resolve(busy('too many requests are waiting to be written: retry later'))
  }
  // With `expect: 100-continue`, the sender waits for this before it sends the body.
  if (request.headers.expect !== undefined) response.writeContinue()
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    let size = 0
    let over = false
    const end = (result: Buffer | Answer | undefined): void => {
      if (over) return
      over = true
      receiving.bodies--
      receiving.add(-size)
      size = 0
      chunks.length = 0
      request.removeAllListeners('data')
      resolve(result)
    }
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      receiving.add(chunk.length)
      if (size > max) end(tooLarge())
      else if (!fits(0)) end(busy('too many requests are waiting to be written: retry later'))
      else chunks.push(chunk)
    })
    request.once('end', () => end(over ? undefined : Buffer.concat(chunks)))
    request.once('error', () => end(undefined))
    request.once('close', () => end(undefined))
  })
}

/** Discards a rejected body for a moment: closing the connection in the middle of the body would lose the response. */
export function discard(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return
  request.resume()
  const timer = setTimeout(() => request.destroy(), LINGER)
  timer.unref()
  request.once('close', () => clearTimeout(timer))
}
