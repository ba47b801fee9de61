/**
 * A source that records are pushed to, and that cannot be read again. Either its senders wait for an answer and repeat what got none
 * (as those of `http` do), or a feed sends each record once to the process that listens (as one of `websocket` does).
 */
import { defineSource, type CheckpointStore, Message, type Origin, type SourcePlugin } from '../../src/contract/plugin.ts'
import { type Block, type ExpectedDeath, type Item } from './blocks.ts'
import type { Process } from './scheduler.ts'
import type { Row, World } from './world.ts'

export const PUSHED = 'push/0'
/** How long a sender waits for an answer, ms. */
const PATIENCE = 5000

export interface Pushed {
  readonly key: string | null
  readonly payload: Buffer
  readonly time: number
}

interface Sent extends Pushed {
  answered: boolean
  /** The processes that passed it to the runtime, and when. */
  readonly readBy: Map<Process, number>
}

/** The senders, who outlive the processes. */
export class Senders {
  readonly sent: Sent[] = []
  /** Processes that ended by themselves, without an error. */
  readonly drained = new Set<Process>()
  /** When processes were killed. */
  readonly killed = new Map<Process, number>()
  private readonly world: World
  private readonly wait: boolean
  private listener: { process: Process; accept(sent: Sent): void } | undefined

  /** @param wait for an answer, and repeat without one */
  constructor(world: World, wait: boolean) {
    this.world = world
    this.wait = wait
  }

  listen(process: Process, accept: (sent: Sent) => void): void {
    this.listener = { process, accept }
  }

  send(record: Pushed): void {
    const sent = { ...record, answered: false, readBy: new Map() }
    this.sent.push(sent)
    this.attempt(sent)
  }

  /** The answer may be lost. */
  answer(sent: Sent): void {
    const { world } = this
    const isLost = !world.calm && world.chance(world.options.faults.unknown)
    if (!isLost) world.scheduler.after(1, () => (sent.answered = true))
  }

  get allAnswered(): boolean {
    return !this.wait || this.sent.every(s => s.answered)
  }

  private attempt(sent: Sent): void {
    const { world, listener, wait } = this
    const { scheduler } = world
    const isUp = listener !== undefined && !listener.process.dead
    if (isUp) scheduler.after(world.between(1, 20), () => listener.accept(sent), listener.process)
    if (!wait) return
    scheduler.after(isUp ? PATIENCE : world.between(300, 1500), () => {
      if (!sent.answered) this.attempt(sent)
    })
  }
}

/** @param traits.waits its senders wait for an answer */
export function pushSource(world: World, process: Process, { waits, maxBatch }: { waits: boolean; maxBatch: number }): SourcePlugin {
  return defineSource({
    type: 'sim',
    schema: {},
    replayable: false,
    awaitsCommit: waits,
    lanes: 'one',
    reason: 'a simulated sender does not keep its records',
    create: (_config, ctx) => {
      const origin: Origin = { lane: PUSHED, source: ctx.step, format: 'json' }
      /** Not committed; numbers never repeat. */
      let kept: { number: number; sent: Sent }[] = []
      let numbers = 0
      let cursor = 0
      let wake = (): void => {}
      const commit = (position: number): void => {
        for (const { number, sent } of kept) if (waits && number < position) world.senders.answer(sent)
        kept = kept.filter(k => k.number >= position)
      }
      return {
        commitImmediately: waits,
        async open() {
          const positions = await ctx.assign([{ id: PUSHED, source: ctx.step }])
          numbers = cursor = Math.max(ctx.clock.now() * 1000, (positions.get(PUSHED) as number | undefined) ?? 0)
          world.senders.listen(process, sent => {
            kept.push({ number: numbers++, sent })
            wake()
          })
        },
        async read(signal) {
          for (;;) {
            signal.throwIfAborted()
            const batch = kept.filter(k => k.number >= cursor).slice(0, world.between(1, maxBatch))
            if (batch.length === 0) {
              await new Promise<void>(resolve => {
                wake = resolve
                signal.addEventListener('abort', () => resolve(), { once: true })
              })
              continue
            }
            cursor = batch.at(-1)!.number + 1
            for (const { sent } of batch) if (!sent.readBy.has(process)) sent.readBy.set(process, world.scheduler.time)
            world.trace(`${process.name} hands over ${batch.length} pushed records`)
            const messages = batch.map(({ number, sent: { payload, key, time } }) =>
              Message.fromRecord(payload, key === null ? null : Buffer.from(key), time, undefined, number, origin),
            )
            return { lane: PUSHED, messages, position: cursor, lag: 0 }
          }
        },
        commit: async (_lane, position) => commit(position as number),
        // A client that waits repeats by itself.
        ...(!waits && {
          seek: async (_lane: string, position: unknown) => void (cursor = (position as number | undefined) ?? kept[0]?.number ?? cursor),
        }),
        caughtUp: () => kept.every(k => k.number < cursor),
      }
    },
  })
}

