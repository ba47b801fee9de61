/**
 * Windows with missing records: `on_gap`. A gap in a lane extends from the watermark before it (older records would have been late) to
 * the event time of the first record after it that advances event time, plus the allowed lateness (a newer record would make that one
 * late). Windows that overlap a gap may be incomplete. If no record is late, all other windows are complete.
 */
import {
  type Counter,
  type Json,
  type Message,
  type Output,
  PipelineError,
  type State,
  type TransformContext,
} from '../../contract/plugin.ts'
import { saidOnce } from '../../kit/said-once.ts'

export type OnGap = 'stop' | 'mark' | 'withhold' | 'dead_letter'

/** The window of a result has missing records. */
export class GapError extends PipelineError {
  constructor(start: number, end: number) {
    super('PIPE_GAP', `incomplete: records of the window ${start}-${end} were deleted before they were read`)
  }
}

/** Epoch ms; null: unbounded on that side. */
type Hole = [from: number | null, to: number | null]

const KEY = 'gaps'
/** Above this, the oldest two are merged: a lane that keeps losing records has one long gap. */
const MAX_HOLES = 100

interface Options {
  readonly on_gap: OnGap
  readonly allowed_lateness: number
  /** Maximum length of a window, and maximum delay between its end and its output, ms. */
  readonly span: number
  /** Time before the start of a window in which a missing record may belong to it, ms: a session starts at its first record. Default 0. */
  readonly reach?: number
}

export class Gaps {
  /** A gap has begun, and no record has advanced event time since. */
  pending: boolean
  /** A window may have missing records. A field, because it is read for each result. */
  any: boolean
  private holes: Hole[]
  private readonly state: State<Json>
  private readonly options: Options
  private readonly incomplete: Counter
  private readonly say: ReturnType<typeof saidOnce>

  constructor(ctx: TransformContext, state: State<Json>, options: Options) {
    this.state = state
    this.options = options
    this.holes = (state.get(KEY) as Hole[] | undefined) ?? []
    this.any = this.holes.length > 0
    this.pending = this.holes.some(([, to]) => to === null)
    this.incomplete = ctx.metrics.counter(
      'runner_incomplete_windows_total',
      'Windows with missing records, which were deleted before they were read',
      { pipeline: ctx.pipeline, step: ctx.step, action: options.on_gap },
    )
    this.say = saidOnce(ctx, 'gap')
  }

  /** Begins a gap after the records read so far. */
  begin(watermark: number): void {
    this.prune(watermark)
    if (!this.pending) this.holes.push([Number.isFinite(watermark) ? watermark : null, null])
    this.pending = true
    if (this.holes.length > MAX_HOLES) this.holes.splice(0, 2, [this.holes[0][0], this.holes[1][1]])
    this.save()
  }

  /** Ends the gap. @param time event time of the first record after the gap that advances event time */
  end(time: number): void {
    this.pending = false
    for (const hole of this.holes) hole[1] ??= time + this.options.allowed_lateness
    this.save()
  }

  /** @param record value of the message. @returns whether to emit the result */
  admit(message: Message, record: object, start: number, end: number, out: Output): boolean {
    const { reach = 0 } = this.options
    if (!this.holes.some(([from, to]) => (from === null || end > from) && (to === null || start <= to + reach))) return true
    this.incomplete.inc()
    const { on_gap } = this.options
    if (on_gap === 'mark') {
      ;(record as { incomplete?: boolean }).incomplete = true
      return true
    }
    if (on_gap === 'dead_letter') {
      out.fail(message, new GapError(start, end))
      return false
    }
    this.say(() => ({
      details: { window_start: new Date(start).toISOString(), window_end: new Date(end).toISOString() },
      message: 'withheld a window with missing records (on_gap); runner_incomplete_windows_total counts them',
    }))
    return false
  }

  private prune(watermark: number): void {
    this.holes = this.holes.filter(([, to]) => to === null || to > watermark - this.options.span - (this.options.reach ?? 0))
  }

  private save(): void {
    this.any = this.holes.length > 0
    this.state.set(KEY, this.holes)
  }
}
