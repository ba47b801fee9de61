/** What is kept of a benchmark: `bench/results/latest.json`. */
import type { Contender } from '../contenders/contender.ts'
import type { Figures } from '../run.ts'

export interface Row {
  task: Contender['task']
  family: Contender['family']
  name: string
  kind: Contender['kind']
  /** Each round's figures, in the order run. */
  rounds: Figures[]
  /** Median of each figure by itself; absent when no round counted. */
  median?: Figures
  /** Why a round has no figures: its output was incomplete or wrong, or it can't run here. */
  problem?: string
}

export interface Results {
  date: string
  machine: { cpu: string; cores: number; memoryGb: number; os: string; node: string; java: string; kafka: string }
  ticks: number
  runs: number
  rows: Row[]
}

export interface SoakResults {
  date: string
  flat: { ticks: number; seconds: number; earlyMb: number; lateMb: number; peakMb: number }
  slow: { seconds: number; records: number; sourceRate: number; sinkRate: number; earlyMb: number; lateMb: number; peakMb: number }
}

export function median(rounds: readonly Figures[]): Figures {
  const of = (name: keyof Figures) => {
    const sorted = rounds.map(round => round[name]).toSorted((a, b) => a - b)
    const middle = sorted.length >> 1
    return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  }
  return {
    ratePerSecond: of('ratePerSecond'),
    wallSeconds: of('wallSeconds'),
    cpuMicrosPerRecord: of('cpuMicrosPerRecord'),
    peakMb: of('peakMb'),
    firstOutputSeconds: of('firstOutputSeconds'),
  }
}

/** What a row is compared with: the faster Kafka Streams at the same task and guarantee. */
export function streamsBeside(row: Row, rows: readonly Row[]): Figures | undefined {
  const guarantee = /exactly/.test(row.name) ? /exactly/ : /at least/
  const peers = rows.filter(other => other.task === row.task && other.family === 'streams' && guarantee.test(other.name))
  return peers
    .map(peer => peer.median)
    .filter(figures => figures !== undefined)
    .toSorted((a, b) => b.ratePerSecond - a.ratePerSecond)[0]
}
