/** Texts with parts of the record in them: `${! this.id }` of Benthos and `{{ id }}` of Vector. */
import { Parser } from './parse.ts'
import { render } from './render.ts'
import { type Tree, Untranslatable } from './tree.ts'

export type Marks = 'benthos' | 'vector'

const PATTERNS: Readonly<Record<Marks, RegExp>> = { benthos: /\$\{!((?:[^{}"]|"(?:[^"\\]|\\.)*")*)\}/g, vector: /\{\{\s*([^}]*?)\s*\}\}/g }

export const isTemplate = (text: string, marks: Marks): boolean => text.search(PATTERNS[marks]) >= 0

/** The expression of a text that is nothing but one. @throws {Untranslatable} */
export function onlyPart(text: string, marks: Marks): Tree {
  const whole = [...text.matchAll(PATTERNS[marks])]
  if (whole.length !== 1 || whole[0][0].length !== text.trim().length)
    throw new Untranslatable('a text with several parts has no translation here')
  return partOf(whole[0][1], marks)
}

/** The text with the parts in the marks of a sink, such as `{id}` or `<id>`. @throws {Untranslatable} for what is not a field */
export function withFields(text: string, marks: Marks, [open, close]: readonly [string, string]): string {
  return text.replaceAll(PATTERNS[marks], (_, inner: string) => `${open}${fieldName(partOf(inner, marks))}${close}`)
}

/** The field, as keys of the file name it. @throws {Untranslatable} */
export function fieldName(tree: Tree): string {
  if (tree.kind === 'meta' && tree.name === 'kafka_key') return '@key'
  if (tree.kind === 'meta' && tree.name === 'kafka_topic') return '@topic'
  if (tree.kind !== 'field' || tree.path.length === 0) throw new Untranslatable('only a field of the record can be a part of a name')
  return tree.path.join('.')
}

function partOf(inner: string, marks: Marks): Tree {
  if (marks === 'vector') {
    if (inner.startsWith('%')) throw new Untranslatable('metadata of Vector has no translation')
    return { kind: 'field', path: inner.replace(/^\./, '').split('.') }
  }
  const parser = new Parser(inner, 'bloblang')
  const tree = parser.expression()
  if (parser.token().type !== 'end') throw new Untranslatable(`${inner.trim()} has no translation`)
  render(tree)
  return tree
}
