/** Requests in progress: waiting to be read, then in the pipeline until the commit that covers them. */
import type { Message, Position, Rejection } from '../../../contract/plugin.ts'
import { errorType } from '../../../kit/dead-letter/dead-letters.ts'
import type { InputAccount } from '../../../kit/limits.ts'
import { accepted, type Answer, stopping, unknown } from './answer.ts'

interface Rejected {
  readonly index: number
  /** Which part of the row, if a step split it: `rows[3]`. */
  readonly part?: string
  readonly step: string
  readonly code: string
  readonly message: string
}

interface Call {
  readonly messages: readonly Message[]
  /** Offsets of its rows: from `first` to `end`, exclusive. */
  readonly first: number
  readonly end: number
  readonly bytes: number
  readonly rejected: Rejected[]
  /** How many each message counts for in the response; undefined: one. */
  readonly counts: readonly number[] | undefined
  readonly answer: (answer: Answer) => void
}

export interface IntakeLimits {
  readonly messages: number
  readonly bytes: number
}

export class Intake {
  /** Offset of the next row. */
  next = 0
  private readonly limits: IntakeLimits
  private readonly answered: boolean
  private readonly account: InputAccount
  private waiting: Call[] = []
  /** Read by the pipeline, in order of their offsets. */
  private running: Call[] = []
  private held = { messages: 0, bytes: 0 }
  private stopped = false
  private wake: (() => void) | undefined

  /** @param answered the request has already been answered, so its outcome is not awaited. */
  constructor(limits: IntakeLimits, account: InputAccount, answered: boolean) {
    this.limits = limits
    this.account = account
    this.answered = answered
  }

  /** Messages that wait for their commit. */
  get pending(): number {
    return this.held.messages
  }

  /** No request is waiting to be read. */
  get idle(): boolean {
    return this.waiting.length === 0
  }

  /** @returns whether there is room for a request of this many messages. A single request always fits. */
  fits(messages: number): boolean {
    const { held, limits } = this
    return held.messages === 0 || held.messages + messages <= limits.messages
  }

  /** @returns whether there is room for bodies of this many bytes that are being received. A single body always fits if nothing waits. */
  receives(bytes: number, bodies: number): boolean {
    const { held, limits } = this
    if (held.messages >= limits.messages) return false
    return (held.messages === 0 && bodies === 1) || held.bytes + bytes <= limits.bytes
  }

  /** Takes the next offsets and resolves to the response when the rows are written and committed. `make` gets the first offset. */
  put(count: number, bytes: number, make: (first: number) => Message[], counts?: readonly number[]): Promise<Answer> {
    if (this.stopped) return Promise.resolve(stopping())
    if (count === 0) return Promise.resolve(accepted(200, 0))
    const first = this.next
    this.next += count
    const messages = make(first)
    return new Promise(answer => {
      this.held.messages += count
      this.held.bytes += bytes
      this.account.add(bytes)
      this.waiting.push({ messages, first, end: this.next, bytes, rejected: [], counts, answer })
      this.wake?.()
    })
  }

  /**
   * The next complete requests, `size` messages or a little more; waits for one. When aborted, requests that were already answered still
   * come first.
   */
  async take(size: number, signal: AbortSignal): Promise<{ messages: Message[]; end: number; left: number }> {
    for (;;) {
      if (signal.aborted && !(this.answered && this.waiting.length > 0)) signal.throwIfAborted()
      if (this.waiting.length > 0) break
      await new Promise<void>(resolve => {
        const done = (): void => {
          this.wake = undefined
          signal.removeEventListener('abort', done)
          resolve()
        }
        this.wake = done
        signal.addEventListener('abort', done)
      })
    }
    const messages: Message[] = []
    let n = 0
    while (n < this.waiting.length && (n === 0 || messages.length + this.waiting[n].messages.length <= size)) {
      for (const m of this.waiting[n].messages) messages.push(m)
      n++
    }
    const calls = this.waiting.splice(0, n)
    this.running.push(...calls)
    return { messages, end: calls.at(-1)!.end, left: this.waiting.reduce((sum, c) => sum + c.messages.length, 0) }
  }

  /** @returns those that belong to no request in progress: made from rows that have already been answered. */
  reject(rejections: readonly Rejection[]): Rejection[] {
    const unreported: Rejection[] = []
    for (const rejection of rejections) {
      const { message, error, step } = rejection
      const call = this.find(message.offset)
      if (!call) unreported.push(rejection)
      call?.rejected.push({
        index: message.offset - call.first,
        ...(message.part !== undefined && { part: message.part }),
        step,
        code: errorType(error),
        message: error.message.slice(0, 1000),
      })
    }
    return unreported
  }

  /** Everything before `position` is durable: answers those requests. */
  commit(position: Position): void {
    let n = 0
    while (n < this.running.length && this.running[n].end <= (position as number)) n++
    for (const call of this.running.splice(0, n)) {
      this.release(call)
      call.answer(answerFor(call))
    }
  }

  /** Accepts no more requests and returns those that the pipeline has not read yet. */
  stop(): void {
    this.stopped = true
    if (this.answered) return
    for (const call of this.waiting.splice(0)) {
      this.release(call)
      call.answer(stopping())
    }
  }

  /** The pipeline has ended: the outcome of the other requests will not be reported. */
  abandon(): void {
    this.stop()
    for (const call of this.running.splice(0)) {
      this.release(call)
      call.answer(unknown('the pipeline ended before this request was committed'))
    }
  }

  private release(call: Call): void {
    this.held.messages -= call.messages.length
    this.held.bytes -= call.bytes
    this.account.add(-call.bytes)
  }

  private find(offset: number): Call | undefined {
    let low = 0
    let high = this.running.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const call = this.running[middle]
      if (offset < call.first) high = middle - 1
      else if (offset >= call.end) low = middle + 1
      else return call
    }
    return undefined
  }
}

/** Characters of messages in one response. */
const MAX_MESSAGES = 1024 * 1024

/** A row may be rejected in several places, but counts as one rejected row. */
function answerFor({ messages, rejected, counts }: Call): Answer {
  const all = counts ? total(counts) : messages.length
  if (rejected.length === 0) return accepted(200, all)
  const whole = new Set(rejected.filter(r => r.part === undefined).map(r => r.index))
  // If a part was rejected, the rest of its row is still accepted.
  const parts = new Set(rejected.filter(r => !whole.has(r.index)).map(r => `${r.index} ${r.part}`))
  const lost = counts ? total([...whole].map(index => counts[index])) + parts.size : whole.size
  const sorted = rejected.toSorted((a, b) => a.index - b.index)
  // Lists every rejected row, but limits the messages to the size of a response.
  let room = MAX_MESSAGES
  for (const [i, r] of sorted.entries()) {
    room -= r.message.length
    if (room < 0) sorted[i] = { ...r, message: '' }
  }
  return { status: 422, body: JSON.stringify({ accepted: Math.max(0, all - lost), rejected: sorted }) }
}

/** The number that each message counts for. */
export const total = (counts: readonly number[]): number => counts.reduce((sum, n) => sum + n, 0)
