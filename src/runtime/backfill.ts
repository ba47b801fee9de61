/**
 * The edges of a backfill. Records are found by their own time, windows go by event time, and the two differ: records come late and
 * out of order. So what lies around the bounds is read too, as far as it can reach into a window within them, and what it makes
 * outside of them is kept in.
 */
import type { Message, Output, Transform } from '../contract/plugin.ts'
import type { Pipeline } from '../config/model.ts'

/** Epoch ms. */
export interface Range {
  readonly from?: number
  readonly to?: number
}

/** Records may reach their topic this much later than the trade, or other event happened, ms. */
const DELAY = 60_000

/** ms around the bounds that have to be read; 0: nothing in the pipeline collects over event time. */
export function windowSpanOf(pipeline: Pipeline): number {
  const span = Math.max(0, ...pipeline.transforms.map(({ plugin, config }) => plugin.windowSpan?.(config) ?? 0))
  return span > 0 ? span + DELAY : 0
}

export const widen = ({ from, to }: Range, span: number): Range => ({
  from: from === undefined ? undefined : Math.max(0, from - span),
  to: to === undefined ? undefined : to + span,
})

/** Lets out only what ends within the bounds: its windows are whole. */
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
    process: (messages, out) => transform.process(messages, limited(out)),
    onGap: transform.onGap && (gap => transform.onGap!(gap)),
    onClock: transform.onClock && ((time, out) => transform.onClock!(time, limited(out))),
    onIdle: transform.onIdle && ((silence, out) => transform.onIdle!(silence, limited(out))),
    onEnd: transform.onEnd && ((out, until) => transform.onEnd!(limited(out), until)),
    close: transform.close && (() => transform.close!()),
  }
}

/** Whose time lies outside: it was read only for its windows, and is not dead-lettered. */
export const isOutside = (m: Message, { from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY }: Range): boolean =>
  m.time < from || m.time >= to
