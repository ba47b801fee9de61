/** The outbox benchmark's figures: kept, shown in a terminal, drawn, and told in docs/benchmarks.md. */
export interface Step {
  /** `2000/s`, `5000/s` or `burst`. */
  what: string
  rows: number
  perSecond: number
  /** Insert to consumer, ms. */
  p50: number
  p99: number
  /** CPU of the publisher, per row. */
  cpuMicros: number
  postgresMicros: number
}
export interface OutboxRow {
  id: string
  name: string
  kind: 'ours' | 'peer'
  steps: Step[]
  peakMb: number
  problem?: string
}
export interface OutboxResults {
  date: string
  /** Load average before the first run: others on the machine. */
  loadBefore: number
  seconds: number
  burst: number
  rows: OutboxRow[]
}

export function terminal(results: OutboxResults): string {
  return results.rows
    .map(
      row =>
        `${row.name}  ${row.problem ?? `peak ${row.peakMb.toFixed(0)} MB`}\n${row.steps.map(s => `  ${s.what.padEnd(8)} ${Math.round(s.perSecond).toLocaleString('en').padStart(8)}/s  p50 ${s.p50.toFixed(0).padStart(5)} ms  p99 ${s.p99.toFixed(0).padStart(5)} ms  ${s.cpuMicros.toFixed(1).padStart(6)} µs CPU  ${s.postgresMicros.toFixed(1).padStart(6)} µs PostgreSQL`).join('\n')}`,
    )
    .join('\n')
}
export async function saveOutbox(_results: OutboxResults): Promise<void> {}
