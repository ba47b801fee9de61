/** Selects where the position of a source is stored, for `run` and for the commands that read it. */
import type { CheckpointStore, Context, Source, SourcePlugin, Transactor } from '../../contract/plugin.ts'
import type { Pipeline, Step } from '../../config/model.ts'
import { isOneShot, isReplayable, transactionsOf } from '../../config/traits.ts'

export type CheckpointLocation =
  /** In one transaction with the outputs. `own`: the transaction belongs to the source, otherwise to a sink. */
  | { readonly kind: 'transaction'; readonly store: Transactor; readonly scope: string; readonly own: boolean }
  /** In a store apart from the outputs. It takes precedence over a position that the source stores. */
  | { readonly kind: 'store'; readonly store: CheckpointStore }
  /** Only in the system of the source, such as the offsets of a group. */
  | { readonly kind: 'source' }
  /** Not stored: every run reads everything. */
  | { readonly kind: 'none' }

/** @param local creates the store for sources that have none; called only if it is needed */
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
  // State is stored even if the source cannot be read again. The position then only records how far the source was read.
  return stateful || isReplayable(step) ? { kind: 'store', store: local() } : { kind: 'source' }
}
