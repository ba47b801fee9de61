/** The world's sides of a pipeline: a source in a group, sinks of each kind, and where checkpoints are kept. Made for one process. */
import {
  type Batch,
  BatchError,
  type CheckpointDelta,
  type CheckpointStore,
  DataError,
  defineSink,
  defineSource,
  FencedError,
  type Gap,
  type LaneInfo,
  type LaneOrigin,
  Message,
  type Origin,
  type SinkPlugin,
  type Source,
  type SourceContext,
  type SourcePlugin,
  type TransformPlugin,
  type Transactor,
  UnknownOutcomeError,
  type WriteContext,
} from '../../src/contract/plugin.ts'
import type { RepartitionConfig } from '../../src/generated/config-types.ts'
import repartition from '../../src/connectors/kafka/transforms/repartition.ts'
import { positionsOf } from '../../src/connectors/http/sink/parcels.ts'
import { stateOwner } from '../../src/kit/state-owner.ts'
import type { Process } from './scheduler.ts'
import {
  type DeadRow,
  type Group,
  type LaneLog,
  LINK,
  type Reading,
  type Row,
  SESSION,
  type SimRecord,
  type SimTransaction,
  type World,
} from './world.ts'

export const SCOPE = 'sim'
/** The internal topic has a group of its own. */
const groupOf = (topic: string): string => (topic === LINK ? LINK : 'sim')
const HEARTBEAT = 1000
const POLL = 500

export interface SourceTraits {
  /** Where positions and outputs are committed together: by the source's system, by the sink's, nowhere. */
  readonly transactions: 'source' | 'sink' | 'none'
  readonly maxBatch: number
  /** How often its own offsets are committed where a checkpoint decides, ms. */
  readonly notifyInterval: number | undefined
}

interface Held extends Reading {
  status: 'assigning' | 'reading' | 'revoking'
  /** `monotonic` at which the last poll began that found nothing. */
  emptySince: number | undefined
  gap: Gap | undefined
}

const offsetOf = (position: unknown): number | undefined => position as number | undefined

/** @param topic default: the name of the source */
export function simSource(world: World, process: Process, traits: SourceTraits, topic?: string): SourcePlugin {
  return defineSource({
    type: 'sim',
    schema: {},
    replayable: true,
    shares: true,
    leased: true,
    lanes: 'by_key',
    reason: 'a simulated log',
    transactions: traits.transactions === 'source' ? { scope: () => SCOPE, create: () => transactor(world, process) } : undefined,
    create: (_config, ctx) => groupSource(world, process, traits, ctx, topic ?? ctx.step),
  })
}

