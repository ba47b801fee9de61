/**
 * Stores marks for processed dead letters in the checkpoints of a separate pipeline, `<name>-dlq-replay`. If possible, outputs are
 * committed in one transaction with the marks. Replay and discard use the same store.
 */
import { systemClock } from '../kit/clock.ts'
import {
  type CheckpointStore,
  type Context,
  DEFAULT_DEPTH,
  type LaneInfo,
  type Logger,
  type SinkPlugin,
  type Transactor,
} from '../contract/plugin.ts'
import { localCheckpoints } from '../runtime/checkpoints/local.ts'
import type { Pipeline, Step } from '../config/model.ts'
import { transactionsOf } from '../config/traits.ts'

export interface MarkStore {
  readonly store: CheckpointStore
  /** Present if outputs of that scope can be committed with the marks. */
  readonly transactions?: { readonly transactor: Transactor; readonly scope: string }
}

const replayName = (pipeline: string): string => `${pipeline}-dlq-replay`

/** Independent of the version of the pipeline: marks remain valid when its state is reset. */
const VERSION = 1

export type WithDlq = Pipeline & { readonly dlq: Step<SinkPlugin> }

export function openMarkStore(pipeline: WithDlq, context: Omit<Context, 'pipeline' | 'version' | 'step'>): MarkStore {
  const { dlq, sinks } = pipeline
  const ctx: Context = { ...context, step: dlq.name, pipeline: replayName(pipeline.name), version: VERSION }
  const transactions = dlq.plugin.transactions?.create && dlq.plugin.transactions
  // The log of the dlq first: there, a dead letter that fails again is also part of the transaction.
  const found = transactionsOf({ plugin: { transactions } as never, config: dlq.config }, sinks)
  if (found) {
    const transactor = found.create(found.config, ctx)
    return { store: transactor, transactions: { transactor, scope: found.scope } }
  }
  if (transactions?.create) {
    const transactor = transactions.create(dlq.config, ctx)
    return { store: transactor, transactions: { transactor, scope: transactions.scope(dlq.config) } }
  }
  return { store: localCheckpoints({ id: `${ctx.pipeline}.${VERSION}` }) }
}

/** A lane of the dlq, as named in the marks. */
export const markLane = (id: string, source: string): LaneInfo => ({ id, source })

/** Context of a read-only command, without metrics. */
export const quietContext = (log: Logger): Omit<Context, 'pipeline' | 'version' | 'step'> => ({
  log,
  clock: systemClock,
  depth: DEFAULT_DEPTH,
  metrics: { counter: () => ({ inc() {} }), gauge: () => ({ set() {} }) },
  report() {},
})
