/** Checks that a peer answers: a connection may stay open for hours to a server that is frozen or has vanished. */
import { monotonic } from './clock.ts'

/** How long a peer may be silent before it is pinged, and how long its response may take, ms: together under eight seconds. */
const QUIET = 2000
const ANSWER = 5000

/**
 * `healthy()` calls this several times a second. Any response of the peer counts; it is pinged only after a period of silence.
 */
export class PeerWatch {
  private readonly ping: () => Promise<unknown>
  /** When the last response arrived, `monotonic` ms. */
  private answeredAt = monotonic()
  /** When the ping in progress was sent; undefined: none. */
  private askedAt: number | undefined
  private problem: string | undefined
  /** The next ping is not sent earlier, `monotonic` ms. */
  private notBefore = 0

  /** @param ping rejects when the peer is unavailable. A late response counts when it arrives. */
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

  /** True, or the reason why not. */
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
