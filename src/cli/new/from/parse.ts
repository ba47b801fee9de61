/** A parser of the expressions of Bloblang and VRL: what both share, and the names of each. */
import { literal, not, type Path, type Tree, Untranslatable } from './tree.ts'

export type Dialect = 'bloblang' | 'vrl'

export interface Token {
  readonly type: 'name' | 'number' | 'string' | 'regex' | 'op' | 'line' | 'end'
  readonly text: string
  readonly at: number
  /** White space before it. */
  readonly spaced: boolean
}

const OPS = [
  '->',
  '=>',
  '??',
  '&&',
  '||',
  '==',
  '!=',
  '<=',
  '>=',
  '|=',
  '+',
  '-',
  '*',
  '/',
  '%',
  '<',
  '>',
  '!',
  '|',
  '(',
  ')',
  '[',
  ']',
  '{',
  '}',
  ',',
  '.',
  ':',
  '=',
  '@',
  '$',
  ';',
  '?',
]
/** From loose to tight. */
const BINARY: readonly (readonly string[])[] = [
  ['??', '|'],
  ['||'],
  ['&&'],
  ['==', '!='],
  ['<', '<=', '>', '>='],
  ['+', '-'],
  ['*', '/', '%'],
]

export function tokens(text: string, dialect: Dialect): Token[] {
  const all: Token[] = []
  let at = 0
  const push = (type: Token['type'], value: string, length: number): void => {
    all.push({ type, text: value, at, spaced: at === 0 || /\s/.test(text[at - 1]) })
    at += length
  }
  while (at < text.length) {
    const rest = text.slice(at)
    const space = /^[ \t\r]+|^#[^\n]*/.exec(rest)
    if (space) at += space[0].length
    else if (rest[0] === '\n') push('line', '\n', 1)
    else if (rest.startsWith('"""')) {
      const end = rest.indexOf('"""', 3)
      if (end < 0) throw new Untranslatable('a string is not closed')
      push('string', rest.slice(3, end), end + 3)
    } else if (dialect === 'vrl' && /^[rst]'/.test(rest)) {
      const raw = /^[rst]'((?:[^'\\]|\\[^])*)'/.exec(rest)
      if (!raw || rest[0] === 't') throw new Untranslatable('literals of timestamps have no translation')
      push(rest[0] === 'r' ? 'regex' : 'string', raw[1], raw[0].length)
    } else if (rest[0] === '"') {
      const quoted = /^"(?:[^"\\]|\\[^])*"/.exec(rest)?.[0]
      if (quoted === undefined) throw new Untranslatable('a string is not closed')

      push('string', unquoted(quoted), quoted.length)
    } else if (/^\d/.test(rest)) {
      const digits = /^\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?/.exec(rest)![0]
      push('number', digits.replaceAll('_', ''), digits.length)
    } else if (/^[A-Za-z_]/.test(rest)) {
      const name = /^\w+!?(?![=])|^\w+/.exec(rest)![0]
      // `string!(.a)` stops the record when it fails, as an expression here does.
      push('name', name.replace('!', ''), name.length)
    } else {
      const op = OPS.find(o => rest.startsWith(o))
      if (op === undefined) throw new Untranslatable(`${rest[0]} has no translation`)
      push('op', op, op.length)
    }
  }
  push('end', '', 0)
  return all
}

function unquoted(text: string): string {
  try {
    return JSON.parse(text) as string
  } catch {
    throw new Untranslatable(`the escapes of ${text} have no translation`)
  }
}

/** The parts of a mapping that are read by statement and by expression parsers. */
export class Parser {
  at = 0
  readonly list: readonly Token[]
  readonly dialect: Dialect
  readonly text: string
  /** Values of variables. */
  readonly variables = new Map<string, Tree>()
  private readonly locals: string[] = []

  constructor(text: string, dialect: Dialect) {
    this.text = text
    this.dialect = dialect
    this.list = tokens(text, dialect)
  }

  token(): Token {
    return this.list[this.at]
  }

