/** A text after an edit of a problem. */
import type { Edit } from '../../src/config/model.ts'

export function applied(text: string, { line, column, endLine, endColumn, text: inserted }: Edit): string {
  const lines = text.split('\n')
  const offset = (at: number, col: number): number => lines.slice(0, at - 1).join('\n').length + (at > 1 ? 1 : 0) + col - 1
  return text.slice(0, offset(line, column)) + inserted + text.slice(offset(endLine, endColumn))
}
