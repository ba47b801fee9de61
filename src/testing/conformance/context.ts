/** The contexts of sources and sinks, without a runtime. */
import {
  type Context,
  DEFAULT_DEPTH,
  type Json,
  type LaneInfo,
  type Position,
  type SourceContext,
  type WriteContext,
} from '../../contract/plugin.ts'
import { VirtualClock } from '../../kit/clock.ts'

export interface Warning {
  readonly level: string
  readonly message: string
  readonly details: object
}

export function fakeContext(step: string, clock = new VirtualClock(1_000_000)): Context & { warnings: Warning[]; clock: VirtualClock } {
  const warnings: Warning[] = []
  const note = (level: string) => (details: object, message: string) => void warnings.push({ level, message, details })
  return {
    step,
    pipeline: 'test',
    version: 1,
    clock,
    depth: DEFAULT_DEPTH,
    warnings,
    log: { debug: silent, info: silent, warn: note('warn'), error: note('error') },
    metrics: { counter: () => ({ inc: silent }), gauge: () => ({ set: silent }) },
    report: report => note('report')(report, report.verdict),
  }
}

export interface FakeSourceContext extends SourceContext {
  readonly clock: VirtualClock
  readonly warnings: Warning[]
  /** Lanes claimed so far. */
  readonly lanes: LaneInfo[]
}

/** Positions are encoded as JSON, as in checkpoints. */
export function fakeSourceContext(step: string, positions: ReadonlyMap<string, Position> = new Map()): FakeSourceContext {
  const lanes: LaneInfo[] = []
  return {
    ...fakeContext(step),
    lanes,
    async assign(claimed) {
      lanes.push(...claimed)
      return new Map(claimed.map(({ id }) => [id, positions.has(id) ? (JSON.parse(JSON.stringify(positions.get(id))) as Json) : undefined]))
    },
    async revoke() {},
    lose: silent,
  }
}

export function writeContext(lane = 'in/0'): WriteContext {
  return { signal: new AbortController().signal, lane: { id: lane, source: 'in' } }
}

const silent = (): void => {}