function groupSource(world: World, process: Process, traits: SourceTraits, ctx: SourceContext, topic: string): Source {
  const { clock } = process
  const group = groupOf(topic)
  const owner = stateOwner(`${ctx.pipeline}.${ctx.version}`, group)
  // The names of members in the trace stay those of a process.
  const coordinator = (): Group => world.groups.get(topic)!
  const held = new Map<string, Held>()
  const releasing = new Set<string>()
  let buffer: { lane: string; epoch: number; held: Held; whole: SimRecord[]; records: SimRecord[] }[] = []
  let joins = 0
  let member = ''
  /** The member that has had an answer. */
  let joined = ''
  let open = false
  let acknowledged = Number.NEGATIVE_INFINITY
  let fetched = clock.monotonic()
  /** Assignments and revocations happen one after the other. */
  let work: Promise<void> = Promise.resolve()
  /** Of an assignment: reading ends with it. */
  let failure: Error | undefined
  const next = (task: () => Promise<void>): void => {
    work = work.then(task).catch((error: Error) => {
      failure ??= error
      world.wake()
    })
  }

  const rejoin = (): void => {
    member = `${process.name}#${++joins}`
  }
  const originOf = (lane: LaneInfo): Promise<LaneOrigin> =>
    world.call(process, 'broker', `origin of ${lane.id}`, () => {
      const { incarnation, start, records } = world.lanes.get(lane.id)!
      const remembered = coordinator().committed.get(lane.id)
      return {
        id: String(incarnation),
        lanes: world.lanesOf(topic).length,
        start,
        end: records.length,
        initial: start,
        remembered: remembered && { owner: remembered.owner, position: remembered.position },
      }
    })
  const begin = (lane: string, position: number | undefined): Promise<number> =>
    world.call(process, 'broker', `offset of ${lane}`, () => {
      if (position !== undefined) return position
      return coordinator().committed.get(lane)?.position ?? world.lanes.get(lane)!.start
    })
  const setReading = (lane: string, reading: Held): void => {
    held.set(lane, reading)
    world.readings.set(`${process.name} ${lane}`, reading)
  }
  const forget = (lane: string): void => {
    buffer = buffer.filter(b => b.lane !== lane)
  }
  const lose = (lanes: readonly string[]): void => {
    if (lanes.length === 0) return
    world.trace(`${process.name} loses ${lanes.join(', ')}`)
    for (const lane of lanes) {
      held.delete(lane)
      forget(lane)
    }
    ctx.lose(lanes)
  }
  const assign = async (lane: string): Promise<void> => {
    const mine = held.get(lane)
    if (mine?.status !== 'assigning') return
    const info: LaneInfo = { id: lane, source: ctx.step, topic, partition: Number(lane.split('/')[1]), group }
    const positions = await ctx.assign([info], originOf)
    for (;;) {
      if (held.get(lane) !== mine) return
      try {
        const next = await begin(lane, offsetOf(positions.get(lane)))
        if (held.get(lane) !== mine) return
        world.trace(`${process.name} reads ${lane} from ${next}`)
        Object.assign(mine, { base: next, next, gaps: [], epoch: mine.epoch + 1, status: 'reading' })
        setReading(lane, mine)
        return
      } catch {
        await world.change(process, POLL)
      }
    }
  }
  const revoke = async (lane: string): Promise<void> => {
    const mine = held.get(lane)
    if (!mine) return
    forget(lane)
    await ctx.revoke([lane])
    if (held.get(lane) !== mine) return
    held.delete(lane)
    releasing.add(lane)
  }
  const follow = ({ known, yours, revoke: back }: { known: boolean; yours: readonly string[]; revoke: readonly string[] }): void => {
    if (!known) {
      lose([...held.keys()])
      releasing.clear()
      rejoin()
      return
    }
    lose([...held.keys()].filter(lane => !yours.includes(lane) && !back.includes(lane)))
    for (const lane of back) {
      const mine = held.get(lane)
      if (!mine) releasing.add(lane)
      else if (mine.status !== 'revoking') {
        const wasAssigning = mine.status === 'assigning'
        mine.status = 'revoking'
        world.trace(`${process.name} is to give up ${lane}`)
        if (wasAssigning) lose([lane])
        else next(() => revoke(lane))
      }
    }
    for (const lane of yours) {
      if (held.has(lane) || releasing.has(lane)) continue
      held.set(lane, {
        id: ++world.readingIds,
        base: 0,
        next: 0,
        gaps: [],
        epoch: 0,
        status: 'assigning',
        emptySince: undefined,
        gap: undefined,
      })
      next(() => assign(lane))
    }
  }
  const heartbeat = async (): Promise<void> => {
    const sent = clock.monotonic()
    const id = member
    const released = [...releasing]
    const joining = joined !== id
    try {
      const answer = await world.call(process, 'broker', 'heartbeat', () => {
        for (const lane of released) coordinator().release(id, lane)
        return coordinator().heartbeat(id, joining)
      })
      joined = id
      for (const lane of released) releasing.delete(lane)
      if (!open || id !== member) return
      acknowledged = sent
      follow(answer)
    } catch {
      // Try the next one.
    }
  }
  const beat = (): void => {
    if (!open) return
    void heartbeat().finally(() => void clock.after(HEARTBEAT, beat))
  }
  const fetch = async (signal: AbortSignal): Promise<void> => {
    const wanted = [...held].filter(([, h]) => h.status === 'reading').map(([lane, h]) => ({ lane, h, epoch: h.epoch, next: h.next }))
    if (wanted.length === 0) {
      fetched = clock.monotonic()
      return orAborted(world.change(process, POLL), signal)
    }
    const began = clock.monotonic()
    const answer = await orAborted(
      world.call(process, 'broker', 'fetch', () =>
        wanted.map(({ lane, next }) => {
          const { start, records } = world.lanes.get(lane)!
          return {
            start,
            whole: records,
            records: records.slice(Math.max(start, next), Math.max(start, next) + world.between(1, 2 * traits.maxBatch)),
          }
        }),
      ),
      signal,
    )
    fetched = clock.monotonic()
    let found = false
    wanted.forEach(({ lane, h, epoch, next }, i) => {
      if (held.get(lane) !== h || h.epoch !== epoch || h.status !== 'reading') return
      const { start, whole, records } = answer[i]
      if (start > next) {
        const reason = `the records of ${lane} from ${next} to ${start - 1} were deleted before they were read (retention)`
        world.trace(`${process.name}: ${reason}`)
        h.gaps.push([next, start])
        h.gap = { lost: start - next, reason }
        h.next = start
      }
      if (records.length === 0) {
        h.emptySince = began
        return
      }
      found = true
      h.emptySince = undefined
      for (let at = 0; at < records.length; ) {
        const size = world.between(1, traits.maxBatch)
        buffer.push({ lane, epoch, held: h, whole, records: records.slice(at, at + size) })
        at += size
      }
    })
    if (!found) await orAborted(world.change(process, POLL), signal)
  }

  return {
    async open() {
      open = true
      rejoin()
      beat()
    },

    commitNotifyInterval: traits.notifyInterval,

    async read(signal): Promise<Batch> {
      for (;;) {
        signal.throwIfAborted()
        if (failure) throw failure
        buffer = buffer.filter(b => held.get(b.lane) === b.held && b.held.epoch === b.epoch && b.held.status === 'reading')
        const lanes = [...new Set(buffer.map(b => b.lane))]
        const lane = lanes[Math.floor(world.random() * lanes.length)]
        const at = buffer.findIndex(b => b.lane === lane)
        if (at < 0) {
          await fetch(signal)
          continue
        }
        const [{ held: h, whole, records }] = buffer.splice(at, 1)
        const { gap } = h
        h.gap = undefined
        h.next = records.at(-1)!.offset + 1
        h.records = whole
        const log = world.lanes.get(lane)!
        world.trace(`${process.name} hands over ${lane} ${records[0].offset}-${h.next - 1}`)
        return { lane, messages: messagesOf(log, records, ctx.step), position: h.next, lag: log.records.length - h.next, gap }
      }
    },

    async seek(lane, position) {
      const mine = held.get(lane)
      if (!mine) return
      forget(lane)
      mine.epoch++
      const next = await begin(lane, offsetOf(position))
      forget(lane)
      world.trace(`${process.name} seeks ${lane} to ${next}`)
      Object.assign(mine, { base: next, next, gaps: [], epoch: mine.epoch + 1, gap: undefined, emptySince: undefined })
    },

    commit(lane, position) {
      const reading = snapshot(world, process, lane)
      const id = member
      const { incarnation } = world.lanes.get(lane)!
      return world.call(process, 'broker', `commit offset of ${lane}`, () => {
        if (world.lanes.get(lane)!.incarnation !== incarnation) throw new FencedError(`${lane} was deleted`)
        world.commitOffset(process, id, lane, position as number, owner, reading)
      })
    },

    caughtUp: lane => (buffer.some(b => b.lane === lane) ? false : (held.get(lane)?.emptySince ?? false)),
    holds: lane => held.has(lane) && clock.monotonic() - acknowledged < SESSION,
    healthy: () => clock.monotonic() - fetched < 10_000,

    async close() {
      open = false
      const id = member
      await world.call(process, 'broker', 'leave', () => coordinator().leave(id)).catch(() => {})
    },
  }
}

