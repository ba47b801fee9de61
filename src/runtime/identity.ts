/**
 * Records in the checkpoint what the state of a lane was made from: the records (the id of a topic, a file) and the steps that keep state.
 * State that was made from something else is never continued: the run stops before it reads or writes anything, and reports the
 * differences.
 */
import { createHash } from 'node:crypto'
import {
  type Checkpoint,
  type CheckpointDelta,
  type CheckpointStore,
  type Gap,
  type Json,
  type LaneInfo,
  type LaneOrigin,
  type Logger,
  type Position,
  StateError,
} from '../contract/plugin.ts'
import { canonical } from '../config/hash.ts'
import type { Pipeline } from '../config/model.ts'
import { survivesGap } from '../config/traits.ts'
import { keptCheckpoint, keptOf, KeptState } from '../kit/kept-state.ts'
import { RESET, stateOwner } from '../kit/state-owner.ts'
import { MANIFEST_KEY, MANIFEST_STORE } from './state.ts'

/** Describes a stateful step. Steps with equal shapes can use each other's state. */
export interface StepShape {
  readonly type: string
  readonly shape: Json
}

interface Manifest {
  readonly format: 1
  /** `LaneOrigin.id`. */
  readonly origin?: string
  /** `LaneOrigin.lanes`. */
  readonly lanes?: number
  readonly steps: Readonly<Record<string, StepShape>>
  /** A reset of the pipeline has begun and not ended: the state of other lanes may not match this one. */
  readonly unfinished?: boolean
}

/** The shapes of the stateful steps, by name. */
export const stepShapes = (transforms: Pipeline['transforms']): Readonly<Record<string, StepShape>> =>
  Object.fromEntries(
    transforms
      .filter(t => t.plugin.stateful)
      .map(({ name, plugin, config }) => [name, { type: plugin.type, shape: plugin.stateShape?.(config) ?? { config: hash(config) } }]),
  )

/** The beginning of a lane. */
export interface Admission {
  /** The checkpoint to restore. */
  readonly checkpoint: Checkpoint | undefined
  /** Changes that become durable with the next checkpoint. */
  readonly changes: CheckpointDelta['state']
  /** A checkpoint that must be durable before anything else: the lane starts over from it. */
  readonly restart?: CheckpointDelta
  /** Records before the position were deleted. */
  readonly gap?: Gap
}

export interface IdentityOptions {
  readonly pipeline: Pick<Pipeline, 'name' | 'version' | 'transforms' | 'links'>
  readonly log: Logger
  /** `--fresh`: state and position of each lane are dropped once, at its first claim. */
  readonly fresh: boolean
}

export class Identity {
  private readonly options: IdentityOptions
  private readonly steps: Readonly<Record<string, StepShape>>
  /** Steps whose state is wrong if records are missing. */
  private readonly needWhole: readonly string[]
  /** Lanes that were started over in this process. */
  private readonly freshened = new Set<string>()

  constructor(options: IdentityOptions) {
    this.options = options
    const stateful = options.pipeline.transforms.filter(t => t.plugin.stateful)
    this.needWhole = stateful.filter(t => !survivesGap(t)).map(t => t.name)
    this.steps = stepShapes(options.pipeline.transforms)
  }

  /**
   * For a source that stores its own position, without state. @returns where the lane begins; undefined: where the source continues by
   * itself
   */
  begin(lane: LaneInfo, origin: LaneOrigin): Checkpoint | undefined {
    const { log, fresh } = this.options
    if (!fresh || this.freshened.has(lane.id)) return undefined
    this.freshened.add(lane.id)
    if (origin.initial === undefined) log.warn({ lane: lane.id }, '--fresh has no effect on this source: its peer stores the position')
    return origin.initial === undefined ? undefined : { position: origin.initial, state: [] }
  }

  get fresh(): boolean {
    return this.options.fresh
  }

