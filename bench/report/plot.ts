/** One task's results as an SVG: three panels of horizontal bars, readable on light and dark pages. */
import type { Contender } from '../contenders/contender.ts'
import type { Results, Row } from './results.ts'

const ROW = 26
const NAMES = 370
const PANEL = 190
const GAP = 24
const TOP = 58

const PANELS = [
  {
    title: 'records per second',
    more: 'more is better',
    of: (row: Row) => row.median!.ratePerSecond,
    text: (n: number) => Math.round(n).toLocaleString('en'),
  },
  {
    title: 'CPU µs per record',
    more: 'less is better',
    of: (row: Row) => row.median!.cpuMicrosPerRecord,
    text: (n: number) => n.toFixed(2),
  },
  { title: 'peak memory, MB', more: 'less is better', of: (row: Row) => row.median!.peakMb, text: (n: number) => n.toFixed(0) },
]

export function plot(results: Results, task: Contender['task']): string {
  const rows = results.rows.filter(row => row.task === task && row.median !== undefined)
  const width = NAMES + PANELS.length * (PANEL + GAP)
  const height = TOP + rows.length * ROW + 14
  const y = (i: number) => TOP + i * ROW
  const names = rows.map(
    (row, i) => `<text class="${row.kind}" x="${NAMES - 12}" y="${y(i) + 15}" text-anchor="end">${escape(row.name)}</text>`,
  )
  const panels = PANELS.map(({ title, more, of, text }, p) => {
    const left = NAMES + p * (PANEL + GAP)
    const max = Math.max(...rows.map(of))
    const bars = rows.map((row, i) => {
      const length = Math.max(1, (of(row) / max) * (PANEL - 62))
      return `<rect class="${row.kind}" x="${left}" y="${y(i)}" width="${length.toFixed(1)}" height="${ROW - 8}" rx="2"/><text x="${(left + length + 6).toFixed(1)}" y="${y(i) + 14}">${text(of(row))}</text>`
    })
    return `<text class="title" x="${left}" y="24">${title}</text><text class="note" x="${left}" y="42">${more}</text>${bars.join('')}`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="Benchmark results: ${task}">
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
text.title, text.ours { font-weight: 600 }
text.note, text.ceiling { fill: #6e7781 }
rect.ours { fill: #1f6feb } rect.peer { fill: #8c959f } rect.ceiling { fill: #8c959f; opacity: .35 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } text.note, text.ceiling { fill: #8d96a0 } rect.ours { fill: #4493f8 } }
</style>
${[...names, ...panels].join('\n')}
</svg>
`
}

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
