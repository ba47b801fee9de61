/** The positions of the sources of a pipeline, from the source and from the checkpoint, which takes precedence. Read-only. */
import { systemClock } from '../kit/clock.ts'
import { DEFAULT_DEPTH } from '../contract/plugin.ts'
import { attribute } from '../kit/plugin-error.ts'
import type {
  Checkpoint,
  CheckpointStore,
  LanePosition,
  Logger,
  Position,
  CheckContext,
  SourceContext,
  SourcePlugin,
} from '../contract/plugin.ts'
import { localCheckpoints } from '../runtime/checkpoints/local.ts'
import { checkpointLocation } from '../runtime/checkpoints/location.ts'
import { MANIFEST_STORE } from '../runtime/state.ts'
import type { Pipeline, Step } from '../config/model.ts'
import { partsOf } from '../config/parts.ts'

export interface PositionStatus {
  readonly pipeline: string
  readonly step: string
  readonly lane: string
  readonly group: string | undefined
  readonly committed: Position | undefined
  readonly checkpoint: Position | undefined
  /** Number of state keys in the checkpoint. */
  readonly state: number
  readonly first: Position | undefined
  readonly end: Position | undefined
  /** Number of unread records. */
  readonly lag: number | undefined
}

export const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
const nothing = { inc: () => {}, set: () => {} }

/** The store of a source, which must be closed; undefined if the source stores its position itself. */
export function storeOf(pipeline: Pipeline, step: Step<SourcePlugin>): CheckpointStore | undefined {
  const unused = (): never => {
    throw new Error('the source is not running')
  }
  const context: SourceContext = {
    step: step.name,
    pipeline: pipeline.name,
    version: pipeline.version,
    log: silent,
    metrics: { counter: () => nothing, gauge: () => nothing },
    clock: systemClock,
    depth: DEFAULT_DEPTH,
    report: () => {},
    assign: unused,
    revoke: unused,
    lose: unused,
  }
  const source = step.plugin.create(step.config, context)
  const location = checkpointLocation(step, pipeline, source, context, () =>
    localCheckpoints({ id: `${pipeline.name}.${pipeline.version}` }),
  )
  return location.kind === 'source' || location.kind === 'none' ? undefined : location.store
}

/** `notReported`: names of sources without a position. */
export async function positionStatuses(pipeline: Pipeline): Promise<{ rows: PositionStatus[]; notReported: string[] }> {
  const parts = []
  for (const part of partsOf(pipeline)) parts.push(await statusesOf(part))
  return { rows: parts.flatMap(p => p.rows), notReported: parts.flatMap(p => p.notReported) }
}

async function statusesOf(pipeline: Pipeline): Promise<{ rows: PositionStatus[]; notReported: string[] }> {
  const rows: PositionStatus[] = []
  const notReported: string[] = []
  for (const step of pipeline.sources) {
    if (!step.plugin.positions) {
      notReported.push(step.name)
      continue
    }
    const context: CheckContext = {
      step: step.name,
      role: 'source',
      pipeline: pipeline.name,
      version: pipeline.version,
      delivery: pipeline.delivery,
      log: silent,
      signal: new AbortController().signal,
    }
    const { positions: ask } = step.plugin
    const positions = await Promise.resolve()
      .then(() => ask.call(step.plugin, step.config, context))
      .catch((thrown: unknown) => {
        throw attribute(thrown, { step: step.name, at: step.at, method: 'positions' })
      })
    const store = storeOf(pipeline, step)
    try {
      for (const position of positions) rows.push(positionStatus(pipeline.name, step.name, position, await store?.peek?.(position.lane)))
    } finally {
      await store?.close()
    }
  }
  return { rows, notReported }
}

/** Number of state keys, without the entry for its origin. */
export const entriesOf = (checkpoint: Checkpoint | undefined): number =>
  checkpoint?.state.filter(([store]) => store !== MANIFEST_STORE).length ?? 0

export function positionStatus(pipeline: string, step: string, p: LanePosition, checkpoint: Checkpoint | undefined): PositionStatus {
  return {
    pipeline,
    step,
    lane: p.lane.id,
    group: p.lane.group,
    committed: p.committed,
    checkpoint: checkpoint?.position,
    state: entriesOf(checkpoint),
    first: p.first,
    end: p.end,
    lag: p.behind?.(checkpoint?.position ?? p.committed),
  }
}
