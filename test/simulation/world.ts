/**
 * Everything outside of the processes, as it would be on servers: a log with lanes, retention and transactions, a group, a table, a
 * store of checkpoints, a dead-letter queue, and a network that loses, delays and hangs. It outlives the processes. Accepted writes are
 * noted, and compared with the oracle at the end; writes that must never be accepted are violations at once.
 */
import {
  ConnectionError,
  type CheckpointDelta,
  type Checkpoint,
  FencedError,
  type LinkRecord,
  UnknownOutcomeError,
} from '../../src/contract/plugin.ts'
import { seeded } from '../support/random.ts'
import { Senders } from './push.ts'
import { type Process, Scheduler } from './scheduler.ts'

export type Peer = 'broker' | 'table' | 'queue' | 'store'

export interface Storm {
  readonly peer: Peer
  readonly from: number
  readonly to: number
  /** `down`: refuses connections. `hang`: accepts them and does not answer. */
  readonly mode: 'down' | 'hang'
}

export interface Faults {
  /** Probability that a request is lost before it is applied, and that an answer is lost after. */
  readonly lost: number
  readonly unknown: number
  /** Probability that a request takes effect only after its sender has timed out, where the peer allows that. */
  readonly late: number
  /** Longest way of a request or an answer, ms. */
  readonly latency: number
}

export interface SimRecord {
  readonly offset: number
  readonly key: string | null
  readonly payload: Buffer
  readonly time: number
  /** Of an internal topic. */
  readonly link?: LinkRecord
}

export interface Row {
  readonly sink: string
  readonly lane: string
  readonly key: string | null
  readonly text: string
  /** As the `http` sink names it in its idempotency key: equal when it is written again. */
  readonly id: string
}

export interface DeadRow {
  readonly lane: string
  /** Lane and offset of its record in the source: in front of a link, the lane is another one. */
  readonly from: string
  readonly offset: number
  readonly step: string
  readonly error: string
  readonly payload: Buffer | null
}

/** The records that one process has read of a lane since its assignment, or since the last seek. */
export interface Reading {
  readonly id: number
  /** Where it began. */
  base: number
  /** After the last record that was passed to the runtime. */
  next: number
  /** Offsets that were deleted before they were read. */
  gaps: [from: number, to: number][]
  /** Counts seeks. */
  epoch: number
  /** Of the topic that the last record came from: it may have been deleted since. */
  records?: readonly SimRecord[]
}

/** A stretch of a lane with one state: a new one begins where state was dropped. */
export interface Segment {
  readonly records: readonly SimRecord[]
  /** Offsets in the order of processing; null: records are missing here. */
  readonly offsets: (number | null)[]
  readonly from: number
}

export class LaneLog {
  readonly id: string
  records: SimRecord[] = []
  /** Of topics that were deleted. */
  readonly former: SimRecord[][] = []
  /** Offset of the oldest record. */
  start = 0
  /** Counts deletions of the topic. */
  incarnation = 1
  /** Fencing token of its owner. */
  epoch = 0
  position: number | undefined
  readonly state = new Map<string, [string, string, string]>()
  open: SimTransaction | undefined
  readonly segments: Segment[] = []

  constructor(id: string) {
    this.id = id
  }
}

export interface SimTransaction {
  readonly lane: string
  readonly epoch: number
  readonly rows: Row[]
  readonly dead: DeadRow[]
  /** To an internal topic. */
  readonly links: LinkRecord[]
  closed: boolean
}

/** How long a client waits for an answer, ms. */
const TIMEOUT = 3000
export const SESSION = 6000
const REBALANCE = 15_000

export interface Heartbeat {
  readonly known: boolean
  readonly yours: readonly string[]
  readonly revoke: readonly string[]
}

/** Name of the internal topic of a `repartition`. */
export const LINK = 'link'
export const topicOf = (lane: string): string => lane.slice(0, lane.indexOf('/'))

