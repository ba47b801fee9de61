/**
 * Resets a pipeline with `repartition` steps. Repartitioned records must not meet state or records of the previous run. So all sources
 * move, all state is cleared, and the records in the internal topics are skipped:
 *
 *     1. every lane after a link: state cleared, marked as unfinished. The claim fences the writer of the next internal topic.
 *     2. every lane of the sources: state cleared, position set. The claim fences the writer of the first internal topic.
 *     3. every lane after a link: position at the end of its topic, mark removed.
 *
 * A run stops at the mark, so a pipeline does not run after a crash in between.
 */
import { connect, type ConnectionConfig } from '../connectors/kafka/connect.ts'
import type { Driver, TopicPartition } from '../connectors/kafka/driver.ts'
import type { GroupMember } from '../connectors/kafka/log-admin.ts'
import { positionsIn } from '../connectors/kafka/positions.ts'
import { partsOf } from '../config/parts.ts'
import type { Pipeline, Step } from '../config/model.ts'
import { type Checkpoint, type CheckpointStore, EnvironmentError, type LaneInfo, type SourcePlugin } from '../contract/plugin.ts'
import { stepShapes } from '../runtime/identity.ts'
import { MANIFEST_KEY, MANIFEST_STORE } from '../runtime/state.ts'
import { entriesOf, silent, storeOf } from './position-status.ts'
import { find, type Move, type ResetPlan, type Target } from './reset.ts'

interface KafkaSettings extends ConnectionConfig {
  readonly topics: readonly string[]
  readonly group?: string
  readonly start_at: 'earliest' | 'latest'
}

/** A source of the file or after a link. */
interface Reading {
  readonly step: Step<SourcePlugin>
  readonly group: string
  readonly driver: Driver
  readonly store: CheckpointStore | undefined
  readonly behindLink: boolean
  readonly moves: Move[]
  close(): Promise<void>
}

/** @param target undefined: the start position of a first run */
export async function planLinkedReset(pipeline: Pipeline, target: Target | undefined): Promise<ResetPlan> {
  const other = pipeline.sources.find(s => s.type !== 'kafka')
  if (other)
    throw new EnvironmentError(
      `${pipeline.file}: source ${other.name} (${other.type}) cannot be reset, and ${pipeline.transforms[pipeline.links![0].index].name} ` +
        'has already moved its records: raise version, which starts with a new internal topic',
    )
  const readings: Reading[] = []
  const close = async (): Promise<void> => {
    for (const reading of readings) await reading.close()
  }
  try {
    for (const [k, part] of partsOf(pipeline).entries())
      for (const step of part.sources) {
        const reading = await look(part, step, k > 0, k > 0 ? { at: 'latest' } : target)
        if (reading) readings.push(reading)
      }
    const members: GroupMember[] = []
    for (const { driver, group } of readings) members.push(...(await driver.admin.members(group)))
    const unique = new Map(members.map(member => [member.id, member]))
    return { moves: readings.flatMap(r => r.moves), members: [...unique.values()], apply: () => apply(pipeline, readings), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Undefined: the internal topic does not exist yet, so there is nothing to reset. */
async function look(
  part: Pipeline,
  step: Step<SourcePlugin>,
  behindLink: boolean,
  target: Target | undefined,
): Promise<Reading | undefined> {
  const config = step.config as KafkaSettings
  const group = config.group ?? part.name
  const { driver, release } = await connect(config, silent)
  let store: CheckpointStore | undefined
  const close = async (): Promise<void> => {
    await store?.close()
    await release()
  }
  try {
    const topics = new Set((await driver.topics()).map(t => t.name))
    if (config.topics.every(topic => !topics.has(topic)) && (behindLink || target === undefined)) {
      await close()
      return undefined
    }
    store = storeOf(part, step)
    const all = await positionsIn(driver, group, config.topics, behindLink ? '' : step.name, config.start_at)
    const lanes = all.map(p => p.lane as LaneInfo & TopicPartition)
    const places = await find(driver, lanes, target ?? { at: config.start_at })
    const moves: Move[] = []
    for (const p of all) {
      const to = places.get(p.lane.id)!
      const checkpoint = await store?.peek?.(p.lane)
      const within = to >= (p.first as number) && to <= (p.end as number)
      moves.push({
        lane: p.lane as LaneInfo & TopicPartition,
        committed: p.committed as number | undefined,
        checkpoint: checkpoint?.position as number | undefined,
        state: entriesOf(checkpoint),
        to,
        ...(within ? {} : { refused: `${p.lane.id} has the offsets ${p.first} to ${p.end}` }),
      })
    }
    return { step, group, driver, store, behindLink, moves, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function apply(pipeline: Pipeline, readings: readonly Reading[]): Promise<void> {
  const behind = readings.filter(r => r.behindLink)
  for (const reading of behind) await clear(pipeline, reading, true, m => m.checkpoint ?? m.to)
  for (const reading of readings.filter(r => !r.behindLink))
    await move(pipeline, reading, new Map(reading.moves.map(m => [m.lane.id, m.to])))
  for (const reading of behind) {
    const lanes = reading.moves.map(m => m.lane)
    // Now: former writers of the topic are fenced, and their open transactions are aborted.
    await move(pipeline, reading, await find(reading.driver, lanes, { at: 'latest' }))
  }
}

async function move(pipeline: Pipeline, reading: Reading, to: ReadonlyMap<string, number>): Promise<void> {
  await clear(pipeline, reading, false, m => to.get(m.lane.id)!)
  await reading.driver.admin.setOffsets(
    reading.group,
    reading.moves.map(({ lane }) => ({ topic: lane.topic, partition: lane.partition, offset: to.get(lane.id)! })),
  )
}

/** Every lane, including those without a checkpoint: a transaction may be open. */
async function clear(
  pipeline: Pipeline,
  { store, moves }: Reading,
  unfinished: boolean,
  positionOf: (move: Move) => number,
): Promise<void> {
  if (!store) return
  for (const m of moves) {
    const checkpoint = await store.claim(m.lane)
    await store.save(m.lane, { position: positionOf(m), state: cleared(pipeline, checkpoint, unfinished) })
    await store.release(m.lane)
  }
}

function cleared(
  pipeline: Pipeline,
  checkpoint: Checkpoint | undefined,
  unfinished: boolean,
): (readonly [string, string, string | null])[] {
  const found = checkpoint?.state.find(([store, key]) => store === MANIFEST_STORE && key === MANIFEST_KEY)
  const { unfinished: _, ...before } = (found ? JSON.parse(found[2]) : {}) as Record<string, unknown>
  const manifest = { ...before, format: 1, steps: stepShapes(pipeline.transforms), ...(unfinished && { unfinished: true }) }
  return [
    ...(checkpoint?.state ?? []).filter(([store]) => store !== MANIFEST_STORE).map(([store, key]) => [store, key, null] as const),
    [MANIFEST_STORE, MANIFEST_KEY, JSON.stringify(manifest)] as const,
  ]
}
