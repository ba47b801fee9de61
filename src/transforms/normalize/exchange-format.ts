/**
 * A format file maps message fields of an exchange to tickers and order books.
 * The file is checked completely when it is read; errors have their line.
 */
import { readRegular } from '../../kit/read-regular.ts'
import { parseText } from '../../config/parse.ts'
import { Problems } from '../../config/problems.ts'
import { suggest } from '../../kit/text/suggest.ts'
import { find, type Path, SourceText, toValue, type TreeNode, valueSpan } from '../../config/tree.ts'
import type { Match } from '../../kit/values/match.ts'

export interface ExchangeFormat {
  readonly exchange: string
  /** Asset names of the exchange -> common names. */
  readonly aliases: Readonly<Record<string, string>>
  /** Messages without data. */
  readonly drop: readonly Match[]
  readonly messages: readonly MessageFormat[]
}

export type MessageFormat = TickerFormat | BookFormat
interface Common {
  readonly match: Match
  /** Path of a list whose items are separate messages; lists on the path are iterated too. */
  readonly each?: string
  readonly symbol: string
  /** Of several paths, the first that exists is used. */
  readonly ts: string | readonly string[]
}
export interface TickerFormat extends Common {
  readonly type: 'ticker'
  readonly price: string
  readonly volume: string
  readonly bid?: string
  readonly ask?: string
}
export interface BookFormat extends Common {
  readonly type: 'orderbook'
  readonly bids: Levels
  readonly asks: Levels
  readonly sequence?: string
  readonly snapshot: boolean | Match
}
/** The path of a list of `[price, size, …]`; or a list of objects, a filter, and the paths of price and size in an object. */
export type Levels = string | { readonly list: string; readonly where?: Match; readonly price: string; readonly size: string }

/** `path:line:column: what is wrong` */
export interface FormatProblem {
  readonly message: string
  readonly suggestion?: string
}

const FIELDS = {
  ticker: { required: ['match', 'symbol', 'price', 'volume', 'ts'], optional: ['type', 'each', 'bid', 'ask'] },
  orderbook: { required: ['match', 'symbol', 'bids', 'asks', 'snapshot', 'ts'], optional: ['type', 'each', 'sequence'] },
} as const

/** `price`, `data.0.price`, `$.timestamp` (of the whole message), `$key`, `$time`. */
const PATH = /^(\$key|\$time|(\$\.)?[^\s.$]+(\.[^\s.$]+)*)$/

/** Never throws: an unreadable file is also a problem. */
export function readFormat(file: string): { format?: ExchangeFormat; problems: FormatProblem[] } {
  let text: string
  try {
    text = readRegular(file).toString()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === undefined ? message : `${file}: ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}`
    return { problems: [{ message: why }] }
  }
  const problems = new Problems()
  const root = parseText(new SourceText(file, text), problems)
  const reader = root && new Reader(root, problems)
  reader?.read()
  const found = problems.list().map(p => ({ message: `${p.file}:${p.line}:${p.column}: ${p.message}`, suggestion: p.suggestion }))
  if (found.length > 0 || !root) return { problems: found }
  const written = toValue(root) as Omit<ExchangeFormat, 'aliases' | 'drop'> & Partial<ExchangeFormat>
  return { format: { aliases: {}, drop: [], ...written }, problems: [] }
}

class Reader {
  private readonly root: TreeNode
  private readonly problems: Problems

  constructor(root: TreeNode, problems: Problems) {
    this.root = root
    this.problems = problems
  }

  read(): void {
    const keys = this.map([], ['exchange', 'messages'], ['aliases', 'drop'])
    if (keys.has('exchange')) this.text(['exchange'], /^[a-z][a-z0-9_-]*$/, 'a name in lowercase letters, such as binance')
    if (keys.has('aliases')) {
      for (const name of this.map(['aliases'], [], undefined)) this.text(['aliases', name], /^\S+$/, 'the name of an asset')
    }
    if (keys.has('drop')) this.items(['drop'], path => this.match(path))
    if (keys.has('messages')) this.items(['messages'], path => this.message(path))
  }

  private message(path: Path): void {
    const type = this.value([...path, 'type'])
    if (type !== 'ticker' && type !== 'orderbook') return this.add([...path, 'type'], 'type must be ticker or orderbook')
    const { required, optional } = FIELDS[type]
    for (const key of this.map(path, required, optional)) {
      const at = [...path, key]
      if (key === 'match') this.match(at)
      else if (key === 'bids' || key === 'asks') this.levels(at)
      else if (key === 'ts' && Array.isArray(this.value(at))) this.items(at, p => this.path(p))
      else if (key === 'snapshot') {
        if (typeof this.value(at) !== 'boolean') this.match(at)
      } else if (key !== 'type') this.path(at)
    }
  }

  private levels(path: Path): void {
    if (typeof this.value(path) === 'string') return this.path(path)
    for (const key of this.map(path, ['list', 'price', 'size'], ['where'])) {
      if (key === 'where') this.match([...path, key])
      else this.path([...path, key])
    }
  }

  private match(path: Path): void {
    for (const key of this.map(path, [], undefined)) {
      const value = this.value([...path, key])
      const scalars = Array.isArray(value) ? value : [value]
      if (scalars.some(v => typeof v === 'object' && v !== null)) this.add([...path, key], `${key} must be a value, a list of values, or *`)
      if (!PATH.test(key)) this.add([...path, key], `${key} is not a field path`)
    }
    if (this.map(path, [], undefined, true).size === 0) this.add(path, `${path.at(-1)} must have at least one field and its value`)
  }

  private path(path: Path): void {
    this.text(path, PATH, 'a field path such as data.0.price, $.timestamp for the whole message, $key or $time')
  }

  private text(path: Path, pattern: RegExp, expected: string): void {
    const value = this.value(path)
    const name = path.findLast(part => typeof part === 'string')
    if (typeof value !== 'string' || !pattern.test(value)) this.add(path, `${name} must be ${expected}`)
  }

  private items(path: Path, check: (path: Path) => void): void {
    const value = this.value(path)
    if (!Array.isArray(value) || value.length === 0) return this.add(path, `${path.at(-1)} must be a list`)
    for (let i = 0; i < value.length; i++) check([...path, i])
  }

  /** @param optional undefined: any key. @returns the valid keys */
  private map(path: Path, required: readonly string[], optional: readonly string[] | undefined, quiet = false): Set<string> {
    const { node } = find(this.root, path)
    if (node.kind !== 'map') {
      if (!quiet)
        this.add(path, `${path.at(-1) ?? 'a format'} must be a map${required.length > 0 ? ` with the keys ${required.join(', ')}` : ''}`)
      return new Set(['?'].filter(() => quiet))
    }
    const known = optional && [...required, ...optional]
    const keys = new Set<string>()
    for (const key of node.entries.keys()) {
      if (!known || known.includes(key)) keys.add(key)
      else this.add([...path, key], `unknown key ${key}; allowed are ${known.join(', ')}`, suggest(key, known), true)
    }
    for (const key of required) if (!keys.has(key)) this.add(path, `${key} is missing`)
    return keys
  }

  private value(path: Path): unknown {
    const found = find(this.root, path)
    return found.partial ? undefined : toValue(found.node)
  }

  private add(path: Path, message: string, suggestion?: string, atKey = false): void {
    const found = find(this.root, path)
    const span = atKey && found.key ? found.key : valueSpan(found)
    this.problems.add('CONFIG_CHECK', span, path, message, suggestion)
  }
}