/** Checkpoints on the disk of the machine: they do not fail, and a process that is killed may have written its last one, or not. */
export function diskStore(world: World, process: Process): CheckpointStore {
  const epochs = new Map<string, number>()
  return {
    async claim(lane) {
      const { epoch, checkpoint } = world.claim(lane.id)
      epochs.set(lane.id, epoch)
      return checkpoint
    },
    save(lane, delta) {
      const { promise, resolve } = Promise.withResolvers<void>()
      world.scheduler.after(world.between(1, 10), () => {
        if (process.dead && world.chance(0.5)) return
        world.save(process, lane.id, epochs.get(lane.id)!, delta, undefined)
        world.scheduler.after(1, resolve, process)
      })
      return promise
    },
    release: async () => {},
    close: async () => {},
  }
}

/** Failed writes and a full queue delay a commit by so long, ms. */
const SLACK = 5000

/** A killed process loses what it has read since `commit_interval`, or longer if a peer was away or it was frozen. */
function isKept(world: World, process: Process, at: number, interval: number): boolean {
  const killed = world.senders.killed.get(process)
  if (killed === undefined || killed - at < interval + SLACK || process.frozenUntil > at) return false
  return world.options.storms.every(storm => storm.to + SLACK < at || storm.from > killed)
}

/** Nothing that was answered is missing; of a feed, nothing that a process has read which ended in order, or was killed later than `commit_interval` after it. Nothing else is there. */
export function comparePushed(world: World, blocks: readonly Block[], waits: boolean, interval: number): void {
  const { sent, drained } = world.senders
  const window = blocks.find(b => b.closesWhenIdle)?.closesWhenIdle
  const chain = blocks.filter(b => !b.closesWhenIdle && !b.remembers)
  const made = new Map<string, { id: string; k: string; ts: number }>()
  const rows = new Set(world.rows.map(r => r.text))
  const closed = window
    ? windowsOf(
        world,
        blocks.some(b => b.remembers),
      )
    : undefined
  const isDead = (payload: Buffer, step: string): boolean => world.dead.some(d => d.step === step && d.payload?.equals(payload))
  for (const { payload, key, time, answered, readBy } of sent) {
    const dead: ExpectedDeath[] = []
    const outputs = outputsOf({ payload, key, time }, chain, dead)
    for (const value of outputs) made.set(JSON.stringify(value), value)
    if (waits ? !answered : ![...readBy].some(([process, at]) => drained.has(process) || isKept(world, process, at, interval))) continue
    const name = payload.toString().slice(0, 80)
    for (const { step } of dead) if (!isDead(payload, step)) world.violate(`${name} was answered, and is not a dead letter of ${step}`)
    for (const value of outputs) {
      const there = closed
        ? closed.get(`${value.k} ${Math.floor(value.ts / window!.size) * window!.size}`)?.has(value.id) || isDead(payload, window!.name)
        : value.f === 'refuse'
          ? isDead(payload, 'out')
          : rows.has(JSON.stringify(value))
      if (!there)
        world.violate(
          `${waits ? 'answered' : 'read by a process that ended in order, or long before it was killed'}, and not in the sink: ${name}`,
        )
    }
  }
  if (closed) {
    const ids = new Set([...made.values()].map(({ id }) => id))
    for (const [place, found] of closed)
      for (const id of found) if (!ids.has(id)) world.violate(`window ${place} holds ${id}, which was not sent`)
  } else for (const text of rows) if (!made.has(text)) world.violate(`the sink has ${text}, which was not sent`)
}

function outputsOf(
  { payload, key, time }: Pushed,
  chain: readonly Block[],
  dead: ExpectedDeath[],
): { id: string; k: string; ts: number; f?: string }[] {
  let items: Item[]
  try {
    items = [{ offset: 0, key, time, value: JSON.parse(payload.toString()) }]
  } catch {
    dead.push({ offset: 0, step: 'in' })
    return []
  }
  for (const block of chain) items = block.run(items, dead)
  return items.flatMap(item => (item.gap ? [] : [item.value as { id: string; k: string; ts: number }]))
}

/** The records in each window; it may be written again after a crash. */
function windowsOf(world: World, once: boolean): Map<string, Set<string>> {
  const windows = new Map<string, Set<string>>()
  for (const { text } of world.rows as readonly Row[]) {
    const { key, start, n, ids } = JSON.parse(text) as { key: string; start: number; n: number; ids: string[] }
    if (n !== ids.length) world.violate(`window ${key} ${start} counts ${n} of ${ids.length}`)
    if (once && new Set(ids).size < ids.length) world.violate(`window ${key} ${start} has a record twice: ${ids.join(' ')}`)
    const place = `${key} ${start}`
    windows.set(place, new Set([...(windows.get(place) ?? []), ...ids]))
  }
  return windows
}
