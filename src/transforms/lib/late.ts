/** Handling of late messages: their window is closed. */
import { type Counter, PipelineError, type TransformContext } from '../../contract/plugin.ts'
import { saidOnce } from '../../kit/said-once.ts'
import { formatDuration } from '../../kit/values/time.ts'

export class LateError extends PipelineError {
  constructor(message: string) {
    super('PIPE_LATE', message)
  }

  /** All times in epoch ms. */
  static ofWindow(time: number, start: number, end: number, watermark: number): LateError {
    return new LateError(
      `late: ${time} belongs to the window ${start}-${end}, which closed when event time reached ${end}; it is ${formatDuration(watermark - end)} past that`,
    )
  }
}

export interface LateCounters {
  /** Counts a dropped message, and logs the first. @param end of its window, epoch ms */
  drop(time: number, end: number, watermark: number): void
  readonly dead: Counter
  readonly revised: Counter
}

export function lateCounters(ctx: TransformContext): LateCounters {
  const counter = (action: string, loss?: string): Counter => {
    const labels = { pipeline: ctx.pipeline, step: ctx.step, action }
    return ctx.metrics.counter('runner_late_messages_total', 'Messages that arrived after their window had closed', labels, loss)
  }
  const dropped = counter('dropped', 'late')
  const say = saidOnce(ctx, 'late')
  const drop = (time: number, end: number, watermark: number): void => {
    dropped.inc()
    say(() => ({
      details: { time: new Date(time).toISOString(), window_end: new Date(end).toISOString(), late_by: formatDuration(watermark - end) },
      message:
        'dropped a message that arrived after its window had closed: raise allowed_lateness, or set on_late: dlq to keep such messages (with on_late: revise, raise retain)',
    }))
  }
  return { drop, dead: counter('dead'), revised: counter('revised') }
}