function messagesOf(log: LaneLog, records: readonly SimRecord[], source: string): Message[] {
  const [topic, partition] = log.id.split('/')
  const origin: Origin = { lane: log.id, source, topic, partition: Number(partition), format: 'json', generation: String(log.incarnation) }
  const lane: LaneInfo = { id: log.id, source, topic, partition: Number(partition) }
  return records.map(r =>
    r.link
      ? LINK_STEP.message(r.link, r.offset, lane)
      : Message.fromRecord(r.payload, r.key === null ? null : Buffer.from(r.key), r.time, undefined, r.offset, origin),
  )
}

function snapshot(world: World, process: Process, lane: string): Reading {
  const reading = world.readings.get(`${process.name} ${lane}`) ?? { id: 0, base: 0, next: 0, gaps: [], epoch: 0 }
  const { id, base, next, gaps, epoch, records } = reading
  return { id, base, next, gaps: [...gaps], epoch, records }
}

async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const abort = (): void => aborted.reject(signal.reason as Error)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** Checkpoints of a log with transactions. */
export function transactor(world: World, process: Process): Transactor {
  const epochs = new Map<string, number>()
  /** The read in progress when a lane was claimed: a checkpoint saved before the next read restarts it. */
  const claimedAt = new Map<string, string>()
  const readingOf = ({ id }: LaneInfo): string => {
    const reading = world.readings.get(`${process.name} ${id}`)
    return reading ? `${reading.id}.${reading.epoch}` : ''
  }
  const unclaimed = (lane: LaneInfo): number => {
    const epoch = epochs.get(lane.id)
    if (epoch === undefined) throw new Error(`${lane.id} is not claimed`)
    return epoch
  }
  return {
    async claim(lane) {
      const { epoch, checkpoint } = await world.call(process, 'broker', `claim ${lane.id}`, () => world.claim(lane.id))
      epochs.set(lane.id, epoch)
      claimedAt.set(lane.id, readingOf(lane))
      world.trace(`${process.name} has claimed ${lane.id}: epoch ${epoch}, position ${String(checkpoint?.position)}`)
      return checkpoint
    },
    save(lane, delta) {
      const epoch = unclaimed(lane)
      const reading = claimedAt.get(lane.id) === readingOf(lane) ? undefined : snapshot(world, process, lane.id)
      return world.call(process, 'broker', `save ${lane.id}`, () => world.save(process, lane.id, epoch, delta, reading))
    },
    async begin(lane) {
      const epoch = unclaimed(lane)
      return world.call(process, 'broker', `begin ${lane.id}`, () => {
        world.fence(lane.id, epoch)
        const tx: SimTransaction = { lane: lane.id, epoch, rows: [], dead: [], links: [], closed: false }
        const log = world.lanes.get(lane.id)!
        log.open = tx
        return Object.assign(tx, {
          commit: (delta: CheckpointDelta) => {
            const reading = snapshot(world, process, lane.id)
            const commit = (): void => world.commitTransaction(process, tx, delta, reading)
            return world.call(process, 'broker', `end transaction of ${lane.id}`, commit, true)
          },
          abort: () => world.call(process, 'broker', `abort transaction of ${lane.id}`, () => void (tx.closed = true)),
        })
      })
    },
    async release(lane) {
      epochs.delete(lane.id)
    },
    async close() {},
  }
}

