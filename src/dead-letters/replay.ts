/**
 * A replay is a run of the same pipeline: its dlq replaces its sources, each record continues at the step that failed it, and the marks
 * of processed dead letters are state that is committed with the outputs.
 */
import { asDryRun } from '../runtime/dry-run.ts'
import {
  type CheckpointStore,
  defineSource,
  FencedError,
  type Logger,
  type Source,
  type SourcePlugin,
  type Transform,
} from '../contract/plugin.ts'
import { build, type Built } from '../runtime/build.ts'
import type { Stage } from '../runtime/chain.ts'
import { type Clock, systemClock } from '../kit/clock.ts'
import { atomicCommitter, type Committer, ephemeralCommitter, storedCommitter } from '../runtime/committer.ts'
import type { Pipeline } from '../config/model.ts'
import { scopeOf } from '../config/traits.ts'
import { PipelineRun } from '../runtime/pipeline.ts'
import { Router } from '../runtime/router.ts'
import { compile } from '../expressions/index.ts'
import { backSinks, ReplayEntries, originOf, type Way } from './replay-entry.ts'
import { Marks, STORE } from './marks.ts'
import { openMarkStore, type MarkStore, quietContext, type WithDlq } from './mark-store.ts'
import { type DeadLetterSourceOptions, DeadLetterSource } from './source.ts'

export interface ReplayOptions extends Pick<DeadLetterSourceOptions, 'box' | 'select' | 'rate' | 'max'> {
  readonly pipeline: WithDlq
  readonly way: Way
  /** Stateful steps may use separate, initially empty state for replays. */
  readonly freshState: boolean
  /** Prints the outputs, one line each; writes and marks nothing. */
  readonly dryRun?: (line: string) => void
  readonly log: Logger
  readonly clock?: Clock
}

export interface ReplayResult {
  readonly replayed: number
  /** Number that failed again. */
  readonly failed: number
  /** Number of dead letters that were not replayed, by reason. */
  readonly left: ReadonlyMap<string, number>
}

export interface Replay {
  /** @throws {FencedError} if another replay has started. */
  run(): Promise<ReplayResult>
  stop(): void
}

export function replay(options: ReplayOptions): Replay {
  const { log, clock = systemClock, dryRun } = options
  const marks = new Map<string, Marks>()
  /** Counts at the first claim of each lane, which belong to other runs. */
  const before = new Map<string, number>()
  const markStore = openMarkStore(options.pipeline, { ...quietContext(log), clock })
  let source: DeadLetterSource | undefined
  const entries = new ReplayEntries(options.pipeline, options.way, options.freshState)
  const plugin = defineSource({
    ...LETTERS,
    create: (_, ctx) => (source = new DeadLetterSource({ ...options, entries, marks }, ctx)),
  })
  const pipeline = asReplay(options.pipeline, options.way, plugin)
  const shown = dryRun ? asDryRun(pipeline, dryRun) : pipeline
  const built = build(shown, {
    clock,
    log,
    localCheckpoints: () => markStore.store,
    committer: dryRun ? lookingOn(markStore.store) : committerOf(markStore, pipeline),
  })
  const begin = (lane: string, made: Marks): Marks => {
    marks.set(lane, made)
    if (!before.has(lane)) before.set(lane, made.count('replayed'))
    return made
  }
  const run = new PipelineRun(onMarks(built, begin), { clock, log, endAt: Number.POSITIVE_INFINITY })
  return {
    async run() {
      try {
        await run.run()
      } finally {
        await markStore.store.close()
      }
      const replayed = [...marks].reduce((n, [lane, m]) => n + m.count('replayed') - before.get(lane)!, 0)
      return { replayed, failed: built.dlq?.meter.out ?? 0, left: source?.left ?? new Map() }
    },
    stop: () => run.stop(),
  }
}

const LETTERS: Omit<SourcePlugin, 'create' | 'kind'> = {
  type: 'dlq',
  schema: {},
  replayable: true,
  reason: 'dead letters can be read again, and those that are done are marked',
}

/** The pipeline of a replay. It keeps its name: a record that fails again is a dead letter of this pipeline. */
function asReplay(pipeline: Pipeline, way: Way, plugin: SourcePlugin): Pipeline {
  const [first] = pipeline.sources
  const read: Pipeline = {
    ...pipeline,
    links: undefined,
    transforms: pipeline.transforms.filter(t => !t.plugin.link),
    sources: [{ ...first, type: plugin.type, plugin, config: {} }],
    metrics: undefined,
  }
  // Writing back has no dlq: a dead letter that cannot be written back stays in the dlq.
  return way === 'step' ? read : { ...read, transforms: [], sinks: backSinks(pipeline.sources), dlq: undefined }
}

function committerOf({ store, transactions }: MarkStore, { sinks }: Pipeline): Committer {
  const together = transactions && sinks.every(s => scopeOf(s) === transactions.scope)
  const committer = together ? atomicCommitter(transactions.transactor, transactions.scope) : storedCommitter(store, SEEKABLE)
  // A fenced replay has been replaced by another one, and would fence that one in turn.
  return { ...committer, retryable: error => !(error instanceof FencedError) && committer.retryable(error), close: async () => {} }
}

const SEEKABLE: Source = { read: async () => null, seek: async () => {} }

const lookingOn = (store: CheckpointStore): Committer => ({
  ...ephemeralCommitter(),
  claim: async lane => store.peek?.(lane),
})

/** The built pipeline with marks before its chain, and entries at each step. */
function onMarks(built: Built, begin: (lane: string, marks: Marks) => Marks): Built {
  const { pipeline } = built
  const [entry] = built.sources
  const routed = pipeline.sinks.map(step => ({ step, when: step.when === undefined ? undefined : compile(step.when) }))
  return {
    ...built,
    sources: [{ ...entry, inlet: { ...entry.inlet, transform: PASS } }],
    routers: [new Router(routed, m => originOf(m)?.entry?.sink)],
    stages(lane, state) {
      const marks = begin(lane.id, new Marks(state.open(STORE)))
      const meter = built.meters.step('dlq_marks', 'transform')
      const stages = built.stages(lane, state)
      return [
        { name: 'dlq_marks', at: entry.inlet.at, meter, transform: marking(marks) },
        { ...entry.inlet, meter },
        ...withEntries(stages),
      ]
    },
  }
}

/** Messages skip the steps before their entry. The stage at the end of a route has no entry of its own. */
function withEntries(stages: readonly Stage[]): Stage[] {
  let index = 0
  return stages.map(stage => {
    if (stage.joins) return stage
    const i = index++
    const { enters } = stage
    return { ...stage, enters: m => (originOf(m)?.entry?.stage ?? -1) <= i && enters?.(m) !== false }
  })
}

const PASS: Transform = {
  process(messages, out) {
    for (const m of messages) out.emit(m)
  },
}

function marking(marks: Marks): Transform {
  return {
    process(messages, out) {
      for (const m of messages) {
        const { at, gap } = originOf(m)!
        if (marks.has(at)) continue
        marks.mark(at, gap, 'replayed')
        out.emit(m)
      }
    },
  }
}
