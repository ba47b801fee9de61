/** Text in columns of a terminal: widths as a terminal draws them, cutting, wrapping, aligning. */
import stringWidth from 'string-width'
import { grouped } from './grouped.ts'

/** Columns that a text takes; color sequences take none, and wide characters two. */
export const displayWidth = (text: string): number => (/^[\x20-\x7e]*$/.test(text) ? text.length : stringWidth(text))

export function padEnd(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)))
}

export function padStart(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - displayWidth(text))) + text
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

/** A text without color sequences, cut to a width; `…` marks the cut. */
export function fit(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  let shown = ''
  let left = width - 1
  for (const { segment } of graphemes.segment(text)) {
    left -= displayWidth(segment)
    if (left < 0) break
    shown += segment
  }
  return `${shown}…`
}

/** Lines of words. A word that is wider than a line has a line of its own and is not cut. */
export function wrap(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1)!
    if (last !== '' && displayWidth(last) + displayWidth(word) + 1 > width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines
}

/** A column of a table. */
export interface Column {
  readonly head: string
  /** `count`: grouped, aligned right. `position`: as commands take it, aligned right. `id`: as commands take it. Only text, the default, is cut. */
  readonly kind?: 'text' | 'count' | 'position' | 'id'
}
export type Cell = string | number

/** A column is not made narrower than this. */
const NARROWEST = 8
const GAP = '  '

/** Lines of a table, the first one with the heads. With `width`, text cells are cut so that a line fits, as far as that leaves them readable. */
export function tableLines(columns: readonly Column[], rows: readonly (readonly Cell[])[], width?: number): string[] {
  const cells = rows.map(row =>
    row.map((cell, i) =>
      typeof cell === 'number' && columns[i].kind !== 'position'
        ? grouped(cell)
        : String(cell).replaceAll('\n', '\\n').replaceAll('\t', '\\t'),
    ),
  )
  const right = columns.map(({ kind }) => kind === 'count' || kind === 'position')
  const widths = columns.map(({ head }, i) => cells.reduce((most, row) => Math.max(most, displayWidth(row[i])), displayWidth(head)))
  if (width !== undefined) narrow(widths, columns, width - GAP.length * (columns.length - 1))
  return [columns.map(c => c.head), ...cells].map(row =>
    row
      .map((cell, i) => {
        const shown = (columns[i].kind ?? 'text') === 'text' ? fit(cell, widths[i]) : cell
        return right[i] ? padStart(shown, widths[i]) : padEnd(shown, widths[i])
      })
      .join(GAP)
      .trimEnd(),
  )
}

/** Takes columns from the widest text column until the sum fits. */
function narrow(widths: number[], columns: readonly Column[], width: number): void {
  let over = widths.reduce((sum, w) => sum + w, 0) - width
  while (over > 0) {
    let widest = -1
    let second = NARROWEST
    for (const [i, { kind = 'text', head }] of columns.entries()) {
      if (kind !== 'text' || widths[i] <= Math.max(NARROWEST, displayWidth(head))) continue
      if (widest < 0 || widths[i] > widths[widest]) {
        if (widest >= 0) second = Math.max(second, widths[widest])
        widest = i
      } else second = Math.max(second, widths[i])
    }
    if (widest < 0) return
    const least = Math.max(NARROWEST, displayWidth(columns[widest].head))
    const to = Math.max(least, Math.min(second, widths[widest] - 1), widths[widest] - over)
    over -= widths[widest] - to
    widths[widest] = to
  }
}