  /** Call it after a claim. @throws {StateError} when the checkpoint does not belong to this pipeline */
  async admit(lane: LaneInfo, found: Checkpoint | undefined, origin: LaneOrigin, former?: CheckpointStore['former']): Promise<Admission> {
    const { log, fresh } = this.options
    const state = found ? keptOf(found) : new KeptState()
    const before = takeManifest(state)
    const manifest: Manifest = { format: 1, origin: origin.id ?? before?.origin, lanes: origin.lanes ?? before?.lanes, steps: this.steps }
    const text = canonical(manifest)
    const noted = [MANIFEST_STORE, MANIFEST_KEY, text] as const
    const fromStart = (position: Json | undefined): Admission => {
      const changes = [...Array.from(state, ([store, key]) => [store, key, null] as const), noted]
      if (position === undefined) return { checkpoint: undefined, changes }
      return { checkpoint: { position, state: [] }, changes: [], restart: { position, state: changes } }
    }
    if (fresh && !this.freshened.has(lane.id)) {
      this.freshened.add(lane.id)
      log.info({ lane: lane.id, state: state.size }, '--fresh: checkpoint deleted; the lane starts over')
      return fromStart(origin.initial)
    }
    if (!found) {
      const adopted = await this.adopt(lane, origin, former)
      if (adopted) return { checkpoint: adopted, changes: [], restart: { position: adopted.position, state: [...adopted.state, noted] } }
      return this.first(lane, origin, fromStart) ?? { checkpoint: undefined, changes: [noted] }
    }
    const checkpoint = keptCheckpoint(found.position, state)
    if (!before) {
      this.knownSteps(lane, state)
      log.info({ lane: lane.id }, 'the checkpoint does not record its origin (it was written by 0.1.0 or older); it is used unchanged')
      return { checkpoint, changes: [noted] }
    }
    if (before.unfinished)
      throw new StateError(
        `lane ${lane.id}: a reset of this pipeline was interrupted, and only some of its lanes are cleared.\n` +
          '  - to finish it, run once with --fresh, or use runner offsets reset\n' +
          `  - raise version (now ${this.options.pipeline.version}): the new version has separate state and a new internal topic`,
      )
    if (before.origin !== undefined && origin.id !== undefined && before.origin !== origin.id) {
      if (state.size > 0) throw this.otherRecords(lane, state.size, before.origin, origin.id)
      log.warn(
        { lane: lane.id, before: before.origin, now: origin.id },
        `${lane.id} was deleted and created again since the last run; reading it from the beginning`,
      )
      return fromStart(origin.start)
    }
    this.compare(lane, before, state)
    const { remembered } = origin
    if (remembered && remembered.owner === null && canonical(remembered.position) !== canonical(found.position))
      log.warn(
        { lane: lane.id, group: lane.group, set: remembered.position, checkpoint: found.position },
        'another program has set the offset of the group; the checkpoint takes precedence, and reading continues there. To move a pipeline, use runner offsets reset',
      )
    const { position, gap } = this.within(lane, found.position, origin, state.size)
    if (before.lanes !== undefined && origin.lanes !== undefined && before.lanes !== origin.lanes && state.size > 0)
      log.warn(
        { lane: lane.id, before: before.lanes, now: origin.lanes },
        'the number of partitions has changed: the older state of a key that moved is in another partition',
      )
    return { checkpoint: gap ? keptCheckpoint(position, state) : checkpoint, changes: text === canonical(before) ? [] : [noted], gap }
  }

  /**
   * Version 0.1.0 stored state by name and version without the group, so several groups may have written to it. The state belongs to this
   * group if its position equals the offset of the group.
   */
  private async adopt(lane: LaneInfo, { remembered }: LaneOrigin, former: CheckpointStore['former']): Promise<Checkpoint | undefined> {
    const { pipeline, log } = this.options
    if (remembered?.owner !== null || !former) return undefined
    const { position, checkpoint } = await former(lane, remembered.position)
    if (position === undefined) return undefined
    const id = `${pipeline.name}.${pipeline.version}`
    if (!checkpoint)
      throw new StateError(
        `lane ${lane.id}: the state of 0.1.0 (${id}) ends at ${JSON.stringify(position)}, but group ${lane.group} has read up to ` +
          `${JSON.stringify(remembered.position)}: another group has used it too, or 0.1.0 was not stopped gracefully. It is unknown ` +
          `which group it belongs to.\n  - start 0.1.0 with this group again and stop it with SIGTERM\n${this.waysOut('to start with empty state')}`,
      )
    this.knownSteps(lane, KeptState.from(checkpoint.state))
    log.info(
      { lane: lane.id, before: id, now: stateOwner(id, lane.group), entries: checkpoint.state.length },
      'using the state of 0.1.0: it ends at the position of the group',
    )
    return checkpoint
  }

