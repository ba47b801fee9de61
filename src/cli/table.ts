/** Tables of the output. Apart from `output.ts`, which every command loads: the library for widths of text takes a tenth of a start. */
import { type Cell, type Column, tableLines } from '../kit/text/columns.ts'
import { paint, widthOf } from './output.ts'

/** Ends with a newline. */
export function table(columns: readonly Column[], rows: readonly (readonly Cell[])[]): string {
  const [head, ...lines] = tableLines(columns, rows, widthOf())
  return `${[paint('bold', head), ...lines].join('\n')}\n`
}
