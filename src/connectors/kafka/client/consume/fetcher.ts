/**
 * Keeps one fetch per broker in progress for the partitions that have room. The Fetch response (v4 to v11) is parsed here: record sets stay
 * bytes until a partition is polled.
 */
import { ConnectionError, EnvironmentError, type PipelineError } from '../../../../contract/plugin.ts'
import type { AbortedTransaction } from '../../codec/decode.ts'
import { readInt64 } from '../../codec/numbers.ts'
import type { Cluster } from '../cluster.ts'
import { type Broker, internals } from '../internals.ts'
import { toPipelineError } from '../errors.ts'
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
  /** The offset no longer exists (retention) or does not exist yet (the topic was created again). It is fetched again after a `seek`. */
  onOutOfRange(state: PartitionState): void
  /**
   * The broker does not know the topic: it may have been deleted, and another one with its name may follow. Fetched again when `suspect` is
   * false.
   */
  onUnknown(state: PartitionState): void
}

/** Above this number of unpolled bytes a partition is not fetched. */
const BUFFER = 1_048_576
const ERROR_PAUSE = 200
/** How long a fetch may wait when full partitions may get room meanwhile. */
const SHORT_WAIT = 20
const OUT_OF_RANGE = 1
/** Longer than the timeout of any request. */
const STUCK_MS = 20_000
/** A broker that has not answered a fetch for this long beyond its maximum wait makes the source not ready, ms. */
const SILENT_MS = 6000
/** Failures shorter than this do not count: a leader has moved. */
const BLIP_MS = 2000
const WATCH_INTERVAL = 5000
/** Limit of a fetch beyond the time that the broker may wait, ms. */
const FETCH_TIMEOUT = 10_000

export class Fetcher {
  private readonly cluster: Cluster
  private readonly options: FetcherOptions
  /** Fetches in progress: when each broker was asked, `monotonic` ms. */
  private readonly busy = new Map<number, number>()
  private readonly watchdog: NodeJS.Timeout
  private timer: NodeJS.Timeout | undefined
  private closed = false
  private looking = false
  /** Since when fetches have been failing, `monotonic` ms, and why. */
  private failing: { readonly since: number; problem: string } | undefined

  constructor(cluster: Cluster, options: FetcherOptions) {
    this.cluster = cluster
    this.options = options
    this.watchdog = setInterval(() => this.watch(), WATCH_INTERVAL).unref()
  }

  /** Why nothing is read. Undefined: no problem, or partitions are full and nothing is requested. */
  get trouble(): string | undefined {
    const now = monotonic()
    if (this.failing !== undefined && now - this.failing.since > BLIP_MS) return this.failing.problem
    for (const [leader, since] of this.busy)
      if (now - since > this.options.maxWaitMs + SILENT_MS) return `no answer from broker ${leader} to a fetch`
    return undefined
  }

