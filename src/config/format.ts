/** Problems as text for people: place, code, message, the line with a caret, and what was probably meant. */
import { styleText } from 'node:util'
import type { Problem } from './model.ts'
import { excerptOf } from './problems.ts'
import { OBJECT } from './tree.ts'

export interface TextOptions {
  /** Default: no colours. */
  readonly color?: boolean
}

const MAX_WIDTH = 160

/** Ends with a newline; empty for no problems. */
export function formatText(problems: readonly Problem[], options: TextOptions = {}): string {
  const paint = (format: Parameters<typeof styleText>[0], text: string): string =>
    options.color ? styleText(format, text, { validateStream: false }) : text
  return problems
    .map(p => {
      const inObject = p.file === OBJECT
      const place = inObject ? p.path || 'the object' : `${p.file}:${p.line}:${p.column}`
      const path = p.path === '' || inObject ? '' : paint('dim', ` (at ${p.path})`)
      const warning = p.severity === 'warning' ? `${paint('yellow', 'warning')} ` : ''
      const head = `${paint('bold', place)} ${warning}${paint(p.severity === 'error' ? 'red' : 'yellow', p.code)} ${p.message}${path}`
      const meant =
        p.suggestion === undefined
          ? ''
          : `\n      ${p.code === 'CONFIG_MISSING_KEY' ? 'for example' : p.severity === 'warning' ? 'write' : 'did you mean'}: ${paint('green', p.suggestion)}`
      return `${head}${inObject ? '' : caret(p, paint)}${meant}\n`
    })
    .join('\n')
}

function caret(p: Problem, paint: (format: 'red' | 'dim', text: string) => string): string {
  const line = excerptOf(p)
  if (line === undefined || line.trim() === '') return ''
  const number = String(p.line).padStart(5)
  // A long line is shown around the place.
  const from = p.column > MAX_WIDTH - 40 ? p.column - 60 : 0
  const shown = line.slice(from, from + MAX_WIDTH)
  const width = (p.endLine === p.line ? p.endColumn : line.length + 1) - p.column
  const start = p.column - 1 - from
  // Tabs stay tabs, so that the caret stands right whatever their width.
  const pad = shown.slice(0, start).replaceAll(/[^\t]/g, ' ')
  const marks = '^'.repeat(Math.max(1, Math.min(width, shown.length - start)))
  return `\n${paint('dim', `${number} |`)} ${shown}\n      ${paint('dim', '|')} ${pad}${paint('red', marks)}`
}
