/** Does a peer answer? A connection may be open for hours to a server that is frozen, or gone without a word. */
import { monotonic } from './clock.ts'

/** How long a peer may be silent before it is asked, and how long its answer may take, ms: together under eight seconds. */
const QUIET = 2000
const ANSWER = 5000

/**
 * Asked by `healthy()` several times a second. What the peer answers anyway counts; it is pinged only when nothing has come for a while.
 */
export class PeerWatch {
  private readonly ping: () => Promise<unknown>
  /** When the last answer came, `monotonic` ms. */
  private answeredAt = monotonic()
  /** When the ping under way was sent; undefined: none is. */
  private askedAt: number | undefined
  private problem: string | undefined
  /** Not asked again before, `monotonic` ms. */
  private notBefore = 0

  /** @param ping rejects when the peer is away. A late answer counts when it comes. */
  constructor(ping: () => Promise<unknown>) {
    this.ping = ping
  }

  answered(): void {
    this.answeredAt = monotonic()
    this.problem = undefined
  }

  failed(error: Error): void {
    this.problem = error.message
  }

  /** True, or why not. */
  look(): true | string {
    const now = monotonic()
    if (this.askedAt === undefined && now >= this.notBefore && now - this.answeredAt > QUIET) this.send(now)
    const silent = this.askedAt !== undefined && now - this.askedAt > ANSWER && now - this.answeredAt > ANSWER
    return silent ? 'no answer from the peer' : (this.problem ?? true)
  }

  private send(now: number): void {
    this.askedAt = now
    void this.ping()
      .then(
        () => this.answered(),
        (error: Error) => {
          this.failed(error)
          this.notBefore = monotonic() + QUIET / 2
        },
      )
      .finally(() => (this.askedAt = undefined))
  }
}
