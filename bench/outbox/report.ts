/** The results of the outbox benchmark: stored, shown in a terminal, drawn, and published in docs/benchmarks.md. */
import { ratio, type Target, targetLines } from '../report/targets.ts'

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
  /** Of PostgreSQL, writers included. */
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
  /** Load average before the first run: what others did on the machine. */
  loadBefore: number
  seconds: number
  burst: number
  rows: OutboxRow[]
}

const stepOf = (row: OutboxRow, what: string): Step | undefined => row.steps.find(s => s.what === what)
const whole = (n: number): string => Math.round(n).toLocaleString('en')

export function terminal(results: OutboxResults): string {
  const line = (s: Step): string =>
    `  ${s.what.padEnd(8)} ${whole(s.perSecond).padStart(8)}/s  p50 ${s.p50.toFixed(0).padStart(5)} ms  p99 ${s.p99.toFixed(0).padStart(5)} ms  ${s.cpuMicros.toFixed(1).padStart(6)} µs CPU  ${s.postgresMicros.toFixed(1).padStart(6)} µs PostgreSQL`
  return results.rows
    .map(row => [`${row.name}: ${row.problem ?? `peak ${row.peakMb.toFixed(0)} MB`}`, ...row.steps.map(line)].join('\n'))
    .join('\n')
}

/** What the publisher set out to reach, against the peer of the same guarantee in the same run. */
export function goals(results: OutboxResults): Target[] {
  const of = (id: string): OutboxRow | undefined => results.rows.find(row => row.id === id && row.problem === undefined)
  const [own, peer] = [of('ours-alo'), of('debezium')]
  const beside = (text: string, figure: (row: OutboxRow) => number | undefined, good: (ratio: number) => boolean): Target =>
    ratio(text, own && figure(own), peer && figure(peer), good)
  return [
    beside(
      'burst: at least the rate of Debezium',
      r => stepOf(r, 'burst')?.perSecond,
      n => n >= 1,
    ),
    beside(
      'p99 at 5,000/s: at most that of Debezium',
      r => stepOf(r, '5000/s')?.p99,
      n => n <= 1,
    ),
    beside(
      'CPU per event at 5,000/s: at most a third',
      r => stepOf(r, '5000/s')?.cpuMicros,
      n => n <= 1 / 3,
    ),
    beside(
      'CPU per event in the burst: at most a third',
      r => stepOf(r, 'burst')?.cpuMicros,
      n => n <= 1 / 3,
    ),
    beside(
      'peak memory: at most a fifth',
      r => r.peakMb,
      n => n <= 1 / 5,
    ),
  ]
}

/** The section of docs/benchmarks.md. */
export function outboxSection(results: OutboxResults): string {
  const head = [
    '',
    '2,000/s: p50 / p99',
    '5,000/s: p50 / p99',
    'burst',
    'CPU per event: 5,000/s / burst',
    'PostgreSQL: 5,000/s / burst',
    'peak RSS',
  ]
  const latency = (row: OutboxRow, what: string): string => {
    const s = stepOf(row, what)
    return s === undefined ? '' : `${s.p50.toFixed(0)} / ${s.p99.toFixed(0)} ms`
  }
  const both = (row: OutboxRow, of: (s: Step) => number): string =>
    ['5000/s', 'burst']
      .map(what => stepOf(row, what))
      .map(s => (s === undefined ? '' : of(s).toFixed(0)))
      .join(' / ')
  const rows = results.rows.map(row =>
    row.problem === undefined
      ? [
          row.kind === 'ours' ? `**${row.name}**` : row.name,
          latency(row, '2000/s'),
          latency(row, '5000/s'),
          `${whole(stepOf(row, 'burst')?.perSecond ?? 0)}/s`,
          `${both(row, s => s.cpuMicros)} µs`,
          `${both(row, s => s.postgresMicros)} µs`,
          `${row.peakMb.toFixed(0)} MB`,
        ]
      : [row.name, `no figure: ${row.problem}`],
  )
  const table = [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
  return `## Outbox to Kafka

![Outbox to Kafka](bench/outbox.svg)

${table}

\`npm run bench -- outbox\`, ${results.date.slice(0, 10)}: PostgreSQL 18 (\`wal_level=logical\`, \`fsync=off\`), a topic with 10 partitions, rows of about 200 bytes. Eight writers inside PostgreSQL insert in one-row transactions for ${results.seconds} s at each rate; the burst is one
transaction of ${whole(results.burst)} rows, timed from its commit to the last arrival. Latency is from the insert to kcat, read committed, which also sees that every row arrives once and each aggregate in order; without that a row has no figures.
Everything shares two cores${results.loadBefore > 0.5 ? `, and others used them, too: the load average was ${results.loadBefore.toFixed(1)} before the first run, so compare the ratios` : ''}. CPU is the publisher's own process; the CPU of PostgreSQL, including writers, is in a separate column: the runner marks rows, Debezium reads the log. The runner has \`--max-semi-space-size=8\`, the JVM \`-Xmx2g\`.

${targetLines(goals(results))}
`
}

/** Four panels of horizontal bars, as the other plots. */
export function outboxPlot(results: OutboxResults): string {
  const rows = results.rows.filter(row => row.problem === undefined)
  const panels: { title: string; more: string; of: (row: OutboxRow) => number; text: (n: number) => string }[] = [
    { title: 'burst, events per second', more: 'more is better', of: r => stepOf(r, 'burst')?.perSecond ?? 0, text: whole },
    { title: 'CPU µs per event, 5,000/s', more: 'less is better', of: r => stepOf(r, '5000/s')?.cpuMicros ?? 0, text: n => n.toFixed(0) },
    { title: 'p99 ms, 5,000/s', more: 'less is better', of: r => stepOf(r, '5000/s')?.p99 ?? 0, text: n => n.toFixed(0) },
    { title: 'peak memory, MB', more: 'less is better', of: r => r.peakMb, text: n => n.toFixed(0) },
  ]
  const [row, names, panel, gap, top] = [26, 440, 190, 24, 58]
  const width = names + panels.length * (panel + gap)
  const height = top + rows.length * row + 14
  const labels = rows.map(
    (r, i) => `<text class="${r.kind}" x="${names - 12}" y="${top + i * row + 15}" text-anchor="end">${r.name}</text>`,
  )
  const bars = panels.map(({ title, more, of, text }, p) => {
    const left = names + p * (panel + gap)
    const max = Math.max(1, ...rows.map(of))
    const drawn = rows.map((r, i) => {
      const length = Math.max(1, (of(r) / max) * (panel - 62))
      return `<rect class="${r.kind}" x="${left}" y="${top + i * row}" width="${length.toFixed(1)}" height="${row - 8}" rx="2"/><text x="${(left + length + 6).toFixed(1)}" y="${top + i * row + 14}">${text(of(r))}</text>`
    })
    return `<text class="title" x="${left}" y="24">${title}</text><text class="note" x="${left}" y="42">${more}</text>${drawn.join('')}`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="Benchmark results: outbox">
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
text.title, text.ours { font-weight: 600 }
text.note { fill: #6e7781 }
rect.ours { fill: #1f6feb } rect.peer { fill: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } text.note { fill: #8d96a0 } rect.ours { fill: #4493f8 } }
</style>
${[...labels, ...bars].join('\n')}
</svg>
`
}
