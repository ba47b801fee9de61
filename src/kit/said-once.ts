/** A bound that ends a promise is logged when it first does, once a step; a counter has the rest. */
import type { Logger, TransformContext } from '../contract/plugin.ts'

type Say = (describe: () => { readonly details?: object; readonly message: string }) => void

/** @returns what logs the first time only. `describe` is called then. */
export function logOnce(log: Logger, step: string): Say {
  let said = false
  return describe => {
    if (said) return
    said = true
    const { details, message } = describe()
    log.warn({ step, ...details }, `${message}; this is logged once, further ones are counted`)
  }
}

/** The same for a transform, whichever of the step's lanes it happens in. */
export function saidOnce(ctx: TransformContext, name: string): Say {
  const say = ctx.shared(`said-once/${name}`, () => logOnce(ctx.log, ctx.step))
  return describe =>
    say(() => {
      const { details, message } = describe()
      return { details: { lane: ctx.lane.id, ...details }, message }
    })
}
