import { setTimeout as sleep } from 'node:timers/promises'
import { positionsIn } from '../../connectors/kafka/positions.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { connectLog } from '../../operations/connection.ts'
import { type PositionStatus, positionStatus, positionStatuses } from '../../operations/position-status.ts'
import { loadAll } from '../load.ts'
import { print, printJson, table } from '../command.ts'
import type { LagFlags } from '../lag.ts'

/** @returns the exit code. */
export async function lag(files: readonly string[], flags: LagFlags): Promise<number> {
  if ((files.length === 0) === (flags.group === undefined) || (flags.group !== undefined && flags.topic === undefined)) {
    process.stderr.write('write pipeline files, or --group and --topic\n')
    return EXIT.config
  }
  for (;;) {
    const code = await once(files, flags)
    if (flags.watch === undefined) return code
    await sleep(flags.watch)
  }
}

async function once(files: readonly string[], flags: LagFlags): Promise<number> {
  const rows: PositionStatus[] = []
  const notReported: string[] = []
  if (flags.group === undefined) {
    const pipelines = await loadAll(files, flags.set, flags.brokers)
    if (typeof pipelines === 'number') return pipelines
    for (const pipeline of pipelines) {
      const found = await positionStatuses(pipeline)
      rows.push(...found.rows)
      notReported.push(...found.notReported.map(step => `${pipeline.name}: source ${step} does not report its position`))
    }
  } else {
    const { driver, release } = await connectLog(flags.brokers)
    try {
      const positions = await positionsIn(driver, flags.group, flags.topic!, '', 'earliest')
      rows.push(...positions.map(p => positionStatus('', '', p, undefined)))
    } finally {
      await release()
    }
  }
  const worst = Math.max(0, ...rows.map(r => r.lag ?? 0))
  const total = rows.reduce((n, r) => n + (r.lag ?? 0), 0)
  const failed = flags.failAbove !== undefined && worst > flags.failAbove
  // `untold` is what it was called until 0.1.0.
  if (flags.json) printJson({ ok: !failed, total_lag: total, lanes: rows.map(plain), not_reported: notReported, untold: notReported })
  else {
    print(toTable(rows))
    for (const line of notReported) print(`${line}\n`)
    if (rows.length > 0) print(`total lag ${total}\n`)
    else if (notReported.length === 0) print('no lanes yet: the topics are made when the pipeline first runs\n')
  }
  if (failed) process.stderr.write(`a lane is ${worst} records behind, more than ${flags.failAbove}\n`)
  return failed ? EXIT.verdict : EXIT.ok
}

const plain = (r: PositionStatus): object => ({
  pipeline: r.pipeline || null,
  step: r.step || null,
  lane: r.lane,
  group: r.group ?? null,
  committed: r.committed ?? null,
  checkpoint: r.checkpoint ?? null,
  state_keys: r.state,
  first: r.first ?? null,
  end: r.end ?? null,
  lag: r.lag ?? null,
})

export const cell = (value: unknown): string | number =>
  typeof value === 'number' ? value : value === undefined ? '-' : JSON.stringify(value)

/** Columns that say nothing are left out. */
export function toTable(rows: readonly PositionStatus[]): string {
  if (rows.length === 0) return ''
  const columns: [string, (r: PositionStatus) => string | number, boolean][] = [
    ['PIPELINE', r => r.pipeline, rows.some(r => r.pipeline !== '')],
    ['STEP', r => r.step, rows.some(r => r.step !== '')],
    ['LANE', r => r.lane, true],
    ['GROUP', r => r.group ?? '-', true],
    ['COMMITTED', r => cell(r.committed), true],
    ['CHECKPOINT', r => cell(r.checkpoint), rows.some(r => r.checkpoint !== undefined)],
    ['END', r => cell(r.end), true],
    ['LAG', r => cell(r.lag), true],
  ]
  const shown = columns.filter(([, , show]) => show)
  return table(
    shown.map(([head]) => head),
    rows.map(row => shown.map(([, value]) => value(row))),
  )
}
