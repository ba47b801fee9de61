/** Answers of peers are read up to a limit: a peer decides how long its answer is, and must not decide how much memory it takes. */
import { ConnectionError } from '../../contract/plugin.ts'

/** Bytes of an answer that has no reason to be large: a token, a status page. */
export const ANSWER_BYTES = 1024 * 1024

/** @returns all bytes, or undefined if there are more than `max`: then the stream is closed */
export async function readUpTo(stream: AsyncIterable<Uint8Array> | null, max: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stream ?? []) {
    size += chunk.length
    if (size > max) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/**
 * An answer as JSON; undefined if it is not JSON, for example the page of a proxy.
 * @throws {ConnectionError} for a longer answer
 */
export async function readJson(response: Response, max = ANSWER_BYTES): Promise<unknown> {
  const body = await readUpTo(response.body, max)
  if (body === undefined) throw new ConnectionError(`the answer of ${new URL(response.url).host} is larger than ${max} bytes`)
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined
  }
}
