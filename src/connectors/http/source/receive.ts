/** Reads a request's body within its limits. What is turned away is not read, or read and forgotten for a moment, so that the sender sees why. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { InputAccount } from '../../../kit/limits.ts'
import { type Answer, busy, rejectionAnswer } from './answer.ts'

/** Bodies being received, together. */
export class Receiving {
  bodies = 0
  readonly account = new InputAccount()
}

export interface BodyLimits {
  /** Bytes of one body. */
  readonly max: number
  /** Is there room for so many bytes of so many bodies, which are being received? */
  room(bytes: number, bodies: number): boolean
}

/** How long a sender may continue a body that is rejected, ms. */
const LINGER = 2000

/** The body, or why not; undefined: the sender went away. */
export function receive(
  request: IncomingMessage,
  response: ServerResponse,
  receiving: Receiving,
  { max, room }: BodyLimits,
): Promise<Buffer | Answer | undefined> {
  const tooLarge = (): Answer => rejectionAnswer(413, 'too_large', `a body may have ${max} bytes`)
  const length = Number(request.headers['content-length'] ?? 0)
  if (length > max) return Promise.resolve(tooLarge())
  const { account } = receiving
  const fits = (more: number): boolean => !InputAccount.full && room(account.bytes + more, receiving.bodies)
  receiving.bodies++
  if (!fits(length)) {
    receiving.bodies--
    return Promise.resolve(busy('too much is waiting to be written'))
  }
  // `expect: 100-continue` asks before it sends.
  if (request.headers.expect !== undefined) response.writeContinue()
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    let size = 0
    let over = false
    const end = (result: Buffer | Answer | undefined): void => {
      if (over) return
      over = true
      receiving.bodies--
      account.add(-size)
      size = 0
      chunks.length = 0
      request.removeAllListeners('data')
      resolve(result)
    }
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      account.add(chunk.length)
      if (size > max) end(tooLarge())
      else if (!fits(0)) end(busy('too much is waiting to be written'))
      else chunks.push(chunk)
    })
    request.once('end', () => end(over ? undefined : Buffer.concat(chunks)))
    request.once('error', () => end(undefined))
    request.once('close', () => end(undefined))
  })
}

/** Lets an unwanted body run out for a moment: a connection closed in the middle of it would take the answer with it. */
export function discard(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return
  request.resume()
  const timer = setTimeout(() => request.destroy(), LINGER)
  timer.unref()
  request.once('close', () => clearTimeout(timer))
}
