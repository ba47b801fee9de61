/** A parsed file as values with positions. All further code uses this tree, not YAML nodes. */

import { ExactNumber, isJsonNumber } from '../contract/plugin.ts'

/** The text that positions of problems refer to: a file or a `--set` argument. */
export class SourceText {
  /** Path as passed by the user, or `--set`. */
  readonly file: string
  readonly text: string
  /** Set for a text that was read by a `use`. */
  use?: Used
  private readonly starts: number[] = [0]

  constructor(file: string, text: string) {
    this.file = file
    this.text = text
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) this.starts.push(i + 1)
  }

  /** 1-based; columns count UTF-16 code units, as editors do. */
  position(offset: number): { line: number; column: number } {
    let low = 0
    let high = this.starts.length - 1
    while (low < high) {
      const mid = (low + high + 1) >> 1
      if (this.starts[mid] <= offset) low = mid
      else high = mid - 1
    }
    return { line: low + 1, column: offset - this.starts[low] + 1 }
  }

  lineStart(line: number): number {
    return this.starts[line - 1]
  }

  /** Without its line break. */
  line(line: number): string {
    const end = line < this.starts.length ? this.starts[line] : this.text.length
    return this.text.slice(this.starts[line - 1], end).replace(/\r?\n$/, '')
  }
}

/** By name. A value that is a reference to a variable has its type only after it is resolved. */
export type Parameters = ReadonlyMap<string, { readonly type: string; readonly value: TreeNode }>

/** Where a shared text is used, and with which values of its parameters. */
export interface Used {
  readonly at: Span
  readonly parameters: Parameters
}

/** The `file` of a pipeline given as plain data: its problems have a path instead of a line. */
export const OBJECT = '(object)'

/** Half open, in characters of `source`. */
export interface Span {
  readonly source: SourceText
  readonly start: number
  readonly end: number
  /** Shows where a value belongs that is not written there as it is: a suggestion does not replace this text. */
  readonly nearby?: true
}

export const nearby = (span: Span): Span => ({ ...span, nearby: true })

export type ScalarValue = string | number | boolean | null
export type ScalarStyle = 'plain' | 'single' | 'double' | 'literal' | 'folded'

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly span: Span
  readonly value: ScalarValue
  readonly style: ScalarStyle
  /** Set if `${}` was replaced: the original text and its position. */
  readonly substitution?: Substitution
}

/** The substitution of references in a scalar. */
export interface Substitution {
  /** The text before replacing. */
  readonly template: string
  /** Pieces in order; `start`/`end` in the template, `at`/`to` in the result. A literal piece maps character by character. */
  readonly pieces: readonly {
    readonly start: number
    readonly end: number
    readonly at: number
    readonly to: number
    readonly variable?: string
    /** From a variable or a file, not from the default after `:-`. */
    readonly outside?: true
  }[]
  /** A reference could not be resolved (already reported): the value is unknown. */
  readonly unresolved: boolean
  /** A part is from a variable or a file: it must not be shown. */
  readonly outside: boolean
}

export interface MapEntry {
  readonly key: Span
  readonly value: TreeNode
}
export interface MapNode {
  readonly kind: 'map'
  readonly span: Span
  readonly entries: Map<string, MapEntry>
  /** Created from a shorthand: its only key is not in the text. */
  readonly implicit?: boolean
}
export interface SeqNode {
  readonly kind: 'seq'
  readonly span: Span
  readonly items: TreeNode[]
}
export type TreeNode = ScalarNode | MapNode | SeqNode
export type Path = readonly (string | number)[]

/** A plain JSON value that shares no objects with the tree. */
export function toValue(node: TreeNode): unknown {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'seq') return node.items.map(toValue)
  const out: Record<string, unknown> = {}
  for (const [key, entry] of node.entries) out[key] = toValue(entry.value)
  return out
}

/** As `toValue`, with exact numbers, for records in test files. */
export function toExactValue(node: TreeNode): unknown {
  if (node.kind === 'seq') return node.items.map(toExactValue)
  if (node.kind === 'map') return Object.fromEntries([...node.entries].map(([key, entry]) => [key, toExactValue(entry.value)]))
  const { source, start, end } = node.span
  const text = source.text.slice(start, end)
  if (typeof node.value !== 'number' || node.substitution || !isJsonNumber(text) || String(node.value) === text) return node.value
  return new ExactNumber(text)
}

/** `sinks[0].kafka.topic`; keys that are not names are quoted: `fields['a b']`. */
export function formatPath(path: Path): string {
  let out = ''
  for (const part of path) {
    if (typeof part === 'number') out += `[${part}]`
    else if (/^[\w-]+$/.test(part)) out += out === '' ? part : `.${part}`
    else out += `['${part.replaceAll("'", "\\'")}']`
  }
  return out
}

/** The value at a path and its key. */
export interface Found {
  readonly node: TreeNode
  /** Key of the innermost map entry on the path; undefined at the root. */
  readonly key: Span | undefined
  /** The path continues to a value that is not in the file (a default). */
  readonly partial: boolean
}

export function find(root: TreeNode, path: Path): Found {
  let node = root
  let key: Span | undefined
  for (const part of path) {
    if (node.kind === 'map' && node.entries.has(String(part))) {
      const entry = node.entries.get(String(part))!
      node = entry.value
      key = entry.key
    } else if (node.kind === 'seq' && typeof part === 'number' && part < node.items.length) {
      node = node.items[part]
      // An item of a list has no key: a missing key is reported at its first line.
      key = firstLine(node)
    } else return { node, key, partial: true }
  }
  return { node, key, partial: false }
}

/** Position of a value: the key of an empty value, the first line of a multi-line value. */
export function valueSpan(found: Found): Span {
  const { node, key } = found
  if (node.span.end === node.span.start && key) return nearby(key)
  return firstLine(node)
}

function firstLine(node: TreeNode): Span {
  const { source, start, end } = node.span
  if (node.kind === 'map' && !node.implicit && source.text[start] !== '{') {
    const first = node.entries.values().next().value
    if (first) return nearby(first.key)
  }
  if (node.kind === 'seq' && node.items.length > 0 && source.text[start] === '-') return nearby({ source, start, end: start + 1 })
  const newline = source.text.indexOf('\n', start)
  if (newline < 0 || newline >= end) return { source, start, end: Math.max(start, end) }
  return nearby({ source, start, end: Math.max(start, newline - (source.text[newline - 1] === '\r' ? 1 : 0)) })
}
