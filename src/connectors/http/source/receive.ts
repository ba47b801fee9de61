/** Reads a request's body within its limits. What is turned away is not read, or read and forgotten for a moment, so that the sender sees why. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Answer, busy, rejectionAnswer } from './answer.ts'

/** Bodies being received, together. */
export interface Receiving {
  bytes: number
}

export interface BodyLimits {
  /** Bytes of one body. */
  readonly max: number
  /** Is there room for so many bytes beside what is being received? */
  room(bytes: number): boolean
}

/** How long a sender whose body nobody wants may go on, ms. */
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
  if (!room(receiving.bytes + length)) return Promise.resolve(busy('too much is waiting to be written'))
  // `expect: 100-continue` asks before it sends.
  if (request.headers.expect !== undefined) response.writeContinue()
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    let size = 0
    const end = (result: Buffer | Answer | undefined): void => {
      receiving.bytes -= size
      size = 0
      chunks.length = 0
      request.removeAllListeners('data')
      resolve(result)
    }
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      receiving.bytes += chunk.length
      if (size > max) end(tooLarge())
      else if (!room(receiving.bytes)) end(busy('too much is waiting to be written'))
      else chunks.push(chunk)
    })
    request.once('end', () => end(Buffer.concat(chunks)))
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
