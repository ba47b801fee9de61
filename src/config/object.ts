/** Converts a pipeline in plain JavaScript data to a tree with the positions of its JSON text, so all checks of files apply. */
import { ExactNumber } from '../contract/plugin.ts'
import { FORBIDDEN, MAX_BYTES, MAX_DEPTH } from './parse.ts'
import type { Problems } from './problems.ts'
import { type MapNode, OBJECT, type Path, type SeqNode, SourceText, type Span, type TreeNode } from './tree.ts'

/** Maximum number of values in an object, as in a file. */
const MAX_VALUES = 30_000

/** @returns undefined if the object cannot be read; `problems` has the reason. */
export function parseObject(value: object, problems: Problems): { source: SourceText; root: TreeNode } | undefined {
  const printer = new Printer()
  const root = printer.print(value, [], 0)
  const source = printer.finish()
  for (const { span, path, message, code } of printer.wrong) problems.add(code, span, path, message)
  return root && !printer.tooLarge ? { source, root } : undefined
}

interface Wrong {
  readonly code: 'CONFIG_TYPE' | 'CONFIG_KEY' | 'CONFIG_LIMIT'
  readonly span: Span
  readonly path: Path
  readonly message: string
}

class Printer {
  readonly wrong: Wrong[] = []
  tooLarge = false
  private text = ''
  private values = 0
  /** Their `source` is set when the text is complete. */
  private readonly spans: { source: SourceText; start: number; end: number }[] = []

  finish(): SourceText {
    const source = new SourceText(OBJECT, this.text)
    for (const span of this.spans) span.source = source
    return source
  }

  print(value: unknown, path: Path, depth: number): TreeNode | undefined {
    const start = this.text.length
    if (this.tooLarge) return undefined
    if (depth > MAX_DEPTH) return this.limit(path, `nested deeper than ${MAX_DEPTH} levels, or it contains itself`)
    if (++this.values > MAX_VALUES) return this.limit(path, `more than ${MAX_VALUES} values`)
    if (start > MAX_BYTES) return this.limit(path, `its JSON text is longer than ${MAX_BYTES} characters`)
    if (Array.isArray(value)) return this.seq(value, path, depth)
    if (isPlain(value)) return this.map(value, path, depth)
    if (value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) {
      this.text += JSON.stringify(value)
      const style = typeof value === 'string' ? 'double' : 'plain'
      return { kind: 'scalar', span: this.span(start), value: value as string | number | boolean | null, style }
    }
    if (value instanceof ExactNumber) {
      this.text += value.text
      return { kind: 'scalar', span: this.span(start), value: Number(value.text), style: 'plain' }
    }
    this.text += 'null'
    const span = this.span(start)
    this.wrong.push({ code: 'CONFIG_TYPE', span, path, message: `${nameOf(value)} is not allowed: ${ALLOWED}` })
    return {
      kind: 'scalar',
      span,
      value: null,
      style: 'plain',
      substitution: { template: '', pieces: [], unresolved: true, outside: false },
    }
  }

  private seq(value: readonly unknown[], path: Path, depth: number): SeqNode {
    const start = this.text.length
    const items: TreeNode[] = []
    this.text += '['
    for (const [i, item] of value.entries()) {
      this.text += `${i === 0 ? '' : ','}\n${'  '.repeat(depth + 1)}`
      const node = this.print(item, [...path, i], depth + 1)
      if (node) items.push(node)
    }
    this.text += items.length === 0 ? ']' : `\n${'  '.repeat(depth)}]`
    return { kind: 'seq', span: this.span(start), items }
  }

  private map(value: object, path: Path, depth: number): MapNode {
    const start = this.text.length
    const entries: MapNode['entries'] = new Map()
    this.text += '{'
    for (const [name, inner] of Object.entries(value)) {
      // As in JSON, undefined values are omitted.
      if (inner === undefined) continue
      this.text += `${entries.size === 0 ? '' : ','}\n${'  '.repeat(depth + 1)}`
      const at = this.text.length
      this.text += JSON.stringify(name)
      const key = this.span(at)
      this.text += ': '
      const inside = [...path, name]
      if (FORBIDDEN.has(name)) this.wrong.push({ code: 'CONFIG_KEY', span: key, path: inside, message: `the key ${name} is not allowed` })
      const node = this.print(inner, inside, depth + 1)
      if (node && !FORBIDDEN.has(name)) entries.set(name, { key, value: node })
    }
    this.text += entries.size === 0 ? '}' : `\n${'  '.repeat(depth)}}`
    return { kind: 'map', span: this.span(start), entries }
  }

  private limit(path: Path, what: string): undefined {
    this.tooLarge = true
    const start = this.text.length
    this.text += 'null'
    this.wrong.push({ code: 'CONFIG_LIMIT', span: this.span(start), path: path.slice(0, 4), message: `the object is too large: ${what}` })
    return undefined
  }

  private span(start: number): Span {
    const span = { source: undefined as unknown as SourceText, start, end: this.text.length }
    this.spans.push(span)
    return span
  }
}

const ALLOWED = 'a pipeline object consists of strings, finite numbers, booleans, null, arrays and plain objects'

/** An object literal of any realm, or an object without a prototype. */
function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value) as object | null
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function nameOf(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'undefined') return String(value)
  if (typeof value === 'object') return `an instance of ${(value as object).constructor.name}`
  return `a ${typeof value}`
}
