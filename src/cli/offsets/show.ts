import { EXIT } from '../../kit/exit-codes.ts'
import { print, printJson, printWarning, usageError } from '../output.ts'
import { table } from '../table.ts'
import { cell, COLUMNS as c } from '../lag/run.ts'
import { loadAll } from '../load.ts'
import type { OffsetsFlags } from '../offsets.ts'
import { type PositionStatus, positionStatus, positionStatuses } from '../../operations/position-status.ts'
import { connectLog } from '../../operations/connection.ts'
import { positionsIn } from '../../connectors/kafka/positions.ts'

/** @returns the exit code. */
export async function show(file: string | undefined, flags: OffsetsFlags): Promise<number> {
  const rows = file === undefined ? await ofGroup(flags) : await ofFile(file, flags)
  if (typeof rows === 'number') return rows
  if (flags.json) printJson({ lanes: rows })
  else
    print(
      table(
        [c.lane, c.group, c.committed, c.checkpoint, c.state, c.first, c.end, c.lag],
        rows.map(r => [r.lane, r.group ?? '-', cell(r.committed), cell(r.checkpoint), r.state, cell(r.first), cell(r.end), cell(r.lag)]),
      ),
    )
  return EXIT.ok
}

async function ofFile(file: string, flags: OffsetsFlags): Promise<PositionStatus[] | number> {
  const pipelines = await loadAll([file], flags.set, flags.brokers)
  if (typeof pipelines === 'number') return pipelines
  const { rows, notReported } = await positionStatuses(pipelines[0])
  for (const step of notReported) printWarning(`source ${step} does not report its position`)
  return rows.filter(r => flags.source === undefined || r.step === flags.source)
}

async function ofGroup({ group, topic, brokers }: OffsetsFlags): Promise<PositionStatus[] | number> {
  if (group === undefined || topic === undefined) return usageError('write a pipeline file, or --group and --topic')
  const { driver, release } = await connectLog(brokers)
  try {
    return (await positionsIn(driver, group, topic, '', 'earliest')).map(p => positionStatus('', '', p, undefined))
  } finally {
    await release()
  }
}
