/** State that pipelines have kept: looking into it, and moving it. */
import { type CheckpointStore, EnvironmentError, type Json, type LaneInfo, type StoredLane } from '../contract/plugin.ts'
import { stateOwner } from '../kit/state-owner.ts'
import type { Pipeline, Step } from '../config/model.ts'
import { MANIFEST_STORE } from '../runtime/state.ts'
import { silent, storeOf } from './position-status.ts'

export interface KeptState extends StoredLane {
  /** The pipeline file's own, of its version and group as they are now. */
  readonly current: boolean
  /** Entries by step. */
  readonly steps: Readonly<Record<string, number>>
  readonly entries: number
  /** What it was made from; undefined: 0.1.0 did not say. */
  readonly madeFrom: Json | undefined
}

/** What a file of `runner state export` holds. */
export interface ExportedState {
  readonly format: 1
  readonly pipeline: string
  readonly lanes: readonly StoredLane[]
}

interface Place {
  readonly step: Step
  readonly store: CheckpointStore
  /** Of this source, as the pipeline is now. */
  readonly owner: string
}

/** Opens the stores of a pipeline's checkpoints, one per place, and closes them afterwards. */
async function within<T>(pipeline: Pipeline, work: (places: readonly Place[]) => Promise<T>): Promise<T> {
  const places: Place[] = []
  try {
    for (const step of pipeline.sources) {
      const store = storeOf(pipeline, step)
      if (store) places.push({ step, store, owner: stateOwner(`${pipeline.name}.${pipeline.version}`, groupOf(pipeline, step)) })
    }
    return await work(places)
  } finally {
    for (const { store } of places) await store.close()
  }
}

/** As the source's lanes say it. */
const groupOf = (pipeline: Pipeline, { type, config }: Step): string | undefined =>
  type === 'kafka' ? ((config as { group?: string }).group ?? pipeline.name) : undefined

/** All that is kept under the pipeline's name: of every version and group, and of every place where one of its sources keeps it. */
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

/** @throws {EnvironmentError} while a process reads with one of the groups: it would go on with what is not there any more */
async function refuseLive(places: readonly Place[]): Promise<void> {
  const { connect } = await import('../connectors/kafka/connect.ts')
  for (const { step } of places) {
    if (step.type !== 'kafka') continue
    const { driver, release } = await connect(step.config, silent)
    try {
      const group = (step.config as { group?: string }).group
      const members = group === undefined ? [] : await driver.admin.members(group)
      if (members.length > 0)
        throw new EnvironmentError(`group ${group} is live: stop ${members.map(m => `${m.client} on ${m.host}`).join(', ')} first`)
    } finally {
      await release()
    }
  }
}

/** Deletes what an owner has kept. @returns lanes deleted */
export function removeState(pipeline: Pipeline, owners: readonly string[]): Promise<number> {
  return within(pipeline, async places => {
    await refuseLive(places.filter(p => owners.includes(p.owner)))
    let removed = 0
    for (const { store } of places) {
      const kept = ((await store.list?.()) ?? []).filter(l => owners.includes(l.owner))
      for (const owner of new Set(kept.map(l => l.owner))) await store.remove?.(owner)
      removed += kept.length
    }
    return removed
  })
}

/**
 * Puts exported lanes in the place of what the pipeline has kept for them; each lane is one commit. Where the group's offset is
 * follows at the next commit: the checkpoint wins.
 * @returns lanes written
 */
export function importState(pipeline: Pipeline, { lanes }: ExportedState): Promise<number> {
  return within(pipeline, async places => {
    if (places.length === 0) throw new EnvironmentError(`${pipeline.name} keeps no checkpoints: its source remembers its position itself`)
    if (places.length > 1) throw new EnvironmentError(`${pipeline.name} has ${places.length} sources with checkpoints; import takes one`)
    await refuseLive(places)
    const [{ store, step }] = places
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
    return lanes.length
  })
}

function laneInfo(id: string, step: Step, group: string | undefined): LaneInfo {
  if (group === undefined) return { id, source: step.name }
  const at = id.lastIndexOf('/')
  return { id, source: step.name, topic: id.slice(0, at), partition: Number(id.slice(at + 1)), group }
}
