/** Reports commits to a SQLite file: those of this process immediately, those of others by polling. */

/** Polling interval while the file is watched: short at first, long when nothing happens. */
const TICK_MIN_MS = 2
const TICK_MAX_MS = 20
const CALMER = 1.2

export class CommitWatch {
  private readonly version: () => number
  private readonly watchers = new Set<() => void>()
  private timer: NodeJS.Timeout | undefined
  private tick = TICK_MIN_MS
  private seen = -1
  private notifying = false

  /** `version` must change when another connection has committed. */
  constructor(version: () => number) {
    this.version = version
  }

  add(fn: () => void): () => void {
    this.watchers.add(fn)
    if (!this.timer) this.schedule()
    return () => {
      this.watchers.delete(fn)
      if (this.watchers.size === 0) this.stop()
    }
  }

  /** This process has committed. Many commits in one turn of the event loop are one call. */
  own(): void {
    if (this.notifying || this.watchers.size === 0) return
    this.notifying = true
    setImmediate(() => {
      this.notifying = false
      this.call()
    })
  }

  stop(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.watchers.clear()
  }

  private schedule(): void {
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.look()
      if (this.watchers.size > 0 && !this.timer) this.schedule()
    }, this.tick)
  }

  private look(): void {
    let version = this.seen
    try {
      version = this.version()
    } catch {
      // The next read or write fails with the same error, and reports it.
    }
    if (version === this.seen) this.tick = Math.min(TICK_MAX_MS, this.tick * CALMER)
    else {
      this.seen = version
      this.tick = TICK_MIN_MS
      this.call()
    }
  }

  private call(): void {
    for (const fn of this.watchers) fn()
  }
}
