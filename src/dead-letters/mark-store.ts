/**
 * Where a pipeline keeps which of its dead letters are done: in the checkpoints of a pipeline of its own, `<name>-dlq-replay`. Where
 * outputs can be committed in one transaction with them, they are; the place is the same for every way of getting rid of a letter.
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
  /** Present when outputs of that scope can be committed with the marks. */
  readonly transactions?: { readonly transactor: Transactor; readonly scope: string }
}

const replayName = (pipeline: string): string => `${pipeline}-dlq-replay`

/** The version does not count: a letter that is done stays done when the pipeline's state starts afresh. */
const VERSION = 1

export type WithDlq = Pipeline & { readonly dlq: Step<SinkPlugin> }

export function openMarkStore(pipeline: WithDlq, context: Omit<Context, 'pipeline' | 'version' | 'step'>): MarkStore {
  const { dlq, sinks } = pipeline
  const ctx: Context = { ...context, step: dlq.name, pipeline: replayName(pipeline.name), version: VERSION }
  const transactions = dlq.plugin.transactions?.create && dlq.plugin.transactions
  // The dlq's own log first: there a letter that fails again is part of the transaction, too.
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

/** A lane of the dlq as the marks know it. */
export const markLane = (id: string, source: string): LaneInfo => ({ id, source })

/** For a command that looks on: no metrics, and no result to report. */
export const quietContext = (log: Logger): Omit<Context, 'pipeline' | 'version' | 'step'> => ({
  log,
  clock: systemClock,
  depth: DEFAULT_DEPTH,
  metrics: { counter: () => ({ inc() {} }), gauge: () => ({ set() {} }) },
  report() {},
})
