/**
 * The bounds of a backfill. Records are selected by their timestamp, but windows use event time, and records arrive late and out of order.
 * A backfill therefore also reads records around its bounds, as far as they can belong to a window within them, and drops the outputs
 * outside of the bounds.
 */
import type { Message, Output, Transform } from '../contract/plugin.ts'
import type { Pipeline, Step } from '../config/model.ts'
import { branchesOf, reaches, sinksOf } from '../config/route.ts'

/** Bounds in epoch ms, `to` exclusive. */
export interface Range {
  readonly from?: number
  readonly to?: number
}

/** Maximum expected delay of a record between its event and its topic, ms. */
const DELAY = 60_000

/** ms to read before and after the bounds; 0: no step collects over event time. */
export function windowSpanOf(pipeline: Pipeline): number {
  const span = Math.max(0, ...pipeline.transforms.map(({ plugin, config }) => plugin.windowSpan?.(config) ?? 0))
  return span > 0 ? span + DELAY : 0
}

export const widen = ({ from, to }: Range, span: number): Range => ({
  from: from === undefined ? undefined : Math.max(0, from - span),
  to: to === undefined ? undefined : to + span,
})

/** Emits only messages whose window end, or time, is within the bounds: their windows are complete. */
export function keepWithin(transform: Transform, { from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY }: Range): Transform {
  const within = (m: Message): boolean => {
    const end = m.result?.end ?? m.time
    return end > from && end <= to
  }
  const outputs = new WeakMap<Output, Output>()
  const limited = (out: Output): Output => {
    let limit = outputs.get(out)
    if (!limit) {
      limit = {
        emit: m => {
          if (within(m)) out.emit(m)
        },
        emitTo: (port, m) => {
          if (within(m)) out.emitTo(port, m)
        },
        fail: (m, error) => out.fail(m, error),
      }
      outputs.set(out, limit)
    }
    return limit
  }
  return {
    open: transform.open && (() => transform.open!()),
    healthy: transform.healthy && (() => transform.healthy!()),
    process: (messages, out) => transform.process(messages, limited(out)),
    onGap: transform.onGap && (gap => transform.onGap!(gap)),
    onClock: transform.onClock && ((time, out) => transform.onClock!(time, limited(out))),
    onIdle: transform.onIdle && ((silence, out) => transform.onIdle!(silence, limited(out))),
    onEnd: transform.onEnd && ((out, until) => transform.onEnd!(limited(out), until)),
    close: transform.close && (() => transform.close!()),
  }
}

/**
 * A `route` drops messages outside of the bounds that enter a way without a step that needs them: they were read only for the windows of
 * other ways.
 * @param steps all transforms of the pipeline
 */
export function keepWays(route: Step, transform: Transform, steps: Pipeline['transforms'], range: Range): Transform {
  const at = steps.findIndex(s => s.name === route.name)
  const collects = steps.map(s => s.plugin.windowSpan !== undefined)
  if (steps.some((s, i) => i < at && collects[i] && reaches(steps, s.branch, route.branch))) return transform
  const within = (branch: string | undefined, way: string): boolean => branch === way || branch?.startsWith(`${way}/`) === true
  const behind = steps.some((s, i) => i > at && collects[i] && !within(s.branch, route.name) && reaches(steps, route.branch, s.branch))
  const needs = (way: string): boolean => steps.some((s, i) => collects[i] && within(s.branch, way))
  const bounded = new Set<string | undefined>(behind ? [] : [route.branch])
  for (const branch of branchesOf(route)!) {
    const way = `${route.name}/${branch.name}`
    if (!needs(way) && (sinksOf(branch).length > 0 || !behind)) bounded.add(way)
  }
  return {
    ...transform,
    process: (messages, out) =>
      transform.process(messages, {
        emit: m => {
          if (!bounded.has(m.branch) || !isOutside(m, range)) out.emit(m)
        },
        emitTo: (port, m) => out.emitTo(port, m),
        fail: (m, error) => out.fail(m, error),
      }),
  }
}

/** Whether the time of the message is outside of the bounds. Such a message was read only for the windows, and is not dead-lettered. */
export const isOutside = (m: Message, { from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY }: Range): boolean =>
  m.time < from || m.time >= to
