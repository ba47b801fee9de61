/**
 * Limits for one input of any sender in this process: they apply to the process, because its memory does. Each running pipeline
 * brings its `limits`; the highest of each counts.
 */
import { DataError } from '../contract/plugin.ts'

/** What one input of a sender may become, and what all of them may hold. */
export interface InputLimits {
  /** Messages that one record, one request body or one query result may become. */
  readonly messages: number
  /** Bytes that one compressed record batch may hold. */
  readonly batch: number
  /** Bytes of input that is not committed, of all sources of the process that peers push to. */
  readonly input: number
}

/** Where the pipeline file does not set `limits`. */
export const DEFAULT_LIMITS: InputLimits = { messages: 100_000, batch: 64 * 1024 * 1024, input: 256 * 1024 * 1024 }

const running = new Set<InputLimits>()
let now = DEFAULT_LIMITS

/** The bounds as they are now. */
export const limits = (): InputLimits => now

/** Of a pipeline that runs, until what it returns is called. */
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
    throw new DataError(`${what} has ${count} elements, more than limits.messages (${now.messages}): split it before, or raise the limit`)
}

let held = 0
/** Bytes that one source may hold whatever the others hold: none is starved by them. */
const SHARE = 1024 * 1024

/** Bytes of input that the process holds for one source. What all accounts hold together is bounded by `limits.input`. */
export class InputAccount {
  private own = 0

  get bytes(): number {
    return this.own
  }

  /** Adds bytes, or takes them off when negative. */
  add(bytes: number): void {
    this.own += bytes
    held += bytes
  }

  /** May the process hold so many more for this source? */
  fits(more: number): boolean {
    return held + more <= now.input || this.own + more <= SHARE
  }
}