/** The coordinator of the group of one topic: every lane has one owner at a time, which releases it before another gets it, or is evicted. */
export class Group {
  readonly owner = new Map<string, string>()
  readonly committed = new Map<string, { position: number; owner: string | null }>()
  /** Rotates the assignment. */
  turn = 0
  private readonly members = new Map<string, number>()
  private readonly asked = new Map<string, number>()
  private readonly world: World
  private readonly topic: string

  constructor(world: World, topic: string) {
    this.world = world
    this.topic = topic
  }

  heartbeat(member: string, joins: boolean): Heartbeat {
    const now = this.world.scheduler.time
    for (const [id, seen] of this.members) if (now - seen > SESSION) this.leave(id)
    if (!this.members.has(member) && !joins) return { known: false, yours: [], revoke: [] }
    this.members.set(member, now)
    const members = [...this.members.keys()].toSorted()
    const yours: string[] = []
    const revoke: string[] = []
    for (const [i, lane] of this.world.lanesOf(this.topic).entries()) {
      const target = members[(i + this.turn) % members.length]
      let owner = this.owner.get(lane)
      if (owner !== undefined && owner !== target) {
        const since = this.asked.get(lane) ?? now
        this.asked.set(lane, since)
        if (now - since > REBALANCE) {
          this.world.trace(`group takes ${lane} from ${owner}, which did not give it up`)
          this.owner.delete(lane)
          owner = undefined
        }
      } else this.asked.delete(lane)
      if (owner === undefined && target === member) {
        this.owner.set(lane, (owner = member))
        this.asked.delete(lane)
        this.world.trace(`group gives ${lane} to ${member}`)
      }
      if (owner !== member) continue
      if (target === member) yours.push(lane)
      else revoke.push(lane)
    }
    return { known: true, yours, revoke }
  }

  release(member: string, lane: string): void {
    if (this.owner.get(lane) === member) this.owner.delete(lane)
  }

  leave(member: string): void {
    if (!this.members.delete(member)) return
    for (const [lane, owner] of this.owner) if (owner === member) this.owner.delete(lane)
    this.world.trace(`group: ${member} is gone`)
  }
}

export interface WorldOptions {
  readonly seed: number
  readonly lanes: readonly string[]
  readonly faults: Faults
  readonly storms: readonly Storm[]
  /** From then on no fault occurs. */
  readonly calmFrom: number
  /** Where the authoritative position is stored. */
  readonly decides: (lane: string) => 'store' | 'source' | 'nowhere'
  /** Whether senders wait for an answer. */
  readonly waits?: boolean
  /** A planted bug of the peers: a former owner is not fenced. */
  readonly unfenced?: boolean
}

export const START = 1_750_000_000_000

export class World {
  readonly scheduler = new Scheduler(START)
  readonly random: () => number
  readonly options: WorldOptions
  readonly lanes = new Map<string, LaneLog>()
  readonly senders: Senders
  readonly groups = new Map<string, Group>()
  readonly rows: Row[] = []
  readonly dead: DeadRow[] = []
  /** sink, key => row: the result of upserts. */
  readonly tables = new Map<string, Row>()
  /** sink, lane => token of the owner. */
  readonly tokens = new Map<string, number>()
  readonly violations: string[] = []
  readonly lines: string[] = []
  /** By process and lane. */
  readonly readings = new Map<string, Reading>()
  readingIds = 0
  private waiting: (() => void)[] = []
  private hash = 0x811c9dc5

  constructor(options: WorldOptions) {
    this.options = options
    this.senders = new Senders(this, options.waits === true)
    this.random = seeded(options.seed ^ 0x5eed)
    for (const id of options.lanes) {
      this.lanes.set(id, new LaneLog(id))
      if (!this.groups.has(topicOf(id))) this.groups.set(topicOf(id), new Group(this, topicOf(id)))
    }
  }

  lanesOf(topic: string): string[] {
    return [...this.lanes.keys()].filter(id => topicOf(id) === topic)
  }

  groupOf(lane: string): Group {
    return this.groups.get(topicOf(lane))!
  }

  get calm(): boolean {
    return this.scheduler.time >= this.options.calmFrom
  }