  is(...texts: string[]): boolean {
    return (this.token().type === 'op' || this.token().type === 'name') && texts.includes(this.token().text)
  }

  accept(...texts: string[]): boolean {
    if (!this.is(...texts)) return false
    this.at++
    return true
  }

  expect(text: string): void {
    if (!this.accept(text)) throw new Untranslatable(`${this.token().text.trim() || 'the end of a line'} has no translation here`)
  }

  skipLines(): void {
    while (this.token().type === 'line' || this.is(';')) this.at++
  }

  name(): string {
    if (this.token().type !== 'name' && this.token().type !== 'string')
      throw new Untranslatable(`${this.token().text.trim() || 'the end'} is not a name`)
    return this.list[this.at++].text
  }

  /** `.a.b[0]`, after what it belongs to. */
  path(): Path {
    const path: (string | number)[] = []
    for (;;) {
      if (this.is('.') && ['name', 'string', 'number'].includes(this.list[this.at + 1]?.type) && this.list[this.at + 2]?.text !== '(') {
        this.at++
        const { type, text } = this.list[this.at++]
        path.push(type === 'number' ? Number(text) : text)
      } else if (
        this.is('[') &&
        !this.token().spaced &&
        this.list[this.at + 1]?.type === 'number' &&
        this.list[this.at + 2]?.text === ']'
      ) {
        path.push(Number(this.list[this.at + 1].text))
        this.at += 3
      } else return path
    }
  }

  expression(level = 0): Tree {
    if (level === BINARY.length) return this.unary()
    let left = this.expression(level + 1)
    for (;;) {
      // An operator at the start of the next line continues the expression.
      const before = this.at
      while (this.token().type === 'line') this.at++
      if (this.token().type !== 'op' || !BINARY[level].includes(this.token().text)) {
        this.at = before
        return left
      }
      const op = this.list[this.at++].text
      while (this.token().type === 'line') this.at++
      left = { kind: 'binary', op, left, right: this.expression(level + 1) }
    }
  }

  private unary(): Tree {
    if (this.accept('!')) return not(this.unary())
    if (this.accept('-')) {
      const of = this.unary()
      return of.kind === 'literal' && typeof of.value === 'number' ? literal(-of.value) : { kind: 'minus', of }
    }
    let of = this.primary()
    for (;;) {
      const before = this.at
      while (this.token().type === 'line') this.at++
      if (!(this.is('.') && (before === this.at || this.dialect === 'bloblang'))) {
        this.at = before
        if (this.is('[') && !this.token().spaced && of.kind !== 'literal') {
          this.at++
          of = { kind: 'index', of, at: this.expression() }
          this.expect(']')
          continue
        }
        return of
      }
      this.at++
      if (this.accept('(')) throw new Untranslatable('a nested mapping in parentheses has no translation')
      const name = this.name()
      if (this.is('(') && !this.token().spaced) of = { kind: 'call', name, of, args: this.args() }
      else of = of.kind === 'field' ? { kind: 'field', path: [...of.path, name] } : { kind: 'member', of, name }
    }
  }

  private args(): Tree[] {
    this.expect('(')
    const args: Tree[] = []
    this.skipNewLines()
    while (!this.accept(')')) {
      // Named arguments are in the order of the documentation in all functions below.
      if (this.token().type === 'name' && this.list[this.at + 1]?.text === ':') this.at += 2
      args.push(this.argument())
      this.skipNewLines()
      if (!this.is(')')) this.expect(',')
      this.skipNewLines()
    }
    return args
  }

  skipNewLines(): void {
    while (this.token().type === 'line') this.at++
  }

  private argument(): Tree {
    if (this.token().type !== 'name' || this.list[this.at + 1]?.text !== '->') return this.expression()
    const name = this.name()
    this.expect('->')
    this.locals.push(name)
    const body = this.expression()
    this.locals.pop()
    return { kind: 'lambda', name, body }
  }