  /**
   * Checks the state of a checkpoint of 0.1.0, which identifies steps only by name. @throws {StateError} for steps that the file does not
   * have
   */
  private knownSteps(lane: LaneInfo, state: KeptState): void {
    const unknown = new Set([...state.stores.keys()].map(store => store.slice(0, store.indexOf('.'))).filter(step => !(step in this.steps)))
    if (unknown.size > 0)
      throw new StateError(
        `the checkpoint of lane ${lane.id} has state of ${[...unknown].map(s => `step ${s}`).join(', ')}; ` +
          `the file has no stateful step with that name (it has ${Object.keys(this.steps).join(', ') || 'none'})\n${this.waysOut('to start with empty state')}`,
      )
  }

  /** Called without a checkpoint. The position that the group stores may belong to another version, or to a checkpoint that was deleted. */
  private first(lane: LaneInfo, { remembered, start }: LaneOrigin, fromStart: (at: Json | undefined) => Admission): Admission | undefined {
    const { pipeline, log } = this.options
    const owner = stateOwner(`${pipeline.name}.${pipeline.version}`, lane.group)
    // Without state, the stored position is sufficient.
    if (remembered === undefined || Object.keys(this.steps).length === 0 || remembered.owner === RESET) return undefined
    if (remembered.owner !== null && remembered.owner !== owner) {
      log.info(
        { lane: lane.id, before: remembered.owner, now: owner },
        `${owner} has no state yet; reading from the oldest record, so that every window is complete`,
      )
      return fromStart(start)
    }
    throw new StateError(
      `lane ${lane.id}: group ${lane.group} has a committed position, but its state is missing ` +
        `(steps ${Object.keys(this.steps).join(', ')}; expected under ${owner}). Its checkpoints were deleted, or the steps are new. ` +
        `To continue would publish partial windows.\n${this.waysOut('to read from the beginning')}`,
    )
  }

  private compare(lane: LaneInfo, before: Manifest, state: KeptState): void {
    const { log } = this.options
    const differences: string[] = []
    const held = (step: string): number => {
      let n = 0
      for (const [store, entries] of state.stores) if (store.startsWith(`${step}.`)) n += entries.size
      return n
    }
    for (const [name, was] of Object.entries(before.steps)) {
      const n = held(name)
      if (n === 0) continue
      const is = this.steps[name]
      if (!is) differences.push(`step ${name} (${was.type}) holds ${n} entries of state; the file has no stateful step with that name`)
      else if (canonical(is) !== canonical(was)) differences.push(`step ${name}:\n${difference(was, is)}`)
    }
    if (differences.length > 0)
      throw new StateError(
        `the checkpoint of lane ${lane.id} was written by other steps than those in the file, and its state does not match:\n` +
          `${differences.map(d => `  ${d}`).join('\n')}\n${this.waysOut('to start with empty state')}`,
      )
    const added = Object.keys(this.steps).filter(name => !before.steps[name])
    if (added.length > 0)
      log.warn(
        { lane: lane.id, steps: added },
        'new stateful steps begin at the checkpoint, so their first windows are incomplete; to read everything, use --fresh',
      )
  }

