/** Record types as TypeScript. */
import type { RecordType } from '../../expressions/record-type.ts'

const name = (text: string): string => (/^[A-Za-z_$][\w$]*$/.test(text) ? text : JSON.stringify(text))

/** A type expression: `{ symbol: string; price?: number }`. @param indent of the line it begins on; undefined: on one line */
export function typescriptOf(type: RecordType, indent?: string): string {
  if (type.kind === 'any') return 'unknown'
  if (type.kind === 'scalar') return type.of.join(' | ')
  if (type.kind === 'list') {
    const items = typescriptOf(type.items, indent)
    return /^[\w{]/.test(items) && !items.includes(' | ') ? `${items}[]` : `(${items})[]`
  }
  const inner = indent === undefined ? undefined : `${indent}  `
  const fields = [...type.fields].map(([key, f]) => `${name(key)}${f.presence === 'always' ? '' : '?'}: ${typescriptOf(f.type, inner)}`)
  if (type.open) fields.push('[field: string]: unknown')
  if (fields.length === 0) return '{}'
  return inner === undefined ? `{ ${fields.join('; ')} }` : `{\n${fields.map(f => `${inner}${f}\n`).join('')}${indent}}`
}
