/**
 * Limits for one input from any sender in this process: they apply to the process, because memory does. Each running pipeline contributes
 * its `limits`; the highest value of each applies.
 */
import { DataError } from '../contract/plugin.ts'

/** Limits for one input of a sender, and for all inputs together. */
export interface InputLimits {
  /** Maximum number of messages from one record, one request body or one query result. */
  readonly messages: number
  /** Maximum number of bytes in one compressed record batch. */
  readonly batch: number
  /** Maximum number of bytes of uncommitted input, over all sources of the process that peers push to. */
  readonly input: number
}

/** Defaults for a pipeline file without `limits`. */
export const DEFAULT_LIMITS: InputLimits = { messages: 100_000, batch: 64 * 1024 * 1024, input: 256 * 1024 * 1024 }

const running = new Set<InputLimits>()
let now = DEFAULT_LIMITS

/** The limits that apply now. */
export const limits = (): InputLimits => now

/** Applies the limits of a running pipeline until the returned function is called. */
export function useLimits(own: { readonly [K in keyof InputLimits]?: number } = {}): () => void {
  const { messages, batch, input } = own
  const entry: InputLimits = {
    messages: messages ?? DEFAULT_LIMITS.messages,
    batch: batch ?? DEFAULT_LIMITS.batch,
    input: input ?? DEFAULT_LIMITS.input,
  }
  running.add(entry)
  refresh()
  return () => {
    running.delete(entry)
    refresh()
  }
}

function refresh(): void {
  const all = [...running]
  const highest = (key: keyof InputLimits): number => Math.max(...all.map(l => l[key]))
  now = all.length === 0 ? DEFAULT_LIMITS : { messages: highest('messages'), batch: highest('batch'), input: highest('input') }
}

/** @throws {DataError} when one record would become more messages than `limits.messages`. */
export function checkFanOut(count: number, what: string): void {
  if (count > now.messages)
    throw new DataError(
      `${what} has ${count} elements, more than limits.messages (${now.messages}): split it before this step, or raise limits.messages`,
    )
}

let held = 0
/** Bytes that one source may always hold, so that no source starves. */
const SHARE = 1024 * 1024

/** Bytes of input that the process holds for one source. `limits.input` bounds the sum of all accounts. */
export class InputAccount {
  private own = 0

  get bytes(): number {
    return this.own
  }

  /** Adds bytes, or removes them when negative. */
  add(bytes: number): void {
    this.own += bytes
    held += bytes
  }

  /** @returns whether the process may hold this many more bytes for this source. */
  fits(more: number): boolean {
    return held + more <= now.input || this.own + more <= SHARE
  }
}