  /**
   * Compares the position with the existing records: retention may have deleted records that were not read, and brokers may have lost
   * records that were.
   * @returns where reading continues. @throws {StateError} if windows would miss records, or the position is after the end
   */
  private within(lane: LaneInfo, position: Position, { start, end }: LaneOrigin, entries: number): { position: Position; gap?: Gap } {
    if (typeof position === 'number' && typeof end === 'number' && position > end)
      throw new StateError(
        `${lane.id} ends at ${end}, but the checkpoint has read up to ${position}: the brokers have lost records (an unclean leader election?), ` +
          `and the records that replaced them were not read.\n${this.waysOut('to read it from the beginning with empty state')}`,
      )
    if (typeof position !== 'number' || typeof start !== 'number' || position >= start) return { position }
    const gap: Gap = {
      lost: start - position,
      reason: `the records of ${lane.id} from ${position} to ${start - 1} were deleted before they were read (retention)`,
    }
    this.missing(lane, gap, entries)
    return { position: start, gap }
  }

  /** Called when records of the lane are missing. @throws {StateError} if the output of a step would miss them */
  missing(lane: LaneInfo, { lost, reason }: Gap, entries: number): void {
    const { needWhole } = this
    const behind = this.behindLinks(lane)
    if (behind.length > 0)
      throw new StateError(
        `${reason}, and ${behind.join(', ')} after a repartition would not detect it: their output would miss these records.\n` +
          this.waysOut('to start with empty state'),
      )
    if (entries > 0 && needWhole.length > 0)
      throw new StateError(
        `${reason}, and the state of ${needWhole.join(', ')} would miss them (${entries} entries).\n` +
          `  - set on_gap of window and bars to mark, withhold or dead_letter, which keep complete results\n${this.waysOut('to start with empty state')}`,
      )
    this.options.log.warn({ lane: lane.id, lost }, `${reason}; reading continues`)
  }

  /** Stateful steps after a repartition of this lane, which do not receive the gap. */
  private behindLinks({ source }: LaneInfo): string[] {
    const { links = [], transforms } = this.options.pipeline
    const next = links[links.findIndex(l => l.source.name === source) + 1]
    if (next === undefined) return []
    return transforms
      .slice(next.index + 1)
      .filter(t => t.plugin.stateful && t.plugin.survivesGap !== true)
      .map(t => t.name)
  }

  private otherRecords(lane: LaneInfo, entries: number, before: string, now: string): StateError {
    return new StateError(
      `${lane.id} was deleted and created again since the last run (was ${before}, is ${now}), and the checkpoint has ` +
        `${entries} entries of state from the former records. The two must not be mixed.\n${this.waysOut('to read it from the beginning with empty state')}`,
    )
  }

  private waysOut(what: string): string {
    const { name, version } = this.options.pipeline
    return (
      `  - run once with --fresh ${what}\n` +
      `  - raise version (now ${version}), or give another name (now ${name}) or group, which has separate state\n` +
      `  - undo the change; runner state show prints the stored state`
    )
  }
}

/**
 * Removes the manifest from the state, which then contains only the state of steps. @throws {StateError} for a manifest of a newer version
 */
function takeManifest(state: KeptState): Manifest | undefined {
  const json = state.stores.get(MANIFEST_STORE)?.get(MANIFEST_KEY)
  state.stores.delete(MANIFEST_STORE)
  if (json === undefined) return undefined
  const manifest = JSON.parse(json) as Manifest
  if (manifest.format !== 1)
    throw new StateError(`the checkpoint is of a newer version of the runner (format ${manifest.format as number}); use that version`)
  return manifest
}

/** For a plugin without `stateShape`. A hash, because a config can contain secrets, which must not be in a checkpoint. */
const hash = (config: unknown): string => createHash('sha256').update(canonical(config)).digest('hex').slice(0, 12)

/** The differing fields, with both values. */
function difference(was: StepShape, is: StepShape): string {
  if (was.type !== is.type) return `    state made by ${was.type}\n    in the file   ${is.type}`
  const [a, b] = [was.shape, is.shape].map(s =>
    typeof s === 'object' && s !== null && !Array.isArray(s) ? (s as Record<string, Json>) : { value: s },
  )
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter(key => canonical(a[key] ?? null) !== canonical(b[key] ?? null))
    .map(
      key =>
        `    ${key}: the state was made with ${JSON.stringify(a[key]) ?? 'nothing'}, the file has ${JSON.stringify(b[key]) ?? 'nothing'}`,
    )
    .join('\n')
}
