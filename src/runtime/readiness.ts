/**
 * The reasons why a pipeline is not ready: one list for `/ready`, the status endpoints, the metrics and embedding programs. Code that waits
 * for a peer keeps a `Trouble` (failed, and is retried) or a `Pending` (not answered yet); plugins report through `healthy()`.
 */
import type { Clock } from '../kit/clock.ts'

/** A problem found now, without history. */
export interface Finding {
  readonly kind: 'pipeline' | 'source' | 'transform' | 'sink' | 'dlq' | 'link' | 'lane'
  /** The step or lane. */
  readonly name?: string
  /** Distinguishes findings of the same step. It stays the same while the text changes. */
  readonly aspect: string
  readonly reason: string
  /** `clock.monotonic()` of the beginning, if known. Default: when the finding was first reported. */
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
 * A call without an answer for this long is a reason, ms. The limit reports a broker or server that hangs within ten seconds, and is longer
 * than slow answers of a healthy one.
 */
export const STALL = 8000
/** Shorter failures are not reported, ms: a connection that is replaced, a leader that moves. */
const BLIP = 2000

export class Readiness {
  private readonly clock: Clock
  private seen = new Map<string, number>()

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** Call it regularly, so that `since` is accurate. */
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

/** The problem that a plugin or a store reports in `healthy`; undefined: none. */
export function peerProblem(peer: { healthy?(): boolean | string }): string | undefined {
  const health = peer.healthy?.() ?? true
  return health === false ? 'peer unreachable' : health === true ? undefined : health
}

/** Consecutive failures of a retried operation. */
export class Trouble {
  private readonly clock: Clock
  /** `clock.monotonic()` of the first consecutive failure. Set by `failed`, cleared by `over`. */
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

  /** The failures have lasted for at least `BLIP`. */
  get lasts(): boolean {
    return this.since !== undefined && this.clock.monotonic() - this.since >= BLIP
  }

  /** First line of the last error message. */
  get text(): string {
    return (this.error?.message ?? '').split('\n', 1)[0]
  }
}

interface Call {
  at: number
}

/** Calls that wait for an answer of a peer. */
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

  /** A part of the call was acknowledged. */
  progress(call: Call): void {
    call.at = this.clock.monotonic()
  }

  end(call: Call): void {
    this.calls.delete(call)
  }

  /** `clock.monotonic()` of the oldest call, if it has waited for at least `STALL`. */
  get stalledSince(): number | undefined {
    let oldest: number | undefined
    for (const { at } of this.calls) if (oldest === undefined || at < oldest) oldest = at
    return oldest !== undefined && this.clock.monotonic() - oldest >= STALL ? oldest : undefined
  }
}
