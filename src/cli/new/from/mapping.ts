/** Mappings of Bloblang and VRL as steps: a `filter` for what they delete, and a `map`. */
import { Parser } from './parse.ts'
import { pathText, render } from './render.ts'
import { literal, not, type Path, replaced, type Tree, Untranslatable, walk } from './tree.ts'

export interface Mapped {
  readonly steps: readonly Readonly<Record<string, unknown>>[]
  readonly left: readonly Left[]
  /** Fields of the record that come in, as the steps read them. */
  readonly reads: readonly Tree[]
  /** Conditions of records that are kept. */
  readonly filters: readonly Tree[]
  /** Fields that it makes. */
  readonly made: readonly string[]
  readonly keeps: boolean
}

/** A statement without a translation. */
export interface Left {
  /** From 0, in the text. */
  readonly line: number
  readonly text: string
  readonly reason: string
}

interface State {
  keep: boolean
  /** The whole value, if it is one expression. */
  whole?: Tree
  key?: Tree
  readonly fields: Map<string, Tree>
  readonly drop: Set<string>
  readonly filters: Tree[]
}

/** @param mutates whether a statement reads what the ones before it have set */
export function bloblang(text: string, mutates: boolean): Mapped {
  const parser = new Parser(text, 'bloblang')
  const state: State = { keep: mutates, fields: new Map(), drop: new Set(), filters: [] }
  let isSet = mutates
  const left = statements(parser, () => {
    if (parser.accept('let')) {
      const name = parser.name()
      parser.expect('=')
      parser.variables.set(name, read(state, parser.expression(), mutates))
      return
    }
    if (parser.is('map', 'import', 'if')) throw new Untranslatable(`the statement ${parser.token().text} has no translation`)
    if (parser.accept('meta')) {
      const name = parser.name()
      parser.expect('=')
      const value = read(state, parser.expression(), mutates)
      if (name !== 'kafka_key' && name !== 'key') throw new Untranslatable('a step cannot set headers; the sink has the key headers')
      state.key = checked(value)
      return
    }
    const first = parser.name()
    const path = first === 'root' ? parser.path() : [first, ...parser.path()]
    parser.expect('=')
    parser.skipNewLines()
    const value = read(state, parser.expression(), mutates)
    if (path.length > 0) {
      assign(state, path, value)
      isSet = true
    } else if (root(state, value)) isSet = true
  })
  // Without an assignment to root, the record stays as it is.
  if (!isSet && state.fields.size === 0) state.keep = true
  return finish(state, left)
}

/** @returns whether the new record is more than what is left after filters */
function root(state: State, value: Tree): boolean {
  if (value.kind === 'if' && (value.yes.kind === 'deleted' || value.otherwise.kind === 'deleted')) {
    const [removes, rest] = value.yes.kind === 'deleted' ? [value.condition, value.otherwise] : [not(value.condition), value.yes]
    state.filters.push(checked(not(removes)))
    return rest.kind === 'nothing' ? false : root(state, rest)
  }
  if (state.fields.size > 0 || state.whole) throw new Untranslatable('root is set twice')
  if (value.kind === 'deleted') state.filters.push(literal(false))
  else if (value.kind === 'field' && value.path.length === 0) state.keep = true
  else if (value.kind === 'object') {
    state.keep = false
    for (const [name, of] of value.entries) assign(state, [name], of)
  } else if (value.kind === 'call' && isWhole(value.of) && value.name === 'without' && value.args.every(isText)) {
    state.keep = true
    for (const arg of value.args) state.drop.add(String((arg as { value: unknown }).value))
  } else if (value.kind === 'call' && isWhole(value.of) && value.name === 'merge' && value.args[0]?.kind === 'object') {
    state.keep = true
    for (const [name, of] of value.args[0].entries) assign(state, [name], of)
  } else {
    checked(value)
    state.keep = false
    state.whole = value
  }
  return true
}

const isWhole = (tree: Tree | undefined): boolean => tree?.kind === 'field' && tree.path.length === 0
const isText = (tree: Tree): boolean => tree.kind === 'literal' && typeof tree.value === 'string'

/** @param isText whether the record is text, in `.message` */
export function vrl(text: string): Mapped {
  const parser = new Parser(text, 'vrl')
  const state: State = { keep: true, fields: new Map(), drop: new Set(), filters: [] }
  const left = statements(parser, () => statement(parser, state))
  return finish(state, left)
}

