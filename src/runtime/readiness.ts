/**
 * Why a pipeline is not ready: one list, which `/ready`, the status endpoints, the metrics and embedding programs show. Whatever waits for
 * a peer keeps a `Trouble` (it fails and is tried again) or a `Pending` (it has not answered); plugins say the rest in `healthy()`.
 */
import type { Clock } from '../kit/clock.ts'

/** Found now, without a memory. */
export interface Finding {
  readonly kind: 'pipeline' | 'source' | 'transform' | 'sink' | 'dlq' | 'link' | 'lane'
  /** Step, or lane, that it is about. */
  readonly name?: string
  /** Distinguishes findings about the same step; the text may change while it lasts. */
  readonly aspect: string
  readonly reason: string
  /** `clock.monotonic()`, where it is known; otherwise since it was first found. */
  readonly since?: number
}

export interface Reason {
  readonly kind: Finding['kind']
  readonly name: string | null
  readonly reason: string
  /** ISO 8601. */
  readonly since: string
  readonly seconds: number
}

/**
 * What a peer has not answered for so long is a reason, ms. A broker or server that hangs is to be seen within ten seconds; slow answers
 * of a healthy one take less.
 */
export const STALL = 8000
/** Failures that last no longer are none to report, ms: a connection that is replaced, a leader that moves. */
const BLIP = 2000

export class Readiness {
  private readonly clock: Clock
  private seen = new Map<string, number>()

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** Has to be called now and then, so that `since` is right. */
  look(findings: Iterable<Finding>): Reason[] {
    const now = this.clock.monotonic()
    const wall = this.clock.now()
    const seen = new Map<string, number>()
    const reasons: Reason[] = []
    for (const { kind, name, aspect, reason, since } of findings) {
      const id = JSON.stringify([kind, name, aspect])
      if (seen.has(id)) continue
      const from = since ?? this.seen.get(id) ?? now
      seen.set(id, from)
      const age = Math.max(0, now - from)
      const iso = new Date(wall - age).toISOString()
      reasons.push({ kind, name: name ?? null, reason, since: iso, seconds: Math.round(age / 1000) })
    }
    this.seen = seen
    return reasons
  }
}

/** `sink out: peer unreachable` */
export const describeReason = ({ kind, name, reason }: Pick<Reason, 'kind' | 'name' | 'reason'>): string =>
  name === null ? reason : `${kind} ${name}: ${reason}`

/** What a plugin or a store says of its peer in `healthy`; undefined: nothing is wrong. */
export function peerProblem(peer: { healthy?(): boolean | string }): string | undefined {
  const health = peer.healthy?.() ?? true
  return health === false ? 'peer unreachable' : health === true ? undefined : health
}

/** Failures in a row of something that is tried again. */
export class Trouble {
  private readonly clock: Clock
  /** `clock.monotonic()` of the first failure in a row. Set by `failed`, cleared by `over`. */
  since: number | undefined
  times = 0
  error: Error | undefined

  constructor(clock: Clock) {
    this.clock = clock
  }

  failed(error: Error): void {
    this.since ??= this.clock.monotonic()
    this.times++
    this.error = error
  }

  over(): void {
    if (this.since === undefined) return
    this.since = undefined
    this.times = 0
    this.error = undefined
  }

  /** Lasts for longer than a blip. */
  get lasts(): boolean {
    return this.since !== undefined && this.clock.monotonic() - this.since >= BLIP
  }

  /** What failed, in one line. */
  get text(): string {
    return (this.error?.message ?? '').split('\n', 1)[0]
  }
}

interface Call {
  at: number
}

/** Calls that wait for a peer's answer. */
export class Pending {
  private readonly clock: Clock
  private readonly calls = new Set<Call>()

  constructor(clock: Clock) {
    this.clock = clock
  }

  begin(): Call {
    const call = { at: this.clock.monotonic() }
    this.calls.add(call)
    return call
  }

  /** A part of it was acknowledged. */
  progress(call: Call): void {
    call.at = this.clock.monotonic()
  }

  end(call: Call): void {
    this.calls.delete(call)
  }

  /** `clock.monotonic()` since when one has been waiting for longer than `STALL`. */
  get stalledSince(): number | undefined {
    let oldest: number | undefined
    for (const { at } of this.calls) if (oldest === undefined || at < oldest) oldest = at
    return oldest !== undefined && this.clock.monotonic() - oldest >= STALL ? oldest : undefined
  }
}