  trace(line: string): void {
    const text = `${((this.scheduler.time - START) / 1000).toFixed(3)} ${line}`
    for (let i = 0; i < text.length; i++) this.hash = Math.imul(this.hash ^ text.charCodeAt(i), 0x01000193)
    this.lines.push(text)
  }

  get traceHash(): string {
    return (this.hash >>> 0).toString(16)
  }

  violate(what: string): void {
    this.trace(`VIOLATION ${what}`)
    this.violations.push(what)
  }

  chance(probability: number): boolean {
    return this.random() < probability
  }

  /** In whole numbers, both included. */
  between(from: number, to: number): number {
    return from + Math.floor(this.random() * (to - from + 1))
  }

  /**
   * A request to a peer and its answer. `apply` is the action of the peer. A request that was sent is applied, also when its sender has
   * died meanwhile.
   * @param late whether it may take effect after its sender has timed out
   */
  call<T>(process: Process, peer: Peer, what: string, apply: () => T, late = false): Promise<T> {
    const { scheduler, options } = this
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const answer = (fn: () => void): void => void scheduler.after(this.latency(), fn, process)
    const fail = (error: Error): void => {
      this.trace(`${process.name} ${what}: ${error.message}`)
      answer(() => reject(error))
    }
    const arrive = (): void => {
      const storm = this.storm(peer)
      if (storm?.mode === 'down') return fail(new ConnectionError(`${peer} is down`))
      if (storm) {
        const rest = storm.to - scheduler.time
        if (rest < TIMEOUT) scheduler.after(rest, arrive)
        else {
          if (late && this.chance(0.5)) scheduler.after(rest, () => this.attempt(process, what, apply, () => {}))
          scheduler.after(TIMEOUT, () => fail(new UnknownOutcomeError(`${peer} does not answer`)))
        }
        return
      }
      const roll = this.calm ? 1 : this.random()
      const { lost, unknown } = options.faults
      if (roll < lost) return fail(new ConnectionError(`${peer}: connection lost`))
      if (roll < lost + unknown) {
        if (late && this.chance(options.faults.late))
          scheduler.after(this.between(500, 9000), () => this.attempt(process, `${what} (late)`, apply, () => {}))
        else this.attempt(process, what, apply, () => {})
        return fail(new UnknownOutcomeError(`${peer}: answer lost`))
      }
      this.attempt(process, what, apply, (error, result) => {
        if (error) fail(error)
        else answer(() => resolve(result as T))
      })
    }
    scheduler.after(this.latency(), arrive)
    return promise
  }

  private attempt<T>(process: Process, what: string, apply: () => T, then: (error: Error | undefined, result?: T) => void): void {
    let result: T
    try {
      result = apply()
    } catch (error) {
      this.trace(`${process.name} ${what}: refused: ${(error as Error).message}`)
      return then(error as Error)
    }
    then(undefined, result)
  }

  private latency(): number {
    return 1 + this.random() * (this.calm ? 5 : this.options.faults.latency)
  }

  private storm(peer: Peer): Storm | undefined {
    const { time } = this.scheduler
    return this.options.storms.find(s => s.peer === peer && s.from <= time && time < s.to)
  }

  // --- the log

  append(lane: string, record: Omit<SimRecord, 'offset'>): void {
    const log = this.lanes.get(lane)!
    log.records.push({ ...record, offset: log.records.length })
    this.wake()
  }

  /** Retention: deletes older records. */
  truncate(lane: string, start: number): void {
    const log = this.lanes.get(lane)!
    if (start <= log.start) return
    log.start = Math.min(start, log.records.length)
    this.trace(`retention deletes ${lane} up to ${log.start}`)
  }

  /** The topic is deleted and recreated; its group offsets are deleted with it. */
  recreate(lane: string): void {
    const log = this.lanes.get(lane)!
    log.former.push(log.records)
    log.records = []
    log.start = 0
    log.incarnation++
    this.groupOf(lane).committed.delete(lane)
    if (this.options.decides(lane) === 'source') log.segments.push({ records: log.records, offsets: [], from: 0 })
    this.trace(`${lane} is deleted and made again`)
  }

