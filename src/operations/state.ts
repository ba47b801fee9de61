/** Lists, exports, imports and removes the stored state of pipelines. */
import { type CheckpointStore, EnvironmentError, type Json, type LaneInfo, LiveConflictError, type StoredLane } from '../contract/plugin.ts'
import { tpOf } from '../connectors/kafka/driver.ts'
import { type FileLock, tryLock } from '../kit/sqlite/file-lock.ts'
import { partsOfOwner, stateOwner } from '../kit/state-owner.ts'
import type { Pipeline, Step } from '../config/model.ts'
import { partsOf } from '../config/parts.ts'
import { liveLockFile } from '../runtime/live-lock.ts'
import { MANIFEST_STORE } from '../runtime/state.ts'
import { silent, storeOf } from './position-status.ts'

export interface KeptState extends StoredLane {
  /** Belongs to the current version and group of the pipeline file. */
  readonly current: boolean
  /** Number of entries by step. */
  readonly steps: Readonly<Record<string, number>>
  readonly entries: number
  /** Origin; undefined: written by 0.1.0. */
  readonly madeFrom: Json | undefined
}

/** The contents of a file written by `runner state export`. */
export interface ExportedState {
  readonly format: 1
  readonly pipeline: string
  readonly lanes: readonly StoredLane[]
}

interface Place {
  readonly step: Step
  readonly store: CheckpointStore
  /** State owner of this source in the current pipeline. */
  readonly owner: string
}

/** Opens the checkpoint stores of a pipeline and closes them afterwards. */
async function within<T>(pipeline: Pipeline, work: (places: readonly Place[]) => Promise<T>): Promise<T> {
  const places: Place[] = []
  try {
    for (const part of partsOf(pipeline))
      for (const step of part.sources) {
        const store = storeOf(part, step)
        if (store) places.push({ step, store, owner: stateOwner(`${pipeline.name}.${pipeline.version}`, groupOf(pipeline, step)) })
      }
    return await work(places)
  } finally {
    for (const { store } of places) await store.close()
  }
}

/** The group in the lane names of the source. */
function groupOf(pipeline: Pipeline, { type, config }: Step): string | undefined {
  const { group, streams } = config as { group?: string; streams?: unknown }
  return type === 'kafka' || (type === 'redis' && streams !== undefined) ? (group ?? pipeline.name) : undefined
}

/** All state of the pipeline: of every version and group, in all stores of its sources. */
export function keptState(pipeline: Pipeline): Promise<KeptState[]> {
  return within(pipeline, async places => {
    const owners = new Set(places.map(p => p.owner))
    const found = new Map<string, KeptState>()
    for (const { store } of places)
      for (const lane of (await store.list?.()) ?? []) found.set(`${lane.owner}\0${lane.lane}`, describe(lane, owners.has(lane.owner)))
    return [...found.values()]
  })
}

function describe(lane: StoredLane, current: boolean): KeptState {
  const state = lane.checkpoint.state.filter(([store]) => store !== MANIFEST_STORE)
  const manifest = lane.checkpoint.state.find(([store]) => store === MANIFEST_STORE)
  const steps: Record<string, number> = {}
  for (const [store] of state) {
    const step = store.slice(0, store.indexOf('.'))
    steps[step] = (steps[step] ?? 0) + 1
  }
  return { ...lane, current, steps, entries: state.length, madeFrom: manifest && (JSON.parse(manifest[2]) as Json) }
}

/**
 * Runs `work` on the state of owners while none of their processes runs or can start: a process would continue with the old state.
 * @throws {EnvironmentError} while one runs
 */
async function withoutProcesses<T>(places: readonly Place[], owners: readonly string[], work: () => Promise<T>): Promise<T> {
  const locks: FileLock[] = []
  try {
    for (const owner of new Set(owners)) {
      for (const { step } of places) if (step.type === 'kafka') await refuseMembers(step, owner)
      // See `lockLive`: a group has no lock.
      if (places.every(p => p.step.type === 'kafka')) continue
      const lock = tryLock(liveLockFile(owner))
      if (!lock) throw new LiveConflictError(`a process of ${owner} is running on this state directory: stop it first`)
      locks.push(lock)
    }
    return await work()
  } finally {
    for (const lock of locks) lock.release()
  }
}

async function refuseMembers(step: Step, owner: string): Promise<void> {
  const { id, group } = partsOfOwner(owner)
  const { connect } = await import('../connectors/kafka/connect.ts')
  const { driver, release } = await connect(step.config, silent)
  try {
    // A newer version in the same group has separate state.
    const members = (await driver.admin.members(group)).filter(m => m.owner === undefined || m.owner === id)
    if (members.length > 0)
      throw new LiveConflictError(`group ${group} is live: stop ${members.map(m => `${m.client} on ${m.host}`).join(', ')} first`)
  } finally {
    await release()
  }
}

/** Deletes the state of an owner. @returns lanes deleted */
export function removeState(pipeline: Pipeline, owners: readonly string[]): Promise<number> {
  return within(pipeline, async places => {
    let removed = 0
    await withoutProcesses(places, owners, async () => {
      for (const { store } of places) {
        const kept = ((await store.list?.()) ?? []).filter(l => owners.includes(l.owner))
        for (const owner of new Set(kept.map(l => l.owner))) await store.remove?.(owner)
        removed += kept.length
      }
    })
    return removed
  })
}

/**
 * Replaces the stored state of the exported lanes; each lane is one commit. The offset of the group
 * follows at the next commit: the checkpoint takes precedence.
 * @returns lanes written
 */
export function importState(pipeline: Pipeline, { lanes }: ExportedState): Promise<number> {
  return within(pipeline, async places => {
    if (places.length === 0) throw new EnvironmentError(`${pipeline.name} has no checkpoints: its source stores its position itself`)
    if (places.length > 1)
      throw new EnvironmentError(`${pipeline.name} has ${places.length} sources with checkpoints; import supports only one`)
    const [{ store, step, owner }] = places
    await withoutProcesses(places, [owner], async () => {
      for (const { lane, checkpoint } of lanes) {
        const info = laneInfo(lane, step, groupOf(pipeline, step))
        const before = await store.claim(info)
        const fresh = new Set(checkpoint.state.map(([name, key]) => `${name}\0${key}`))
        const dropped = (before?.state ?? [])
          .filter(([name, key]) => !fresh.has(`${name}\0${key}`))
          .map(([name, key]) => [name, key, null] as const)
        await store.save(info, { position: checkpoint.position, state: [...dropped, ...checkpoint.state] })
        await store.release(info)
      }
    })
    return lanes.length
  })
}

function laneInfo(id: string, step: Step, group: string | undefined): LaneInfo {
  if (step.type !== 'kafka') return { id, source: step.name, group }
  return { id, source: step.name, ...tpOf(id), group }
}