/** The same without transactions, for sources that have no store of their own. */
export const localStore = (world: World, process: Process): CheckpointStore => {
  const { begin: _, ...store } = transactor(world, process)
  return store
}

export interface SinkTraits {
  readonly name: string
  /** `transaction`: takes part; `upsert`: overwrites by key, and fences; `append`: shows everything twice that is written twice. */
  readonly kind: 'transaction' | 'upsert' | 'append'
  /** Its transactions also hold the positions of sources that have none. */
  readonly keepsPositions: boolean
}

export function simSink(world: World, process: Process, { name, kind, keepsPositions }: SinkTraits): SinkPlugin {
  const inTransaction = kind === 'transaction'
  return defineSink({
    type: `sim_${name}`,
    schema: {},
    onRedelivery: kind === 'upsert' ? 'idempotent' : 'appends',
    reason: 'a simulated sink',
    transactions: inTransaction ? { scope: () => SCOPE, ...(keepsPositions && { create: () => transactor(world, process) }) } : undefined,
    create: () => {
      const tokens = new Map<string, number>()
      return {
        async write(messages, context) {
          const { lane, transaction } = context
          const rows: Row[] = []
          const refused = new Map<number, Error>()
          const ids = positionsOf(messages, lane.id)
          messages.forEach((m, i) => {
            if ((m.value as { f?: string } | null)?.f === 'refuse') refused.set(i, new DataError('the sink refuses it'))
            else rows.push({ sink: name, lane: lane.id, key: m.key, text: String(m.encode()), id: ids[i]! })
          })
          const tx = transaction as unknown as SimTransaction | undefined
          if (tx) {
            await world.call(process, 'broker', `produce ${rows.length} rows of ${lane.id}`, () => {
              if (tx.closed) throw new FencedError(`the transaction of ${lane.id} has ended`)
              world.fence(tx.lane, tx.epoch)
              tx.rows.push(...rows)
            })
          } else if (kind === 'upsert') await upsert(rows, context)
          else await append(rows, context)
          if (refused.size > 0) throw new BatchError(refused)
        },
        async claim(lane) {
          if (kind !== 'upsert') return
          const id = `${name} ${lane.id}`
          const token = await world.call(process, 'table', `take ${id}`, () => {
            const next = (world.tokens.get(id) ?? 0) + 1
            world.tokens.set(id, next)
            return next
          })
          tokens.set(lane.id, token)
        },
      }

      async function upsert(rows: readonly Row[], { lane, assertOwned, progress }: WriteContext): Promise<void> {
        const id = `${name} ${lane.id}`
        for (let at = 0; at < rows.length; at += 10) {
          if (at > 0) assertOwned?.()
          await world.call(process, 'table', `upsert ${lane.id}`, () => {
            if (tokens.get(lane.id) !== world.tokens.get(id) && !world.options.unfenced) throw new FencedError(`${id} was taken`)
            for (const row of rows.slice(at, at + 10)) {
              world.tables.set(`${name} ${String(row.key)}`, row)
              world.rows.push(row)
            }
          })
          progress?.()
        }
      }

      async function append(rows: readonly Row[], { lane }: WriteContext): Promise<void> {
        if (rows.length === 0) return
        await world.call(
          process,
          'table',
          `append ${rows.length} rows of ${lane.id}`,
          () => {
            // Part of a batch may be there when the connection breaks.
            const part = !world.calm && world.chance(0.05) ? world.between(0, rows.length - 1) : rows.length
            world.rows.push(...rows.slice(0, part))
            if (part < rows.length) throw new UnknownOutcomeError(`the table took ${part} of ${rows.length} rows`)
          },
          true,
        )
      }
    },
  })
}

