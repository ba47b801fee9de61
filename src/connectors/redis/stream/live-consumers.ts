/**
 * Consumers of one group share the entries of a stream, so they must process them in the same way. Each stores a description of its
 * processing in a hash beside the stream and refreshes it every few seconds. Redis has no locks that end with a connection: an entry that
 * is not refreshed belongs to a process that has ended without a notice, and is removed. So nothing depends on the clocks of two machines.
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LiveConflictError, LiveContent, Logger } from '../../../contract/plugin.ts'
import { monotonic } from '../../../kit/clock.ts'
import { liveConflict, liveContentOf } from '../../../kit/live-content.ts'
import { type Driver, type Reply, ReplyError, sortError, text } from '../driver.ts'

/** Interval between refreshes of an entry, ms. */
const BEAT = 2000
/** An entry that has not changed for this long belongs to a dead process, ms. */
const GONE = 10_000
/** How often a new process checks whether another entry changes, ms. */
const LOOK = 250

export interface LiveConsumersOptions {
  readonly driver: Driver
  readonly streams: readonly string[]
  readonly group: string
  readonly live: LiveContent
  readonly log: Logger
  readonly step: string
  /** This process has been replaced by one with different processing. */
  readonly rejected: (error: Error) => void
}

interface LiveEntry {
  readonly live: unknown
  readonly where: string
  readonly n: number
}

export class LiveConsumers {
  private readonly o: LiveConsumersOptions
  private readonly id = randomUUID()
  private readonly keys: readonly string[]
  /** When the entries of others changed last, and their content then. */
  private readonly seen = new Map<string, { readonly entry: string; readonly at: number }>()
  private n = 0
  private timer: NodeJS.Timeout | undefined
  private beating: Promise<void> = Promise.resolve()

  constructor(options: LiveConsumersOptions) {
    this.o = options
    this.keys = options.streams.map(stream => `__runner:live:${stream}:${options.group}`)
  }

  /** @throws {LiveConflictError} while a process with different processing runs */
  async join(): Promise<void> {
    try {
      for (const key of this.keys) await this.joinOne(key)
    } catch (error) {
      if (!(error instanceof ReplyError)) {
        await this.withdraw()
        throw error
      }
      this.o.log.warn(
        { step: this.o.step, error: error.message },
        `a different pipeline in group ${this.o.group} cannot be detected: this user may not write the key ${this.keys[0]}`,
      )
      return
    }
    this.timer = setInterval(() => {
      this.beating = this.beat()
    }, BEAT).unref()
  }

  async leave(): Promise<void> {
    if (this.timer === undefined) return
    clearInterval(this.timer)
    await this.beating
    await this.withdraw()
  }

  private async joinOne(key: string): Promise<void> {
    const first = new Map<string, string>()
    let waiting = false
    for (;;) {
      const others = await this.write(key)
      const conflict = this.conflictIn(others)
      if (!conflict) return
      await this.run([['HDEL', key, this.id]])
      for (const [id, value] of others) if (!first.has(id)) first.set(id, value)
      // Refreshed since it was first seen: its process is alive.
      if (first.get(conflict.id) !== others.get(conflict.id)) throw conflict.error
      if (!waiting)
        this.o.log.info(
          { step: this.o.step },
          `a process of a different pipeline is registered in group ${this.o.group}; waiting to see whether it is alive`,
        )
      waiting = true
      await sleep(LOOK)
    }
  }

  private async beat(): Promise<void> {
    try {
      for (const key of this.keys) {
        const before = this.n
        const others = await this.write(key)
        // Removed while this process was frozen, or with all data on the server: other processes may have joined since.
        if (before > 0 && !others.has(this.id)) await this.joinOne(key)
      }
    } catch (error) {
      // The lanes detect problems with the connection themselves.
      if ((error as Partial<LiveConflictError>).code !== 'PIPE_LIVE') return
      clearInterval(this.timer)
      this.o.rejected(error as Error)
    }
  }

  /** Writes this process's entry. @returns the former content, without the entries of dead processes */
  private async write(key: string): Promise<Map<string, string>> {
    const { live } = this.o
    const entry: LiveEntry = { live, where: `process ${process.pid} on ${hostname()}`, n: this.n++ }
    const [found] = await this.run([
      ['HGETALL', key],
      ['HSET', key, this.id, JSON.stringify(entry)],
      ['PEXPIRE', key, 6 * GONE],
    ])
    const now = monotonic()
    const all = new Map<string, string>()
    const gone: string[] = []
    const list = (found as Reply[] | null) ?? []
    for (let i = 0; i < list.length; i += 2) {
      const [id, value] = [text(list[i]), text(list[i + 1])]
      if (this.seen.get(id)?.entry !== value) this.seen.set(id, { entry: value, at: now })
      if (id !== this.id && now - this.seen.get(id)!.at > GONE) gone.push(id)
      else all.set(id, value)
    }
    if (gone.length > 0) await this.run([['HDEL', key, ...gone]])
    for (const id of gone) this.seen.delete(id)
    return all
  }

  private conflictIn(others: ReadonlyMap<string, string>): { id: string; error: LiveConflictError } | undefined {
    for (const [id, value] of others) {
      const entry = JSON.parse(value) as LiveEntry
      const running = id === this.id ? undefined : liveContentOf(entry.live)
      const error = running && liveConflict(running, entry.where, this.o.live, `group ${this.o.group}`)
      if (error) return { id, error }
    }
    return undefined
  }

  private async withdraw(): Promise<void> {
    for (const key of this.keys) await this.run([['HDEL', key, this.id]]).catch(() => {})
  }

  /** @throws {ReplyError} permission denied; @throws {Error} otherwise */
  private async run(commands: readonly (readonly [string, ...(string | number)[]])[]): Promise<Reply[]> {
    const replies = await this.o.driver.run(commands, { atomic: true })
    for (const reply of replies) {
      if (!(reply instanceof ReplyError)) continue
      throw reply.kind === 'NOPERM' ? reply : sortError(reply, 'comparing with the other consumers')
    }
    return replies as Reply[]
  }
}