  /** Resolves when something was appended, or after `ms`, whichever is first. */
  change(process: Process, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    let cancel = (): void => {}
    const done = (): void => {
      cancel()
      resolve()
    }
    cancel = process.clock.after(ms, done)
    this.waiting.push(() => this.scheduler.after(this.latency(), done, process))
    return promise
  }

  wake(): void {
    const waiting = this.waiting
    this.waiting = []
    for (const fn of waiting) fn()
  }

  // --- owners, transactions, checkpoints

  claim(lane: string): { epoch: number; checkpoint: Checkpoint | undefined } {
    const log = this.lanes.get(lane)!
    if (log.open) log.open.closed = true
    log.open = undefined
    log.epoch++
    const checkpoint = log.position === undefined ? undefined : { position: log.position, state: [...log.state.values()] }
    return { epoch: log.epoch, checkpoint }
  }

  fence(lane: string, epoch: number): void {
    if (this.options.unfenced) return
    if (this.lanes.get(lane)!.epoch !== epoch) throw new FencedError(`fenced: another instance now owns lane ${lane}`)
  }

  commitTransaction(process: Process, tx: SimTransaction, delta: CheckpointDelta, reading: Reading): void {
    if (tx.closed && !this.options.unfenced)
      throw new FencedError(`fenced: the transaction of lane ${tx.lane} was ended by another instance`)
    this.fence(tx.lane, tx.epoch)
    this.save(process, tx.lane, tx.epoch, delta, reading)
    this.rows.push(...tx.rows)
    this.dead.push(...tx.dead)
    for (const link of tx.links)
      this.append(`${LINK}/${link.partition}`, { key: link.key as string | null, payload: Buffer.from(link.value ?? ''), time: 0, link })
    tx.closed = true
  }

  save(process: Process, lane: string, epoch: number, delta: CheckpointDelta, reading: Reading | undefined): void {
    this.fence(lane, epoch)
    const log = this.lanes.get(lane)!
    for (const [store, key, json] of delta.state) {
      if (json === null) log.state.delete(`${store}\0${key}`)
      else log.state.set(`${store}\0${key}`, [store, key, json])
    }
    if (this.options.decides(lane) === 'store') this.consumed(process, lane, delta.position as number, reading)
    log.position = delta.position as number
  }

  /** The position that counts has moved: what lies in front of it is never read again. @param reading undefined: the lane starts there without state */
  consumed(process: Process, lane: string, position: number, reading: Reading | undefined): void {
    const log = this.lanes.get(lane)!
    const before = log.segments.length === 0 && reading ? reading.base : this.positionOf(lane)
    this.trace(`${process.name} commits ${lane} at ${position}`)
    if (reading === undefined) {
      log.segments.push({ records: log.records, offsets: [], from: position })
      return
    }
    if (log.segments.length === 0) log.segments.push({ records: reading.records ?? log.records, offsets: [], from: reading.base })
    const { offsets } = log.segments.at(-1)!
    if (position < before) return this.violate(`${lane}: the position moved back from ${before} to ${position}`)
    if (position > reading.next) return this.violate(`${lane}: position ${position} was committed, read was up to ${reading.next}`)
    for (let offset = before; offset < position; offset++) {
      const missing = offset < reading.base || reading.gaps.some(([from, to]) => from <= offset && offset < to)
      if (!missing) offsets.push(offset)
      else if (offset >= log.start) this.violate(`${lane}: offset ${offset} was skipped, and is still there`)
      else if (offsets.at(-1) !== null) offsets.push(null)
    }
  }

  /** The position where a restart continues. */
  positionOf(lane: string): number {
    const log = this.lanes.get(lane)!
    return (this.options.decides(lane) === 'store' ? log.position : this.groupOf(lane).committed.get(lane)?.position) ?? 0
  }

  commitOffset(process: Process, member: string, lane: string, position: number, owner: string, reading: Reading): void {
    if (this.groupOf(lane).owner.get(lane) !== member && !this.options.unfenced) throw new FencedError(`${lane} is not ${member}'s`)
    if (this.options.decides(lane) === 'source') this.consumed(process, lane, position, reading)
    this.groupOf(lane).committed.set(lane, { position, owner })
  }
}