export function simQueue(world: World, process: Process, inTransaction: boolean): SinkPlugin {
  return defineSink({
    type: 'sim_queue',
    schema: {},
    onRedelivery: 'appends',
    reason: 'a simulated dead-letter queue',
    readsValue: false,
    transactions: inTransaction ? { scope: () => SCOPE } : undefined,
    create: () => ({
      async write(messages, { lane, transaction }) {
        const rows = messages.map(m => deadRow(m, lane.id))
        const tx = transaction as unknown as SimTransaction | undefined
        await world.call(process, tx ? 'broker' : 'queue', `dead-letter ${rows.length} of ${lane.id}`, () => {
          if (!tx) return void world.dead.push(...rows)
          if (tx.closed) throw new FencedError(`the transaction of ${lane.id} has ended`)
          world.fence(tx.lane, tx.epoch)
          tx.dead.push(...rows)
        })
      },
    }),
  })
}

const LINK_STEP = repartition.link!

/** `repartition` with the real step and the real records, over an internal topic in the world. */
export function simRepartition(world: World, process: Process, traits: SourceTraits): TransformPlugin {
  return {
    ...repartition,
    type: 'sim_repartition',
    schema: {},
    link: {
      ...LINK_STEP,
      ends: config => ({
        sink: { plugin: linkSink(world, process, config as RepartitionConfig), config },
        source: { plugin: simSource(world, process, traits, LINK), config },
      }),
    },
  } as TransformPlugin
}

function linkSink(world: World, process: Process, config: RepartitionConfig): SinkPlugin {
  return defineSink({
    type: 'sim_link',
    schema: {},
    onRedelivery: 'appends',
    reason: 'a simulated internal topic',
    transactions: { scope: () => SCOPE },
    create: () => ({
      async write(messages, { lane, transaction }) {
        const tx = transaction as unknown as SimTransaction
        const failed = new Map<number, Error>()
        const links = messages.flatMap((m, i) => {
          try {
            return LINK_STEP.records(m, lane, config)
          } catch (error) {
            failed.set(i, error as Error)
            return []
          }
        })
        await world.call(process, 'broker', `pass on ${links.length} records of ${lane.id}`, () => {
          if (tx.closed) throw new FencedError(`the transaction of ${lane.id} has ended`)
          world.fence(tx.lane, tx.epoch)
          tx.links.push(...links)
        })
        if (failed.size > 0) throw new BatchError(failed)
      },
    }),
  })
}

function deadRow(m: Message, lane: string): DeadRow {
  const header = (name: string): string => String(m.headers?.findLast(([n]) => n === name)?.[1])
  const written = m.encode()
  return {
    lane,
    from: `${header('source_topic')}/${header('source_partition')}`,
    offset: Number(header('source_offset')),
    step: header('step'),
    error: header('error_message'),
    payload: written === null ? null : Buffer.from(written),
  }
}
