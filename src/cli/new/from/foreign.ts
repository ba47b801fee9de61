/** A config of another tool: its values with their lines, and which of its keys are translated. */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'

/** Keys of Benthos beside the type of a component. */
export const COMMON = new Set(['label', 'processors', 'batching', 'type', 'plugin', 'description'])

/** Something without a translation. */
export interface Note {
  /** In the file of the other tool. */
  readonly line: number
  readonly what: string
  readonly reason: string
}

export interface Foreign {
  readonly root: Part
  /** Syntax errors, as `line:column message`. */
  readonly errors: readonly string[]
}

export function readForeign(text: string): Foreign {
  const lines = new LineCounter()
  const doc = parseDocument(text, { lineCounter: lines, merge: true })
  const lineOf = (path: Path): number => {
    for (let at = path.length; at >= 0; at--) {
      const node = doc.getIn(path.slice(0, at), true) as Node | undefined
      if (node?.range) return lines.linePos(node.range[0]).line
    }
    return 1
  }
  /** The line of the first line of a text. */
  const textLine = (path: Path): number => {
    const node = doc.getIn(path, true)
    return lineOf(path) + (isScalar(node) && (node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED') ? 1 : 0)
  }
  const keyLine = (path: Path): number => {
    const owner = doc.getIn(path.slice(0, -1), true)
    const key = isMap(owner) ? owner.items.find(p => isScalar(p.key) && String(p.key.value) === String(path.at(-1)))?.key : undefined
    return isScalar(key) && key.range ? lines.linePos(key.range[0]).line : lineOf(path)
  }
  const root = doc.contents === null || doc.errors.length > 0 ? {} : doc.toJS({ maxAliasCount: 100 })
  return {
    root: new Part(root, [], { lineOf, textLine, keyLine }),
    errors: [
      ...doc.errors.map(
        e => `${e.linePos?.[0].line ?? 1}:${e.linePos?.[0].col ?? 1} ${e.message.split('\n')[0].replace(/ at line .*/, '')}`,
      ),
      ...(doc.errors.length === 0 && !isMap(doc.contents)
        ? [`1:1 a config is a map of keys${isSeq(doc.contents) ? ', and this is a list' : ''}`]
        : []),
    ],
  }
}

type Path = readonly (string | number)[]
interface Lines {
  readonly lineOf: (path: Path) => number
  readonly textLine: (path: Path) => number
  readonly keyLine: (path: Path) => number
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A map of the config. Keys that nothing takes are without a translation. */
export class Part {
  private readonly taken = new Set<string>()
  readonly value: unknown
  readonly path: Path
  private readonly lines: Lines

  constructor(value: unknown, path: Path, lines: Lines) {
    this.value = value
    this.path = path
    this.lines = lines
  }

  get line(): number {
    return this.path.length === 0 ? 1 : this.lines.keyLine(this.path)
  }

  lineOf(key: string): number {
    return this.lines.keyLine([...this.path, key])
  }

  /** Of the text of a key, or of this value. */
  textLine(...key: string[]): number {
    return this.lines.textLine([...this.path, ...key])
  }

  keys(): string[] {
    return isObject(this.value) ? Object.keys(this.value) : []
  }

  has(key: string): boolean {
    return isObject(this.value) && Object.hasOwn(this.value, key)
  }

  take(key: string): unknown {
    this.taken.add(key)
    return this.has(key) ? (this.value as Record<string, unknown>)[key] : undefined
  }

  text(key: string): string | undefined {
    const value = this.take(key)
    return value === undefined || value === null || typeof value === 'object' ? undefined : String(value)
  }

  /** A list, or one text as a list; texts with commas are several. */
  texts(key: string): string[] {
    const value = this.take(key)
    if (Array.isArray(value)) return value.map(String).flatMap(commas)
    return value === undefined || value === null || typeof value === 'object' ? [] : commas(String(value))
  }

  part(key: string): Part {
    return new Part(this.take(key) ?? {}, [...this.path, key], this.lines)
  }

  parts(key: string): Part[] {
    const value = this.take(key)
    return Array.isArray(value) ? value.map((v, i) => new Part(v, [...this.path, key, i], this.lines)) : []
  }

  /** The elements, if this is a list itself. */
  elements(): Part[] {
    return Array.isArray(this.value) ? this.value.map((v, i) => new Part(v, [...this.path, i], this.lines)) : []
  }

  /** Keys that have not been taken. Secrets are not copied. */
  rest(reasons: Readonly<Record<string, string>> = {}): Note[] {
    return this.keys()
      .filter(key => !this.taken.has(key))
      .map(key => ({
        line: this.lineOf(key),
        what: short(key, (this.value as Record<string, unknown>)[key]),
        reason: reasons[key] ?? 'has no translation',
      }))
  }
}

const commas = (text: string): string[] => (/\$\{/.test(text) ? [text] : text.split(',').map(t => t.trim()))

/** Columns of a value in a comment. */
const MAX = 60
const SECRET = /pass|secret|token|key|auth|credential|dsn|url|address/i

export function short(key: string, value: unknown): string {
  const text = JSON.stringify(value) ?? ''
  if (isObject(value) || Array.isArray(value)) return text.length <= 2 ? `${key}: ${text}` : `${key}: …`
  return `${key}: ${SECRET.test(key) ? '…' : text.length > MAX ? `${text.slice(0, MAX - 1)}…` : text}`
}
