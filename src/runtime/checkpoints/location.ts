/** Where the position of a source is kept durable: decided in one place, for `run` and for the commands that look at it. */
import type { CheckpointStore, Context, Source, SourcePlugin, Transactor } from '../../contract/plugin.ts'
import type { Pipeline, Step } from '../../config/model.ts'
import { isOneShot, isReplayable, transactionsOf } from '../../config/traits.ts'

export type CheckpointLocation =
  /** In one transaction with the outputs; `own`: the source's, else a sink's. */
  | { readonly kind: 'transaction'; readonly store: Transactor; readonly scope: string; readonly own: boolean }
  /** In a store beside the outputs; it wins over what the source remembers. */
  | { readonly kind: 'store'; readonly store: CheckpointStore }
  /** In the source's own memory only: a group's offsets. */
  | { readonly kind: 'source' }
  /** Nowhere: every run reads all. */
  | { readonly kind: 'none' }

/** @param local makes the store for sources that have none; called only when it is needed. */
export function checkpointLocation(
  step: Step<SourcePlugin>,
  pipeline: Pick<Pipeline, 'delivery' | 'sinks' | 'transforms'>,
  source: Source,
  context: Context,
  local: () => CheckpointStore,
): CheckpointLocation {
  if (isOneShot(step)) return { kind: 'none' }
  if (pipeline.delivery === 'exactly_once') {
    const { scope, own, create, config } = transactionsOf(step, pipeline.sinks)!
    return { kind: 'transaction', store: create(config, context), scope, own }
  }
  const own = step.plugin.transactions
  const stateful = pipeline.transforms.some(t => t.plugin.stateful)
  if (own) return stateful ? { kind: 'store', store: own.create(step.config, context) } : { kind: 'source' }
  if (source.commit && !stateful) return { kind: 'source' }
  // State behind what cannot be read again is kept all the same; the position then only says how far the source was.
  return stateful || isReplayable(step) ? { kind: 'store', store: local() } : { kind: 'source' }
}
