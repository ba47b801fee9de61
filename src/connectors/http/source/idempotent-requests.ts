/** Requests by key: a repeat of a finished request gets its response, a repeat of a request in progress waits for it. */
import { createHash } from 'node:crypto'
import { type Answer, busy, rejectionAnswer } from './answer.ts'
import type { FinishedRequest } from './request-journal.ts'

export interface IdempotencyOptions {
  /** How long a response is remembered, ms. */
  readonly ttl: number
  /** Number of responses remembered; the oldest are removed first. */
  readonly max: number
  /**
   * No request may be forgotten within this time (ms), however many there are: above `HARD_MAX` new requests are rejected. Default: none.
   */
  readonly keep?: number
  /** A response was removed before its `ttl`. */
  readonly onForgotten?: () => void
}

/** Keeps finished requests across processes. */
export interface RequestStore {
  load(): FinishedRequest[]
  put(request: FinishedRequest): Promise<void>
  drop(key: string): void
}

interface SeenRequest {
  readonly digest: string
  outcome: Promise<Answer>
  /** Epoch ms; undefined: in progress. */
  done: number | undefined
  size: number
}

/** Final responses about the rows. Any other response (busy, stopping, timeout) invites a retry. */
const FINAL = new Set([200, 202, 422])
/** Bytes of responses remembered. */
const MAX_BYTES = 16 * 1024 * 1024
/** Requests that are kept for `keep`, about 500 bytes each. */
const HARD_MAX = 1_000_000

/** Longer keys are stored as a hash. */
const MAX_KEY = 64

const hash = (data: string | Buffer): string => createHash('sha256').update(data).digest('base64')

const KNOWN = rejectionAnswer(409, 'replayed', 'this request has already been answered; the response is no longer available')
const ANSWERED = Promise.resolve(KNOWN)

export class IdempotentRequests {
  /** In order of arrival. */
  private readonly entries = new Map<string, SeenRequest>()
  private readonly options: IdempotencyOptions
  private store: RequestStore | undefined
  private bytes = 0

  constructor(options: IdempotencyOptions) {
    this.options = options
  }

  /** Loads the responses of an earlier process, and saves those of this one. Call it before the first request. */
  restore(store: RequestStore, now: number): void {
    for (const { key, digest, done, status, body } of store.load()) {
      const size = body === undefined ? 0 : this.room(key, body)
      this.entries.set(key, { digest, outcome: size > 0 ? Promise.resolve({ status, body: body! }) : ANSWERED, done, size })
    }
    this.store = store
    this.forget(now)
  }

  /** Runs the request, unless it has run or is running. */
  once(name: string, body: Buffer, now: () => number, run: () => Promise<Answer>): { outcome: Promise<Answer>; repeated: boolean } {
    this.forget(now())
    // The sender chooses the length of its keys.
    const key = name.length > MAX_KEY ? hash(name) : name
    const digest = hash(body)
    const known = this.entries.get(key)
    if (known) {
      if (known.digest === digest) return { outcome: known.outcome, repeated: true }
      const answer = rejectionAnswer(
        422,
        'idempotency_key_reused',
        'this key was used for a different body: send a new key with a new request',
      )
      return { outcome: Promise.resolve(answer), repeated: true }
    }
    if (this.options.keep !== undefined && this.entries.size >= Math.max(HARD_MAX, this.options.max))
      return {
        outcome: Promise.resolve(busy('too many signed requests to detect replays; on the server, set a lower tolerance')),
        repeated: false,
      }
    const outcome = run().then(
      answer => this.finish(key, entry, answer, now()),
      error => {
        this.entries.delete(key)
        throw error
      },
    )
    const entry: SeenRequest = { digest, outcome, done: undefined, size: 0 }
    this.entries.set(key, entry)
    return { outcome, repeated: false }
  }

  /** Resolves to the response when it may be sent: after the store has saved it. */
  private async finish(key: string, entry: SeenRequest, answer: Answer, now: number): Promise<Answer> {
    if (!FINAL.has(answer.status)) {
      this.entries.delete(key)
      return answer
    }
    entry.done = now
    entry.size = this.room(key, answer.body)
    const body = entry.size > 0 ? answer.body : undefined
    const written = this.store?.put({ key, digest: entry.digest, done: now, status: answer.status, body }) ?? Promise.resolve()
    entry.outcome = written.then(() => (body === undefined ? KNOWN : answer))
    this.forget(now)
    await written
    // A million of them are kept: without a promise of its own.
    if (body === undefined) entry.outcome = ANSWERED
    return answer
  }

  /**
   * Reserves memory for a response. @returns 0 if the response is too long: a request that may not be forgotten is kept without its
   * response.
   */
  private room(key: string, body: string): number {
    const size = key.length + body.length
    if (this.options.keep !== undefined && this.bytes + size > MAX_BYTES) return 0
    this.bytes += size
    return size
  }

  /** Removes the oldest responses above the limits of number and age; never a request in progress. */
  private forget(now: number): void {
    for (const [key, { done, size }] of this.entries) {
      const over = this.entries.size > this.options.max || this.bytes > MAX_BYTES
      if (done === undefined) {
        if (!over) break
        continue
      }
      if (now - done < (over ? (this.options.keep ?? 0) : this.options.ttl)) break
      this.entries.delete(key)
      this.store?.drop(key)
      this.bytes -= size
      if (now - done < this.options.ttl) this.options.onForgotten?.()
    }
  }
}
