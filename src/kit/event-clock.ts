/**
 * Event time of one transform on one lane. The watermark says: nothing older than this is expected any more. It follows the
 * messages alone (largest time seen, minus the allowed lateness), one message after the other, so that what it decides never depends on
 * batching or speed. The one exception is silence on a caught-up lane: then event time goes on as long as the silence lasts, and
 * because the watermark is part of the state, a restart judges late messages as the first run did.
 */
import type { Json, State } from '../contract/plugin.ts'

/** All in ms; `lateness` is how far a record may be behind the newest one. */
export interface EventClockOptions {
  /** ms by which a message may be older than the newest one. */
  readonly allowed_lateness: number
  /** ms of silence after which event time advances by itself; 0: never. */
  readonly idle_timeout: number
}

const KEY = 'time'

/** The watermark of a lane: the time up to which no record is expected any more. One per lane, fed with each record's time (epoch ms). */
export class EventClock {
  /** Largest event time seen, epoch ms; -Infinity before the first message. */
  max = Number.NEGATIVE_INFINITY
  /** Never moves back. */
  watermark = Number.NEGATIVE_INFINITY
  private dirty = false
  private readonly state: State<Json>
  private readonly lateness: number
  private readonly idleTimeout: number

  constructor(state: State<Json>, options: EventClockOptions) {
    this.state = state
    this.lateness = options.allowed_lateness
    this.idleTimeout = options.idle_timeout
    const restored = state.get(KEY) as [number | null, number | null] | undefined
    // JSON has no infinity: the clock of a lane may be set before its first message.
    if (restored) [this.max, this.watermark] = restored.map(time => time ?? Number.NEGATIVE_INFINITY) as [number, number]
  }

  /** Call it for every message whose time is larger than `max`. @returns the watermark. */
  observe(time: number): number {
    this.max = time
    this.dirty = true
    return this.advance(time - this.lateness)
  }

  /** The same for a message that contains the clock of its lane. Call it for every one. @returns the watermark. */
  follow(time: number, clock: number): number {
    if (time > this.max) {
      this.max = time
      this.dirty = true
    }
    return this.advance(clock - this.lateness)
  }

  /**
   * Call for every message, with or without a clock.
   * @param due smallest end of the open windows
   * @returns true when that one must close.
   */
  reaches(due: number, time: number, clock: number | undefined): boolean {
    if (clock !== undefined) return this.follow(time, clock) >= due
    return time > this.max && this.observe(time) >= due
  }

  /**
   * Silence advances the watermark only to the end of the windows that it closes: later messages are judged by the messages seen, not by
   * the length of the silence.
   * @param due smallest end of the open windows
   * @param lastEnd largest end of the open windows, at or before a time
   * @returns true when it advanced.
   */
  idle(silence: number, due: number, lastEnd: (until: number) => number): boolean {
    if (this.idleTimeout === 0 || silence < this.idleTimeout || this.max === Number.NEGATIVE_INFINITY) return false
    const until = this.max + silence - this.lateness
    if (until < due) return false
    const before = this.watermark
    return this.advance(lastEnd(until)) > before
  }

  /** Everything up to `time` is closed: later messages for it are late. */
  advance(time: number): number {
    if (time > this.watermark) {
      this.watermark = time
      this.dirty = true
    }
    return this.watermark
  }

  /** Writes changes to the state; once per call of the transform is enough. @returns true when there were any. */
  save(): boolean {
    if (!this.dirty) return false
    this.dirty = false
    this.state.set(KEY, [this.max, this.watermark])
    return true
  }
}
