/** The live status line of `run` on a terminal: one line per pipeline, redrawn twice a second. */
import { grouped } from '../../kit/text/grouped.ts'
import type { PipelineRun } from '../pipeline.ts'

export interface StatusLine {
  /** Removes the status line until the next redraw, so that log lines are not overwritten. */
  clear(): void
  /** Leaves the last state on the screen. */
  done(): void
}

/** @param time formats a watermark. */
export async function showStatus(runs: readonly PipelineRun[], time: (ms: number) => string): Promise<StatusLine> {
  const { createLogUpdate } = await import('log-update')
  const update = createLogUpdate(process.stderr)
  const last = new Map<PipelineRun, { at: number; processed: number; rate: number }>()
  const draw = (): void => update(runs.map(run => line(run, last, time)).join('\n'))
  const timer = setInterval(draw, 500)
  timer.unref()
  return {
    clear: () => update.clear(),
    done() {
      clearInterval(timer)
      draw()
      update.done()
    },
  }
}

function line(
  run: PipelineRun,
  last: Map<PipelineRun, { at: number; processed: number; rate: number }>,
  time: (ms: number) => string,
): string {
  const { meters, pipeline } = run.built
  const now = performance.now()
  const read = meters.sum('source', 'in')
  // Commits come in bursts, so the rate is computed from the records that passed the inlet.
  const processed = meters.sum('source', 'out')
  const before = last.get(run)
  const rate = before && now > before.at ? ((processed - before.processed) * 1000) / (now - before.at) : 0
  last.set(run, { at: now, processed, rate })
  const dead = meters.steps.reduce((n, m) => n + m.dead, 0)
  const watermark = meters.lowestWatermark()
  return [
    pipeline.name,
    `in ${grouped(read)}`,
    `out ${grouped(meters.sum('sink', 'out'))}`,
    `dead ${grouped(dead)}`,
    ...Object.entries(meters.losses()).map(([what, n]) => `${what.replaceAll('_', ' ')} ${grouped(n)}`),
    `lag ${grouped(meters.totalLag())}`,
    `${grouped(Math.round(rate))}/s`,
    watermark === undefined ? '' : `watermark ${time(watermark)}`,
  ]
    .filter(Boolean)
    .join('  ')
}
