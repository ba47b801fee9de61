/** A bound that ends a promise is logged when it first does, once a step; a counter has the rest. */
import type { TransformContext } from '../contract/plugin.ts'

/** @returns what logs the first time only, whichever of the step's lanes it happens in. `describe` is called then. */
export function saidOnce(
  ctx: TransformContext,
  name: string,
): (describe: () => { readonly details: object; readonly message: string }) => void {
  const shared = ctx.shared(`said-once/${name}`, () => ({ said: false }))
  return describe => {
    if (shared.said) return
    shared.said = true
    const { details, message } = describe()
    ctx.log.warn({ step: ctx.step, lane: ctx.lane.id, ...details }, `${message}; this is logged once, further ones are counted`)
  }
}
