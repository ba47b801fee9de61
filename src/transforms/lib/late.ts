/** What becomes of messages whose window has closed. */
import { type Counter, PipelineError, type TransformContext } from '../../contract/plugin.ts'
import { formatDuration } from '../../kit/values/time.ts'

export class LateError extends PipelineError {
  constructor(time: number, start: number, end: number, watermark: number) {
    super(
      'PIPE_LATE',
      `late: ${time} belongs to the window ${start}-${end}, which closed when event time reached ${end}; it stands ${formatDuration(watermark - end)} past that`,
    )
  }
}

export interface LateCounters {
  readonly dropped: Counter
  readonly dead: Counter
  readonly revised: Counter
}

export function lateCounters(ctx: TransformContext): LateCounters {
  const counter = (action: string): Counter =>
    ctx.metrics.counter('runner_late_messages_total', 'Messages that came after their window had closed', {
      pipeline: ctx.pipeline,
      step: ctx.step,
      action,
    })
  return { dropped: counter('dropped'), dead: counter('dead'), revised: counter('revised') }
}
