/** The first violation of a limit is logged, once per step; a counter counts the others. */
import type { Logger, TransformContext } from '../contract/plugin.ts'

type Say = (describe: () => { readonly details?: object; readonly message: string }) => void

/** @returns a function that logs only the first call. `describe` is called then. */
export function logOnce(log: Logger, step: string): Say {
  let said = false
  return describe => {
    if (said) return
    said = true
    const { details, message } = describe()
    log.warn({ step, ...details }, `${message}; this is logged once, further cases are counted`)
  }
}

/** The same for a transform, over all lanes of the step. */
export function saidOnce(ctx: TransformContext, name: string): Say {
  const say = ctx.shared(`said-once/${name}`, () => logOnce(ctx.log, ctx.step))
  return describe =>
    say(() => {
      const { details, message } = describe()
      return { details: { lane: ctx.lane.id, ...details }, message }
    })
}