/** The condition of a VRL `filter` or `route`, and the fields that it reads. */
export function condition(text: string, dialect: 'bloblang' | 'vrl'): { readonly text: string; readonly tree: Tree } {
  const parser = new Parser(text, dialect)
  parser.skipLines()
  const tree = parser.expression()
  parser.skipLines()
  if (parser.token().type !== 'end') throw new Untranslatable('a condition of several statements has no translation')
  return { text: render(tree), tree }
}

function statement(parser: Parser, state: State): void {
  if (parser.accept('if')) return conditional(parser, state)
  if (parser.accept('abort')) return void state.filters.push(literal(false))
  if (parser.is('del')) {
    const of = parser.expression()
    if (of.kind === 'call' && of.args[0]?.kind === 'field') return drop(state, of.args[0].path)
    throw new Untranslatable('del() needs a field')
  }
  if (parser.token().type === 'name') {
    const name = parser.name()
    if (parser.is(',')) throw new Untranslatable('a second result with the error has no translation: a record that fails goes to the dlq')
    if (!parser.accept('=')) throw new Untranslatable(`${name} has no translation as a statement`)
    parser.variables.set(name, read(state, parser.expression(), true))
    return
  }
  parser.expect('.')
  const first = parser.token().type === 'name' || parser.token().type === 'string' ? [parser.name()] : []
  const path = [...first, ...parser.path()]
  if (parser.is(',')) throw new Untranslatable('a second result with the error has no translation: a record that fails goes to the dlq')
  const merges = parser.accept('|=')
  if (!merges) parser.expect('=')
  parser.skipNewLines()
  const value = read(state, parser.expression(), true)
  if (merges && path.length === 0 && isParsedMessage(value)) return
  if (merges) {
    if (value.kind !== 'object') throw new Untranslatable('|= has a translation for an object only')
    for (const [name, of] of value.entries) assign(state, [...path, name], of)
  } else if (path.length > 0) assign(state, path, value)
  // The source has parsed it already.
  else if (!isParsedMessage(value)) {
    state.fields.clear()
    state.drop.clear()
    root(state, value)
  }
}

/** `parse_json!(.message)`, also in `object!()` and `string!()`. */
export function isParsedMessage(tree: Tree): boolean {
  if (tree.kind !== 'call' || tree.of) return false
  if (tree.name === 'object') return isParsedMessage(tree.args[0])
  if (tree.name !== 'parse_json') return false
  let [of] = tree.args
  if (of?.kind === 'call' && ['string', 'to_string'].includes(of.name)) [of] = of.args
  return of?.kind === 'field' && of.path.length === 1 && of.path[0] === 'message'
}

/** `if … { .a = 1 } else { .a = 2 }`, and `if … { abort }`. */
function conditional(parser: Parser, state: State): void {
  const test = read(state, parser.expression(), true)
  const branch = (): State => {
    const inner: State = { keep: true, fields: new Map(state.fields), drop: new Set(), filters: [] }
    parser.skipNewLines()
    parser.expect('{')
    parser.skipLines()
    while (!parser.accept('}')) {
      statement(parser, inner)
      parser.skipLines()
    }
    return inner
  }
  const then = branch()
  const before = parser.at
  parser.skipNewLines()
  let otherwise: State | undefined
  if (parser.accept('else')) {
    if (parser.is('if')) throw new Untranslatable('else if with assignments has no translation')
    otherwise = branch()
  } else parser.at = before
  for (const inner of [then, otherwise])
    if (inner && (inner.drop.size > 0 || !inner.keep || inner.whole || inner.filters.some(f => f.kind !== 'literal')))
      throw new Untranslatable('del and nested conditions in a branch have no translation')
  const changed = [then, otherwise].flatMap(inner =>
    [...(inner?.fields ?? [])].filter(([name, tree]) => state.fields.get(name) !== tree).map(([name]) => name),
  )
  const values = [...new Set(changed)].map((name): [string, Tree] => {
    const [a, b] = [then.fields.get(name), (otherwise ?? state).fields.get(name)]
    if (a === undefined || b === undefined) throw new Untranslatable(`${name} has a value in one branch only: set it in both`)
    return [name, { kind: 'if', condition: test, yes: a, otherwise: b }]
  })
  if (then.filters.length > 0) state.filters.push(checked(not(test)))
  if (otherwise && otherwise.filters.length > 0) state.filters.push(checked(test))
  for (const [name, tree] of values) state.fields.set(name, checked(tree))
}

