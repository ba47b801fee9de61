/** Formats problems as text: position, code, message, the line with a caret, and a suggestion. */
import { styleText } from 'node:util'
import type { Problem } from './model.ts'
import { excerptOf } from './problems.ts'
import { printable } from '../kit/text/printable.ts'
import { OBJECT } from './tree.ts'

export interface TextOptions {
  /** Default: no colors. */
  readonly color?: boolean
  /** Columns of the terminal: longer lines of the file are truncated around the problem. Default: 160. */
  readonly width?: number
}

const MAX_WIDTH = 160
const NARROWEST = 30
/** Columns in front of an excerpt. */
const MARGIN = 8

/** Ends with a newline; empty for no problems. */
export function formatText(problems: readonly Problem[], options: TextOptions = {}): string {
  const paint = (format: Parameters<typeof styleText>[0], text: string): string =>
    options.color ? styleText(format, text, { validateStream: false }) : text
  return problems
    .map(p => {
      const inObject = p.file === OBJECT
      const place = inObject ? p.path || 'the object' : `${p.file}:${p.line}:${p.column}`
      const path = p.path === '' || inObject ? '' : paint('dim', ` (at ${printable(p.path)})`)
      const warning = p.severity === 'warning' ? `${paint('bold', 'warning')} ` : ''
      const message = printable(p.message)
      const head = `${paint('bold', printable(place))} ${warning}${paint(p.severity === 'error' ? 'red' : 'bold', p.code)} ${message}${path}`
      const meant =
        p.suggestion === undefined
          ? ''
          : `\n      ${p.code === 'CONFIG_MISSING_KEY' ? 'for example' : p.severity === 'warning' ? 'write' : 'did you mean'}: ${paint('cyan', printable(p.suggestion))}`
      return `${head}${inObject ? '' : caret(p, paint, Math.min(MAX_WIDTH, Math.max(NARROWEST, (options.width ?? MAX_WIDTH + MARGIN) - MARGIN)))}${meant}\n`
    })
    .join('\n')
}

function caret(p: Problem, paint: (format: 'red' | 'dim', text: string) => string, width: number): string {
  const line = excerptOf(p)
  if (line === undefined || line.trim() === '') return ''
  const number = String(p.line).padStart(5)
  // Of a long line, only the part around the problem is shown.
  const from = p.column > width * 0.75 ? Math.max(0, p.column - Math.floor(width * 0.375)) : 0
  // Each character is replaced by one character, so the caret stays in the right column.
  const shown = line
    .slice(from, from + width)
    .replaceAll(/[^\P{Cc}\t]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')
    .replaceAll('##[', '#\ufffd[')
  const marked = (p.endLine === p.line ? p.endColumn : line.length + 1) - p.column
  const start = p.column - 1 - from
  // Tabs stay tabs, so the caret is in the right column for any tab width.
  const pad = shown.slice(0, start).replaceAll(/[^\t]/g, ' ')
  const marks = '^'.repeat(Math.max(1, Math.min(marked, shown.length - start)))
  return `\n${paint('dim', `${number} |`)} ${shown}\n      ${paint('dim', '|')} ${pad}${paint('red', marks)}`
}
