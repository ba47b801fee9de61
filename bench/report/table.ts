/** Results as text: columns for a terminal, the same cells for Markdown. */
import type { Contender } from '../contenders/contender.ts'
import { streamsBeside, type Results, type Row } from './results.ts'

const HEAD = ['', 'records/s', '× Streams', 'CPU µs/record', '× Streams', 'peak RSS MB', 'start to first s', 'wall s']
const TITLES: Record<Contender['task'], string> = {
  bars: 'Bars: ticks in, one-minute bars out',
  map: 'Map: five fields out of each tick, topic to topic',
  digits: 'Digits: as map, prices and volumes of more digits than a double holds',
}

export function terminalTable(results: Results): string {
  return tasks(results)
    .map(task => {
      const rows = [HEAD, ...results.rows.filter(row => row.task === task).map(row => cells(row, results))]
      const widths = HEAD.map((_, column) => Math.max(...rows.map(row => (row[column] ?? '').length)))
      const lines = rows.map(row =>
        row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join('  '),
      )
      return `${TITLES[task]} (${results.ticks.toLocaleString('en')} ticks)\n${lines.join('\n')}`
    })
    .join('\n\n')
}

export function markdownTable(results: Results, task: Contender['task']): string {
  const line = (row: string[]) => `| ${row.join(' | ')} |`
  const rows = results.rows.filter(row => row.task === task)
  const bold = (row: Row, [name, ...rest]: string[]) => [
    row.kind === 'ours' ? `**${name}**` : row.kind === 'ceiling' ? `*${name}*` : name,
    ...rest,
  ]
  return [line(HEAD), line(HEAD.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(row => line(bold(row, cells(row, results))))].join(
    '\n',
  )
}

export function tasks(results: Results): Contender['task'][] {
  return (['bars', 'map', 'digits'] as const).filter(task => results.rows.some(row => row.task === task))
}

function cells(row: Row, { rows }: Results): string[] {
  const m = row.median
  if (m === undefined) return [row.name, `no figure: ${(row.problem ?? 'not run').split('\n')[0]}`]
  const peer = streamsBeside(row, rows)
  const times = (own: number, other: number | undefined) => (other === undefined ? '' : (own / other).toFixed(2))
  return [
    row.name,
    Math.round(m.ratePerSecond).toLocaleString('en'),
    times(m.ratePerSecond, peer?.ratePerSecond),
    m.cpuMicrosPerRecord.toFixed(2),
    times(m.cpuMicrosPerRecord, peer?.cpuMicrosPerRecord),
    // A process that is gone has no peak to read any more.
    m.peakMb < 5 ? '' : m.peakMb.toFixed(0),
    m.firstOutputSeconds.toFixed(2),
    m.wallSeconds.toFixed(1),
  ]
}
