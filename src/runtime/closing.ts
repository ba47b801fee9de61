import type { Logger } from '../contract/plugin.ts'
import type { Clock } from '../kit/clock.ts'

export type Closing = readonly [what: string, close: () => Promise<unknown> | undefined | void]

/** One after the other, within `budget` ms in all: a peer that does not answer must not keep the process. What fails or takes longer is left, and logged. */
export async function closeAll(closings: Iterable<Closing>, budget: number, clock: Clock, log: Logger): Promise<void> {
  const late = Promise.withResolvers<'late'>()
  const cancel = clock.after(budget, () => late.resolve('late'))
  for (const [what, close] of closings) {
    try {
      if ((await Promise.race([close(), late.promise])) === 'late') log.warn({}, `closing ${what} takes too long; leaving it`)
    } catch (error) {
      log.warn({ error: (error as Error).message }, `closing ${what} failed`)
    }
  }
  cancel()
}
