/** Time is handed in, so that a test can drive it: the runtime and its plugins never call `Date.now` or `setTimeout` themselves. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number
  /** Calls `fn` once after `ms`; returns a function that cancels it. */
  after(ms: number, fn: () => void): () => void
}

export const systemClock: Clock = {
  now: Date.now,
  after(ms, fn) {
    const timer = setTimeout(fn, ms)
    return () => clearTimeout(timer)
  },
}

/** Moves only when told to. Timers fire in order of their due time, at that time. */
export class VirtualClock implements Clock {
  private time: number
  private timers: { due: number; seq: number; fn: () => void }[] = []
  private seq = 0

  constructor(start: number) {
    this.time = start
  }

  now(): number {
    return this.time
  }

  after(ms: number, fn: () => void): () => void {
    const timer = { due: this.time + Math.max(0, ms), seq: this.seq++, fn }
    this.timers.push(timer)
    return () => {
      this.timers = this.timers.filter(t => t !== timer)
    }
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
