import { setTimeout as sleep } from 'node:timers/promises'
import { positionsIn } from '../../connectors/kafka/positions.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { connectLog } from '../../operations/connection.ts'
import { type PositionStatus, positionStatus, positionStatuses } from '../../operations/position-status.ts'
import { loadAll } from '../load.ts'
import type { Cell, Column } from '../../kit/text/columns.ts'
import { grouped } from '../../kit/text/grouped.ts'
import { note, print, printError, printJson, printWarning, usageError, verbose } from '../output.ts'
import { table } from '../table.ts'
import type { LagFlags } from '../lag.ts'

/** @returns the exit code. */
export async function lag(files: readonly string[], flags: LagFlags): Promise<number> {
  if ((files.length === 0) === (flags.group === undefined) || (flags.group !== undefined && flags.topic === undefined)) {
    return usageError('write pipeline files, or --group and --topic')
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
  // `untold` is its name up to 0.1.0.
  if (flags.json) printJson({ ok: !failed, total_lag: total, lanes: rows.map(plain), not_reported: notReported, untold: notReported })
  else {
    print(toTable(rows))
    notReported.forEach(printWarning)
    if (rows.length > 0) note(`total lag ${grouped(total)}\n`)
    else if (notReported.length === 0) print('no lanes yet: the first run of the pipeline creates the topics\n')
  }
  if (failed) printError(`the largest lag of a lane is ${grouped(worst)} records, more than ${grouped(flags.failAbove!)}`)
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

export const cell = (value: unknown): Cell => (typeof value === 'number' ? value : value === undefined ? '-' : JSON.stringify(value))

/** Of a lane and its positions, for the commands that print them. */
export const COLUMNS = {
  lane: { head: 'LANE' },
  group: { head: 'GROUP' },
  committed: { head: 'COMMITTED', kind: 'position' },
  checkpoint: { head: 'CHECKPOINT', kind: 'position' },
  state: { head: 'STATE KEYS', kind: 'count' },
  first: { head: 'FIRST', kind: 'position' },
  end: { head: 'END', kind: 'position' },
  lag: { head: 'LAG', kind: 'count' },
} satisfies Record<string, Column>

/** Empty columns are left out. */
export function toTable(rows: readonly PositionStatus[]): string {
  if (rows.length === 0) return ''
  const columns: [Column, (r: PositionStatus) => Cell, boolean][] = [
    [{ head: 'PIPELINE' }, r => r.pipeline, rows.some(r => r.pipeline !== '')],
    [{ head: 'STEP' }, r => r.step, rows.some(r => r.step !== '')],
    [COLUMNS.lane, r => r.lane, true],
    [COLUMNS.group, r => r.group ?? '-', true],
    [COLUMNS.committed, r => cell(r.committed), true],
    [COLUMNS.checkpoint, r => cell(r.checkpoint), rows.some(r => r.checkpoint !== undefined)],
    [COLUMNS.first, r => cell(r.first), verbose()],
    [COLUMNS.end, r => cell(r.end), true],
    [COLUMNS.state, r => r.state, verbose()],
    [COLUMNS.lag, r => cell(r.lag), true],
  ]
  const shown = columns.filter(([, , show]) => show)
  return table(
    shown.map(([column]) => column),
    rows.map(row => shown.map(([, value]) => value(row))),
  )
}
