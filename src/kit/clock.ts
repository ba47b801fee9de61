/**
 * Two clocks. The wall clock dates records and event time, and may be set forward or back at any moment. The monotonic clock measures
 * durations: intervals, deadlines, silence, leases. Never subtract one wall-clock time from another to wait.
 * The runtime and its transforms receive both as arguments, so that tests can control them.
 */
export interface Clock {
  /** Wall clock, epoch ms. */
  now(): number
  /** Never set back or forward; only differences are meaningful, and only within this process. ms */
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

/** The wall clock has jumped when it differs by more than this from the expected time, ms. */
const JUMP = 1000
/** A wall clock that has jumped must keep the new time for this long, ms: then it is accepted. */
const BELIEVED_AFTER = 60_000

/**
 * A wall clock that is protected from wrong times: its dates become event time, which never moves back. Slow corrections are followed
 * immediately. A jump is followed after it has lasted for a minute; until then the old time continues.
 */
export class SteadyWallClock {
  private readonly clock: Pick<Clock, 'now' | 'monotonic'>
  private readonly onJump: (by: number) => void
  /** Wall clock minus monotonic clock, as accepted. */
  private offset: number
  /** A jump that is not accepted yet. */
  private jump: { readonly offset: number; readonly since: number } | undefined

  /** @param onJump called with the size in ms when a jump begins */
  constructor(clock: Pick<Clock, 'now' | 'monotonic'>, onJump: (by: number) => void) {
    this.clock = clock
    this.onJump = onJump
    this.offset = clock.now() - clock.monotonic()
  }

  now(): number {
    const wall = this.clock.now()
    const monotonic = this.clock.monotonic()
    const offset = wall - monotonic
    if (Math.abs(offset - this.offset) <= JUMP) {
      this.offset = offset
      this.jump = undefined
      return wall
    }
    if (this.jump === undefined || Math.abs(offset - this.jump.offset) > JUMP) {
      this.jump = { offset, since: monotonic }
      this.onJump(Math.round(offset - this.offset))
    } else if (monotonic - this.jump.since >= BELIEVED_AFTER) {
      this.offset = offset
      this.jump = undefined
      return wall
    }
    return Math.round(monotonic + this.offset)
  }
}

/** Advances only by calls. Timers fire in order of their due time, at that time. */
export class VirtualClock implements Clock {
  private time: number
  /** How far the wall clock has been set away from `time`. */
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

  /** Sets the wall clock forward or back by this many ms. Timers are not affected. */
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

  /** Time passes while the process is suspended: timers that were due meanwhile fire late, at the next step. */
  skip(ms: number): void {
    this.time += ms
  }

  /** Steps to the next timer due at or before `until` and fires it; false when there is none (the clock is then at `until`). */
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
