/**
 * Event time after a `repartition` step. A partition of the internal topic has records of several lanes in the order of writing, which is
 * not the order of their times: one lane may be read an hour ahead of another. The event time is therefore the one that all lanes have
 * reached. An existing lane without messages holds it back too; an idle lane does not. All inputs are in the records, so the result is the
 * same after a restart.
 */
import type { Arrival, Message, Output, State, Upstream } from '../../../contract/plugin.ts'
import type { LinkInfo, LinkOrigin } from './wire.ts'

/** [newest time or null, 1 while idle, source, topic or null, lanes of the topic or 0] */
type SavedClock = [time: number | null, idle: 0 | 1, source: string, topic: string | null, lanes: number]

const NEVER = Number.NEGATIVE_INFINITY

export class UpstreamClock implements Arrival {
  private readonly state: State<SavedClock>
  private readonly expected: readonly Upstream[]
  private readonly lanes: Map<string, SavedClock>
  private readonly dirty = new Set<string>()
  private time: number
  private allIdle: boolean

  constructor(state: State<any>, expected: readonly Upstream[]) {
    this.state = state
    this.expected = expected
    this.lanes = new Map([...(state.entries() as Iterable<[string, SavedClock]>)].map(([lane, entry]) => [lane, [...entry]]))
    this.time = NEVER
    this.allIdle = false
    this.look()
  }

  process(messages: readonly Message[], out: Output): void {
    for (const message of messages) {
      const { link } = message.origin as LinkOrigin
      this.note(link)
      if (link.mark !== undefined) continue
      message.clock = this.time
      out.emit(message)
    }
    for (const lane of this.dirty) this.state.set(lane, [...this.lanes.get(lane)!])
    this.dirty.clear()
  }

  clock(): number {
    return this.time
  }

  idle(): boolean {
    return this.allIdle
  }

  private note({ lane, source, topic, lanes = 0, time, mark }: LinkInfo): void {
    const before = this.lanes.get(lane)
    const idle = mark === 'idle' ? 1 : 0
    let ahead = false
    if (before === undefined) this.lanes.set(lane, [time, idle, source, topic ?? null, lanes])
    else {
      const [reached, wasIdle, , , count] = before
      const later = time !== null && (reached === null || time > reached)
      const same = wasIdle === idle && count === lanes
      if (!later && same) return
      if (later) before[0] = time
      before[1] = idle
      before[4] = lanes
      // A lane ahead of `this.time` does not hold it back, so its progress has no effect.
      ahead = same && reached !== null && reached > this.time
    }
    this.dirty.add(lane)
    if (!ahead) this.look()
  }

  /** Updates the time, which never decreases. */
  private look(): void {
    let low = Number.POSITIVE_INFINITY
    let high = NEVER
    let active = 0
    for (const [time, idle] of this.lanes.values()) {
      if (time !== null && time > high) high = time
      if (idle) continue
      active++
      low = Math.min(low, time ?? NEVER)
    }
    const complete = this.complete()
    this.allIdle = complete && active === 0
    if (complete) this.time = Math.max(this.time, active === 0 ? high : low)
  }

  /** Whether all existing lanes have had messages. */
  private complete(): boolean {
    return this.expected.every(({ source, topics }) => {
      const known = [...this.lanes.values()].filter(entry => entry[2] === source)
      if (topics === undefined) return known.length > 0
      return topics.every(topic => {
        const of = known.filter(entry => entry[3] === topic)
        return of.length > 0 && of.length >= Math.max(...of.map(entry => entry[4]))
      })
    })
  }
}
