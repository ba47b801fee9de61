/** Requests by a key: a repeat of a finished one gets its answer, a repeat of one on its way waits for it. */
import { createHash } from 'node:crypto'
import { type Answer, busy, rejectionAnswer } from './answer.ts'

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

const KNOWN = rejectionAnswer(409, 'replayed', 'this request was answered before; its answer is not remembered')

export class IdempotentRequests {
  /** In order of arrival. */
  private readonly entries = new Map<string, SeenRequest>()
  private readonly options: IdempotencyOptions
  private bytes = 0

  constructor(options: IdempotencyOptions) {
    this.options = options
  }

  /** Runs the request, unless it has been or is being run. */
  once(key: string, body: Buffer, now: () => number, run: () => Promise<Answer>): { outcome: Promise<Answer>; repeated: boolean } {
    this.forget(now())
    const digest = createHash('sha256').update(body).digest('base64')
    const known = this.entries.get(key)
    if (known) {
      if (known.digest === digest) return { outcome: known.outcome, repeated: true }
      const answer = rejectionAnswer(422, 'idempotency_key_reused', 'this key was used for another body: a new request needs a new key')
      return { outcome: Promise.resolve(answer), repeated: true }
    }
    if (this.options.keep !== undefined && this.entries.size >= Math.max(HARD_MAX, this.options.max))
      return { outcome: Promise.resolve(busy('too many signed requests to tell a replay: lower tolerance')), repeated: false }
    const outcome = run()
    const entry: SeenRequest = { digest, outcome, done: undefined, size: 0 }
    this.entries.set(key, entry)
    outcome.then(
      answer => {
        if (!FINAL.has(answer.status)) return this.entries.delete(key)
        entry.done = now()
        entry.size = answer.body.length + key.length
        // What may not be forgotten is kept without its answer when answers are too long.
        if (this.options.keep !== undefined && this.bytes + entry.size > MAX_BYTES) {
          entry.size = 0
          entry.outcome = Promise.resolve(KNOWN)
        }
        this.bytes += entry.size
        this.forget(now())
        return true
      },
      () => this.entries.delete(key),
    )
    return { outcome, repeated: false }
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
      this.bytes -= size
      if (now - done < this.options.ttl) this.options.onForgotten?.()
    }
  }
}
