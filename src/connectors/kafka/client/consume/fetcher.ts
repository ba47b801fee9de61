/** Keeps one fetch per broker under way for the partitions that have room. */
import { ConnectionError, EnvironmentError, type PipelineError } from '../../../../contract/plugin.ts'
import { tpKey } from '../../driver.ts'
import type { Cluster } from '../cluster.ts'
import { toPipelineError } from '../errors.ts'
import { fetch, type Fetched } from './fetch.ts'
import type { PartitionState } from './partition.ts'
import { monotonic } from '../../../../kit/clock.ts'

export interface FetcherOptions {
  readonly maxBytes: number
  readonly maxWaitMs: number
  readonly committed: boolean
  partitions(): Iterable<PartitionState>
  onData(): void
  onError(error: PipelineError): void
  onFatal(error: PipelineError): void
  /** The offset does not exist any more (retention) or not yet (the topic was made anew). */
  onOutOfRange(state: PartitionState): void
}

/** Unpolled bytes above which a partition is not fetched. */
const BUFFER = 1_048_576
const ERROR_PAUSE = 200
/** How long a fetch may wait when partitions that are full may get room meanwhile. */
const SHORT_WAIT = 20
const OUT_OF_RANGE = 1
/** Longer than any request's own timeout. */
const STUCK_MS = 60_000
const WATCH_INTERVAL = 5000

export class Fetcher {
  private readonly cluster: Cluster
  private readonly options: FetcherOptions
  /** Fetches under way: when each broker was asked, `monotonic` ms. */
  private readonly busy = new Map<number, number>()
  private readonly watchdog: NodeJS.Timeout
  private timer: NodeJS.Timeout | undefined
  private closed = false
  private looking = false
  private contact = 0
  private broken = false

  constructor(cluster: Cluster, options: FetcherOptions) {
    this.cluster = cluster
    this.options = options
    this.watchdog = setInterval(() => this.watch(), WATCH_INTERVAL).unref()
  }

  /** `monotonic` ms of the last good answer; 0 after a failure. */
  get lastContact(): number {
    return this.broken ? 0 : this.contact
  }

  /** Call whenever a partition has room again or is new. */
  kick(): void {
    if (this.closed) return
    const now = monotonic()
    const groups = new Map<number, PartitionState[]>()
    let full = false
    for (const state of this.options.partitions()) {
      if (state.fetchFrom === undefined) continue
      if (state.bytes >= BUFFER) {
        full = true
        continue
      }
      if (state.notBefore > now) {
        this.later(state.notBefore - now)
        continue
      }
      const leader = this.cluster.cached(state.tp.topic)?.find(p => p.partition === state.tp.partition)?.leader ?? -1
      if (leader < 0) {
        this.lookUp(state)
        continue
      }
      const group = groups.get(leader)
      if (group === undefined) groups.set(leader, [state])
      else group.push(state)
    }
    for (const [leader, states] of groups) if (!this.busy.has(leader)) void this.fetch(leader, states, full)
  }

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
    clearInterval(this.watchdog)
  }

  private async fetch(leader: number, states: PartitionState[], full: boolean): Promise<void> {
    const since = monotonic()
    this.busy.set(leader, since)
    const { maxBytes, maxWaitMs, committed } = this.options
    // Whoever comes first in the request is served first when maxBytes is short.
    rotate(states)
    const epochs = states.map(s => s.epoch)
    const offsets = states.map(s => s.fetchFrom!)
    let broker: Awaited<ReturnType<Cluster['broker']>> | undefined
    try {
      broker = await this.cluster.broker(leader)
      const request = states.map((s, i) => ({ ...s.tp, offset: offsets[i], maxBytes: s.maxBytes }))
      const answer = await fetch(broker, request, { maxBytes, maxWaitMs: full ? Math.min(SHORT_WAIT, maxWaitMs) : maxWaitMs, committed })
      this.contact = monotonic()
      this.broken = false
      for (const part of answer) {
        const i = states.findIndex(s => s.tp.partition === part.partition && s.tp.topic === part.topic)
        if (i >= 0 && states[i].epoch === epochs[i]) this.take(states[i], part, since)
      }
    } catch (error) {
      this.cluster.failed(
        broker,
        error,
        states.map(s => s.tp.topic),
      )
      this.problem(states, toPipelineError(error, 'fetch from Kafka'))
    }
    // After the watchdog's turn the broker is asked anew already.
    if (this.busy.get(leader) === since) this.busy.delete(leader)
    this.options.onData()
    this.kick()
  }

  /** A fetch that is never answered nor failed would stop its partitions for good and look like silence. */
  private watch(): void {
    const limit = monotonic() - STUCK_MS - this.options.maxWaitMs
    const stuck = [...this.busy].filter(([, since]) => since < limit)
    if (stuck.length === 0) return
    for (const [leader] of stuck) this.busy.delete(leader)
    this.cluster.reset()
    this.broken = true
    this.options.onError(
      new ConnectionError(
        `broker ${stuck.map(([leader]) => leader).join()} has not answered a fetch for ${STUCK_MS / 1000} s; connecting anew`,
      ),
    )
    this.kick()
  }

  private take(state: PartitionState, part: Fetched, asked: number): void {
    if (part.errorCode === 0) return state.take(part, asked)
    if (part.errorCode === OUT_OF_RANGE) return this.options.onOutOfRange(state)
    if (part.errorCode === 29) {
      return this.options.onFatal(new EnvironmentError(`cannot read topic ${state.tp.topic}: the broker's ACLs do not allow it`))
    }
    // 3, 5, 6, 9, 56, 74, 75, 76: the leader is elsewhere, or not there for the moment.
    this.cluster.stale([state.tp.topic])
    state.notBefore = monotonic() + ERROR_PAUSE
    if (part.errorCode === 3) this.options.onError(new ConnectionError(`${tpKey(state.tp)} is not there`))
  }

  private problem(states: readonly PartitionState[], error: PipelineError): void {
    if (this.closed) return
    this.broken = true
    if (!error.retryable) return this.options.onFatal(error)
    for (const state of states) state.notBefore = monotonic() + ERROR_PAUSE
    this.options.onError(error)
  }

  /** Finds the leader of a partition that has none in the cache. */
  private lookUp(state: PartitionState): void {
    if (this.looking) return
    this.looking = true
    this.cluster.partitions(state.tp.topic, { refresh: true }).then(
      partitions => {
        this.looking = false
        const found = partitions.find(p => p.partition === state.tp.partition)
        if (found === undefined || found.leader < 0) {
          state.notBefore = monotonic() + ERROR_PAUSE
          if (found === undefined) this.options.onError(new ConnectionError(`${tpKey(state.tp)} is not there`))
        }
        this.kick()
      },
      error => {
        this.looking = false
        this.problem([state], toPipelineError(error, 'find the partition leaders'))
        this.kick()
      },
    )
  }

  private later(ms: number): void {
    if (this.timer !== undefined) return
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.kick()
    }, ms)
  }
}

let turn = 0
function rotate<T>(list: T[]): void {
  if (list.length < 2) return
  const n = turn++ % list.length
  list.push(...list.splice(0, n))
}