/** Runs `one` per statement; after one without a translation, goes on at the next line. */
function statements(parser: Parser, one: () => void): Left[] {
  const left: Left[] = []
  for (;;) {
    parser.skipLines()
    if (parser.token().type === 'end') return left
    const start = parser.token()
    let reason: string | undefined
    try {
      one()
      if (parser.token().type !== 'line' && parser.token().type !== 'end' && !parser.is(';'))
        throw new Untranslatable(`${parser.token().text} has no translation here`)
    } catch (error) {
      if (!(error instanceof Untranslatable)) throw error
      reason = error.message
    }
    if (reason === undefined) continue
    parser.at = parser.list.indexOf(start)
    let depth = 0
    for (;;) {
      const { type, text } = parser.token()
      if (type === 'end' || (type === 'line' && depth <= 0)) break
      if (type === 'op' && '([{'.includes(text)) depth++
      if (type === 'op' && ')]}'.includes(text)) depth--
      parser.at++
    }
    left.push({
      line: parser.text.slice(0, start.at).split('\n').length - 1,
      text: parser.text.slice(start.at, parser.token().at).trim(),
      reason,
    })
  }
}

function assign(state: State, path: Path, value: Tree): void {
  if (state.whole) throw new Untranslatable('root is an expression already')
  const name = nameOf(path)
  if (value.kind === 'deleted') return drop(state, path)
  if (value.kind === 'call' && value.name === 'del' && value.args[0]?.kind === 'field') {
    assign(state, path, value.args[0])
    return drop(state, value.args[0].path)
  }
  checked(value)
  for (const other of state.fields.keys())
    if (other.startsWith(`${name}.`) || name.startsWith(`${other}.`)) throw new Untranslatable(`${name} is set inside ${other}`)
  state.drop.delete(name)
  state.fields.set(name, value)
}

function drop(state: State, path: Path): void {
  const name = nameOf(path)
  state.fields.delete(name)
  if (state.keep) state.drop.add(name)
}

function nameOf(path: Path): string {
  if (path.length === 0 || path.some(p => typeof p === 'number' || p === '' || p.includes('.')))
    throw new Untranslatable('an element of a list, or a name with a dot, cannot be set')
  return path.join('.')
}

/** @throws {Untranslatable} */
function checked(tree: Tree): Tree {
  render(tree)
  return tree
}

/** @param mutates whether fields have the values of the statements before */
function read(state: State, tree: Tree, mutates: boolean): Tree {
  if (!mutates) return tree
  return replaced(tree, t => {
    if (t.kind !== 'field') return undefined
    const name = t.path.join('.')
    if (state.fields.has(name)) return state.fields.get(name)
    const overlaps = (other: string): boolean =>
      name === other || name.startsWith(`${other}.`) || other.startsWith(`${name}.`) || (name === '' && t.path.length === 0)
    if ([...state.fields.keys()].some(overlaps) || [...state.drop].some(overlaps) || state.whole)
      throw new Untranslatable(`${pathText(t.path)} is read after a part of it has changed`)
    return t
  })
}

function finish(state: State, left: Left[]): Mapped {
  const { keep, whole, key, fields, drop: dropped, filters } = state
  const map = whole
    ? render(whole)
    : fields.size > 0 || dropped.size > 0
      ? {
          ...(fields.size > 0 && { fields: Object.fromEntries([...fields].map(([name, tree]) => [name, render(tree)])) }),
          ...(keep && { keep: true }),
          ...(dropped.size > 0 && keep && { drop: [...dropped] }),
        }
      : undefined
  const reads: Tree[] = []
  for (const tree of [...filters, ...(whole ? [whole] : []), ...fields.values(), ...(key ? [key] : [])]) walk(tree, t => void reads.push(t))
  return {
    steps: [
      ...filters.map(tree => ({ filter: render(tree) })),
      // Its expression reads the record before the mapping.
      ...(key ? [{ rekey: render(key) }] : []),
      ...(map !== undefined && (typeof map === 'string' || map.fields || map.drop) ? [{ map }] : []),
    ],
    left,
    reads,
    filters,
    made: [...fields.keys()],
    keeps: keep && !whole,
  }
}
