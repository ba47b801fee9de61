/**
 * Two times. The wall clock dates records and event time, and may be set forward or back at any moment. The monotonic clock measures
 * how long something takes: intervals, deadlines, silence, leases. Never subtract one wall-clock time from another to wait.
 * The runtime and its transforms get both handed in, so that tests can drive them.
 */
export interface Clock {
  /** Wall clock, epoch ms. */
  now(): number
  /** Never set back or forward; only differences mean something, and only within this process. ms */
  monotonic(): number
  /** Calls `fn` once after `ms`; returns a function that cancels it. */
  after(ms: number, fn: () => void): () => void
}

/** ms. Starts near the epoch time of the process start, so that 0 is long ago. */
export const monotonic = (): number => performance.timeOrigin + performance.now()

/** Wall-clock time and real timers: what a pipeline outside of tests runs on. */
export const systemClock: Clock = {
  now: Date.now,
  monotonic,
  after(ms, fn) {
    const timer = setTimeout(fn, ms)
    return () => clearTimeout(timer)
  },
}

/** Moves only when told to. Timers fire in order of their due time, at that time. */
export class VirtualClock implements Clock {
  private time: number
  /** By how much the wall clock has been set away from `time`. */
  private offset = 0
  private timers: { due: number; seq: number; fn: () => void }[] = []
  private seq = 0

  constructor(start: number) {
    this.time = start
  }

  now(): number {
    return this.time + this.offset
  }

  monotonic(): number {
    return this.time
  }

  /** The wall clock is set, by so many ms forward or back. Timers are not affected. */
  setWallClock(by: number): void {
    this.offset += by
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { due: this.time + Math.max(0, ms), seq: this.seq++, fn }
    this.timers.push(timer)
    return () => {
      this.timers = this.timers.filter(t => t !== timer)
    }
  }

  /** Time passes without the process: timers that were due meanwhile fire late, at the next step. */
  skip(ms: number): void {
    this.time += ms
  }

  /** Steps to the next timer due at or before `until` and fires it; false when there is none (the clock then stands at `until`). */
  step(until: number): boolean {
    let next: (typeof this.timers)[number] | undefined
    for (const t of this.timers) if (t.due <= until && (!next || t.due < next.due || (t.due === next.due && t.seq < next.seq))) next = t
    if (!next) {
      this.time = Math.max(this.time, until)
      return false
    }
    this.timers = this.timers.filter(t => t !== next)
    this.time = Math.max(this.time, next.due)
    next.fn()
    return true
  }
}