  /** Call whenever a partition has room again or is new. */
  kick(): void {
    if (this.closed) return
    const now = monotonic()
    const groups = new Map<number, PartitionState[]>()
    let full = false
    for (const state of this.options.partitions()) {
      if (state.fetchFrom === undefined || state.suspect) continue
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
    // The first partition of the request is served first when maxBytes is small.
    rotate(states)
    const epochs = states.map(s => s.epoch)
    const offsets = states.map(s => s.fetchFrom!)
    let broker: Awaited<ReturnType<Cluster['broker']>> | undefined
    try {
      broker = await this.cluster.broker(leader)
      const request = states.map((s, i) => ({ ...s.tp, offset: offsets[i], maxBytes: s.maxBytes }))
      const answer = await fetch(broker, request, { maxBytes, maxWaitMs: full ? Math.min(SHORT_WAIT, maxWaitMs) : maxWaitMs, committed })
      this.failing = undefined
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
    // After the watchdog has acted, the broker has already been asked again.
    if (this.busy.get(leader) === since) this.busy.delete(leader)
    this.options.onData()
    this.kick()
  }

  /** A fetch that neither succeeds nor fails would stop its partitions forever and look like silence. */
  private watch(): void {
    const limit = monotonic() - STUCK_MS - this.options.maxWaitMs
    const stuck = [...this.busy].filter(([, since]) => since < limit)
    if (stuck.length === 0) return
    for (const [leader] of stuck) this.busy.delete(leader)
    this.cluster.reset()
    const error = new ConnectionError(
      `broker ${stuck.map(([leader]) => leader).join()} has not answered a fetch for ${STUCK_MS / 1000} s; reconnecting`,
    )
    this.fails(error)
    this.options.onError(error)
    this.kick()
  }

  private take(state: PartitionState, part: Fetched, asked: number): void {
    if (part.errorCode === 0) return state.take(part, asked)
    if (part.errorCode === OUT_OF_RANGE) {
      state.seek(undefined)
      return this.options.onOutOfRange(state)
    }
    if (part.errorCode === 29) {
      return this.options.onFatal(new EnvironmentError(`cannot read topic ${state.tp.topic}: the ACLs of the broker do not allow it`))
    }
    // 3, 5, 6, 9, 56, 74, 75, 76: the leader has moved, or is temporarily missing.
    this.cluster.stale([state.tp.topic])
    state.notBefore = monotonic() + ERROR_PAUSE
    if (part.errorCode === 3) this.options.onUnknown(state)
  }

  private problem(states: readonly PartitionState[], error: PipelineError): void {
    if (this.closed) return
    this.fails(error)
    if (!error.retryable) return this.options.onFatal(error)
    for (const state of states) state.notBefore = monotonic() + ERROR_PAUSE
    this.options.onError(error)
  }

  private fails(error: Error): void {
    this.failing = { since: this.failing?.since ?? monotonic(), problem: error.message }
  }

  /** Finds the leader of a partition without one in the cache. */
  private lookUp(state: PartitionState): void {
    if (this.looking) return
    this.looking = true
    this.cluster.partitions(state.tp.topic, { refresh: true }).then(
      partitions => {
        this.looking = false
        const found = partitions.find(p => p.partition === state.tp.partition)
        if (found === undefined || found.leader < 0) state.notBefore = monotonic() + ERROR_PAUSE
        if (found === undefined) this.options.onUnknown(state)
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

export interface FetchPartition {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly maxBytes: number
}
export interface FetchOptions {
  readonly maxWaitMs: number
  readonly maxBytes: number
  readonly committed: boolean
}
export interface Fetched {
  readonly topic: string
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly aborted: AbortedTransaction[]
  /** Record batches; the last one may be truncated. */
  readonly records: Buffer
}

export async function fetch(broker: Broker, partitions: readonly FetchPartition[], options: FetchOptions): Promise<Fetched[]> {
  const { apiKeys, requests } = internals()
  const topics = new Map<string, { topic: string; partitions: object[] }>()
  for (const { topic, partition, offset, maxBytes } of partitions) {
    let entry = topics.get(topic)
    if (entry === undefined) topics.set(topic, (entry = { topic, partitions: [] }))
    entry.partitions.push({ partition, fetchOffset: offset, maxBytes })
  }
  const { request } = broker.lookupRequest(
    apiKeys.Fetch,
    requests.Fetch,
  )({
    maxWaitTime: options.maxWaitMs,
    minBytes: 1,
    maxBytes: options.maxBytes,
    isolationLevel: options.committed ? 1 : 0,
    topics: [...topics.values()],
    rackId: '',
  })
  return broker.connectionPool.send<Fetched[]>({
    request,
    requestTimeout: options.maxWaitMs + FETCH_TIMEOUT,
    response: { decode: async payload => decode(payload, request.apiVersion), parse: async decoded => decoded.partitions },
  })
}

/** Exported for the test against bytes of other versions. @throws {ConnectionError} the response is malformed */
export function decode(b: Buffer, version: number): { clientSideThrottleTime: number; partitions: Fetched[] } {
  if (version < 4) throw new Error('the broker is older than Kafka 0.11')
  let p = 4
  if (version >= 7) p += 6 // error code, session id: no sessions are used
  /** The only check of every length and count: things of at least `size` bytes that must be present. */
  const fits = (n: number, size: number): number => {
    if (n < 0 || n * size > b.length - p) throw new ConnectionError(`the broker sent a malformed fetch response (${n} at byte ${p})`)
    return n
  }
  const int32 = (): number => {
    fits(1, 4)
    p += 4
    return b.readInt32BE(p - 4)
  }
  const partitions: Fetched[] = []
  for (let topics = fits(int32(), 6); topics > 0; topics--) {
    fits(1, 2)
    const length = b.readInt16BE(p)
    p += 2
    const topic = b.toString('utf8', p, p + fits(length, 1))
    p += length
    const fixed = version >= 5 ? 30 : 22
    for (let count = fits(int32(), fixed + 8); count > 0; count--) {
      fits(1, fixed)
      const partition = b.readInt32BE(p)
      const errorCode = b.readInt16BE(p + 4)
      const highWatermark = readInt64(b, p + 6)
      const lastStableOffset = readInt64(b, p + 14)
      p += fixed
      const aborted: AbortedTransaction[] = []
      // -1: none.
      for (let n = fits(Math.max(0, int32()), 16); n > 0; n--) {
        aborted.push({ producerId: readInt64(b, p), firstOffset: readInt64(b, p + 8) })
        p += 16
      }
      if (version >= 11) int32() // preferred read replica: no rack is set
      const size = fits(Math.max(0, int32()), 1)
      partitions.push({ topic, partition, errorCode, highWatermark, lastStableOffset, aborted, records: b.subarray(p, p + size) })
      p += size
    }
  }
  return { clientSideThrottleTime: version >= 8 ? b.readInt32BE(0) : 0, partitions }
}