  private primary(): Tree {
    const { type, text } = this.token()
    if (type === 'number') return this.take(literal(Number(text)))
    if (type === 'string') {
      if (this.dialect === 'vrl' && text.includes('{{'))
        throw new Untranslatable('a template in a text has no translation; use + to join texts')
      return this.take(literal(text))
    }
    if (type === 'regex') return this.take({ kind: 'regex', pattern: text })
    if (this.accept('(')) {
      this.skipNewLines()
      const inner = this.expression()
      this.skipNewLines()
      this.expect(')')
      return inner
    }
    if (this.is('[')) return this.listOf()
    if (this.is('{')) return this.object()
    if (this.dialect === 'bloblang') {
      if (this.accept('@')) return { kind: 'meta', name: this.name() }
      if (this.accept('$')) return this.variable(this.name())
    } else if (this.accept('.')) {
      const first = this.token().type === 'name' || this.token().type === 'string' ? [this.name()] : []
      return { kind: 'field', path: [...first, ...this.path()] }
    } else if (this.accept('%')) throw new Untranslatable('metadata of Vector has no translation')
    if (type === 'name') return this.named()
    throw new Untranslatable(`${text.trim() || 'the end'} has no translation here`)
  }

  private take(tree: Tree): Tree {
    this.at++
    return tree
  }

  private variable(name: string): Tree {
    const value = this.variables.get(name)
    if (value === undefined) throw new Untranslatable(`the variable ${name} has no value that can be inserted`)
    return value
  }

  private named(): Tree {
    const name = this.name()
    if (name === 'true' || name === 'false') return literal(name === 'true')
    if (name === 'null') return literal(null)
    if (name === 'if') return this.condition()
    if (name === 'match' && !this.is('(')) throw new Untranslatable('match has no translation; use if and else if')
    if (this.locals.includes(name)) return { kind: 'local', name }
    if (this.is('(') && !this.token().spaced) return this.function(name, this.args())
    if (this.dialect === 'vrl') return this.variable(name)
    if (name === 'this') return { kind: 'field', path: this.path() }
    if (name === 'root') throw new Untranslatable('reading root has no translation; read this, which is the record before the mapping')
    // In Bloblang, a bare name is a field of `this`.
    return { kind: 'field', path: [name, ...this.path()] }
  }

  private function(name: string, args: readonly Tree[]): Tree {
    const text = args[0]?.kind === 'literal' && typeof args[0].value === 'string' ? args[0].value : undefined
    if (name === 'deleted') return { kind: 'deleted' }
    if ((name === 'meta' || name === 'metadata') && text !== undefined) return { kind: 'meta', name: text }
    if ((name === 'env' || name === 'get_env_var') && text !== undefined) return { kind: 'env', name: text }
    if (name === 'json' && text !== undefined) return { kind: 'field', path: text.split('.') }
    return { kind: 'call', name, args }
  }

  private condition(): Tree {
    const condition = this.expression()
    const yes = this.block()
    const before = this.at
    this.skipNewLines()
    if (!this.accept('else')) {
      this.at = before
      return { kind: 'if', condition, yes, otherwise: { kind: 'nothing' } }
    }
    return { kind: 'if', condition, yes, otherwise: this.accept('if') ? this.condition() : this.block() }
  }

  private block(): Tree {
    this.skipNewLines()
    this.expect('{')
    this.skipNewLines()
    const inner = this.expression()
    this.skipNewLines()
    this.expect('}')
    return inner
  }

  private listOf(): Tree {
    this.expect('[')
    const items: Tree[] = []
    this.skipNewLines()
    while (!this.accept(']')) {
      items.push(this.expression())
      this.skipNewLines()
      if (!this.is(']')) this.expect(',')
      this.skipNewLines()
    }
    return { kind: 'list', items }
  }

  private object(): Tree {
    this.expect('{')
    const entries: [string, Tree][] = []
    this.skipNewLines()
    while (!this.accept('}')) {
      const key = this.name()
      this.expect(':')
      this.skipNewLines()
      entries.push([key, this.expression()])
      this.skipNewLines()
      if (!this.is('}')) this.expect(',')
      this.skipNewLines()
    }
    return { kind: 'object', entries }
  }
}
