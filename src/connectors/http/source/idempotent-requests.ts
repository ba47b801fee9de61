/** Requests by a key: a repeat of a finished one gets its answer, a repeat of one on its way waits for it. */
import { createHash } from 'node:crypto'
import { type Answer, busy, rejectionAnswer } from './answer.ts'
import type { FinishedRequest } from './request-journal.ts'

export interface IdempotencyOptions {
  /** ms that an answer is remembered. */
  readonly ttl: number
  /** Answers remembered; the oldest go first. */
  readonly max: number
  /** ms within which no request may be forgotten, however many there are: above `HARD_MAX` new ones are turned away instead. Default: none. */
  readonly keep?: number
  /** An answer went before its `ttl`. */
  readonly onForgotten?: () => void
}

/** Where finished requests outlive the process. */
export interface RequestStore {
  load(): FinishedRequest[]
  put(request: FinishedRequest): Promise<void>
  drop(key: string): void
}

interface SeenRequest {
  readonly digest: string
  outcome: Promise<Answer>
  /** Epoch ms; undefined: on its way. */
  done: number | undefined
  size: number
}

/** Answers that say what became of the rows. Any other (busy, stopping, no answer in time) invites another try. */
const FINAL = new Set([200, 202, 422])
/** Bytes of answers remembered. */
const MAX_BYTES = 16 * 1024 * 1024
/** Requests that are kept for `keep`, of some 300 bytes each. */
const HARD_MAX = 1_000_000

/** Longer keys are kept as their hash. */
const MAX_KEY = 256

const hash = (data: string | Buffer): string => createHash('sha256').update(data).digest('base64')

const KNOWN = rejectionAnswer(409, 'replayed', 'this request was answered before; its answer is not remembered')

export class IdempotentRequests {
  /** In order of arrival. */
  private readonly entries = new Map<string, SeenRequest>()
  private readonly options: IdempotencyOptions
  private store: RequestStore | undefined
  private bytes = 0

  constructor(options: IdempotencyOptions) {
    this.options = options
  }

  /** Takes over what an earlier process has answered, and keeps what this one answers. Before the first request. */
  restore(store: RequestStore, now: number): void {
    for (const { key, digest, done, status, body } of store.load()) {
      const size = body === undefined ? 0 : this.room(key, body)
      this.entries.set(key, { digest, outcome: Promise.resolve(size > 0 ? { status, body: body! } : KNOWN), done, size })
    }
    this.store = store
    this.forget(now)
  }

  /** Runs the request, unless it has been or is being run. */
  once(name: string, body: Buffer, now: () => number, run: () => Promise<Answer>): { outcome: Promise<Answer>; repeated: boolean } {
    this.forget(now())
    // The sender decides how long its keys are.
    const key = name.length > MAX_KEY ? hash(name) : name
    const digest = hash(body)
    const known = this.entries.get(key)
    if (known) {
      if (known.digest === digest) return { outcome: known.outcome, repeated: true }
      const answer = rejectionAnswer(422, 'idempotency_key_reused', 'this key was used for another body: a new request needs a new key')
      return { outcome: Promise.resolve(answer), repeated: true }
    }
    if (this.options.keep !== undefined && this.entries.size >= Math.max(HARD_MAX, this.options.max))
      return { outcome: Promise.resolve(busy('too many signed requests to tell a replay: lower tolerance')), repeated: false }
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

  /** Resolves to the answer when it may be sent: when the store has it. */
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
    return answer
  }

  /** Takes the room of an answer. @returns 0: what may not be forgotten is kept without its answer when answers are too long */
  private room(key: string, body: string): number {
    const size = key.length + body.length
    if (this.options.keep !== undefined && this.bytes + size > MAX_BYTES) return 0
    this.bytes += size
    return size
  }

  /** Drops the oldest answers that are too many or too old; never a request on its way. */
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
