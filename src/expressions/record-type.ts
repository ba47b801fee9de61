/** What is known of the values of records at a place in a pipeline. Where nothing is known, the type is `any`, and nothing is claimed. */
import type { ExpressionProblem } from './types.ts'

export type ScalarName = 'string' | 'number' | 'boolean' | 'null'

export interface Field {
  readonly type: RecordType
  /** `maybe`: declared as optional. `either`: some of several kinds of records have it, so nothing is claimed. */
  readonly presence: 'always' | 'maybe' | 'either'
}

export type RecordType =
  | { readonly kind: 'any' }
  | { readonly kind: 'scalar'; readonly of: readonly ScalarName[] }
  | { readonly kind: 'list'; readonly items: RecordType }
  | ObjectType

export interface ObjectType {
  readonly kind: 'object'
  readonly fields: ReadonlyMap<string, Field>
  /** There may be other fields. */
  readonly open: boolean
  /** Names of other fields that an earlier step has removed. */
  readonly removed?: ReadonlySet<string>
}

export const ANY: RecordType = { kind: 'any' }
export const scalar = (...of: ScalarName[]): RecordType => ({ kind: 'scalar', of })
export const listOf = (items: RecordType): RecordType => ({ kind: 'list', items })
export const always = (type: RecordType): Field => ({ type, presence: 'always' })

export function objectOf(fields: Iterable<readonly [string, Field | RecordType]>, open = false): ObjectType {
  return { kind: 'object', open, fields: new Map([...fields].map(([name, f]) => [name, 'presence' in f ? f : always(f)])) }
}

/** A value that is one of the two. @param lacking presence of a field that only one of them has */
export function union(a: RecordType, b: RecordType, lacking: 'maybe' | 'either' = 'either'): RecordType {
  if (a === b) return a
  if (a.kind === 'scalar' && b.kind === 'scalar') return { kind: 'scalar', of: [...new Set([...a.of, ...b.of])] }
  if (a.kind === 'list' && b.kind === 'list') return listOf(union(a.items, b.items, lacking))
  if (a.kind !== 'object' || b.kind !== 'object') return ANY
  const fields = new Map<string, Field>()
  for (const name of new Set([...a.fields.keys(), ...b.fields.keys()])) {
    const [x, y] = [a.fields.get(name), b.fields.get(name)]
    if (x && y) fields.set(name, { type: union(x.type, y.type, lacking), presence: x.presence === y.presence ? x.presence : lacking })
    else fields.set(name, { type: (x ? b : a).open ? ANY : (x ?? y)!.type, presence: lacking })
  }
  const removed = [...(a.removed ?? [])].filter(name => b.removed?.has(name))
  return { kind: 'object', fields, open: a.open || b.open, ...(removed.length > 0 && { removed: new Set(removed) }) }
}

export const unionOf = (types: readonly RecordType[]): RecordType => (types.length === 0 ? ANY : types.reduce((a, b) => union(a, b)))

/** A value that is of both types, such as a record that passed a check. */
export function both(a: RecordType, b: RecordType): RecordType {
  if (a.kind === 'any') return b
  if (b.kind === 'any') return a
  if (a.kind === 'list' && b.kind === 'list') return listOf(both(a.items, b.items))
  if (a.kind === 'scalar' && b.kind === 'scalar') {
    const of = a.of.filter(x => b.of.includes(x))
    return of.length > 0 ? { kind: 'scalar', of } : b
  }
  if (a.kind !== 'object' || b.kind !== 'object') return b
  const fields = new Map<string, Field>()
  for (const name of new Set([...a.fields.keys(), ...b.fields.keys()])) {
    const [x, y] = [a.fields.get(name), b.fields.get(name)]
    if (x && y)
      fields.set(name, {
        type: both(x.type, y.type),
        presence: (['always', 'either'] as const).find(p => x.presence === p || y.presence === p) ?? 'maybe',
      })
    else if (x ? b.open : a.open || (y!.presence === 'always' && b.open)) fields.set(name, (x ?? y)!)
    else if (y?.presence === 'always') fields.set(name, y)
  }
  return { kind: 'object', fields, open: a.open && b.open }
}

export type Found =
  | { readonly how: 'known'; readonly type: RecordType }
  /** `at`: index of the first name that may be missing. */
  | { readonly how: 'maybe'; readonly type: RecordType; readonly at: number }
  /** `near`: a known name that differs from the name `at` by little. */
  | { readonly how: 'unknown'; readonly near?: { readonly at: number; readonly owner: ObjectType } }
  | { readonly how: 'absent'; readonly at: number; readonly owner: RecordType }

/** Reads a path in a value of the type. */
export function readPath(root: RecordType, names: readonly string[]): Found {
  let type = root
  let maybe: number | undefined
  for (const [at, name] of names.entries()) {
    if (type.kind === 'any') return { how: 'unknown' }
    // A field of a list may be an index.
    if (type.kind === 'list') {
      if (!/^\d+$/.test(name)) return { how: 'unknown' }
      type = type.items
      continue
    }
    if (type.kind === 'scalar') return type.of.includes('null') ? { how: 'unknown' } : { how: 'absent', at, owner: type }
    const field = type.fields.get(name)
    if (!field)
      return type.open && !type.removed?.has(name) ? { how: 'unknown', near: { at, owner: type } } : { how: 'absent', at, owner: type }
    if (field.presence === 'either') return field.type.kind === 'any' ? { how: 'unknown' } : rest(field.type, names, at)
    if (field.presence === 'maybe') maybe ??= at
    type = field.type
  }
  return maybe === undefined ? { how: 'known', type } : { how: 'maybe', type, at: maybe }
}

/** Below a field that only some records have, only what no record has is an error. */
function rest(type: RecordType, names: readonly string[], at: number): Found {
  const found = readPath(type, names.slice(at + 1))
  return found.how === 'maybe' ? { how: 'known', type: found.type } : found.how === 'absent' ? { ...found, at: found.at + at + 1 } : found
}

export function typeAt(root: RecordType, names: readonly string[]): RecordType {
  const found = readPath(root, names)
  return 'type' in found ? found.type : ANY
}

/** The type with another field at a path; undefined: without it. */
export function withField(root: RecordType, [name, ...below]: readonly string[], field: Field | undefined): RecordType {
  if (root.kind !== 'object') return root
  const fields = new Map(root.fields)
  if (below.length > 0) {
    const inner = fields.get(name)
    if (inner) fields.set(name, { ...inner, type: withField(inner.type, below, field) })
    else if (field) fields.set(name, always(withField(objectOf([], root.open), below, field)))
    else if (root.open) fields.set(name, { type: withField(objectOf([], true), below, undefined), presence: 'either' })
    return { ...root, fields }
  }
  const removed = new Set(root.removed)
  if (field) {
    fields.set(name, field)
    removed.delete(name)
  } else {
    fields.delete(name)
    if (root.open) removed.add(name)
  }
  const { removed: _, ...rest } = root
  return { ...rest, fields, ...(removed.size > 0 && { removed }) }
}

/** Fields that may be missing: nothing is claimed of them any more. */
export function unsure(type: RecordType): RecordType {
  if (type.kind !== 'object') return type
  const fields = [...type.fields].map(([name, f]): [string, Field] => [
    name,
    { type: unsure(f.type), presence: f.presence === 'maybe' ? 'either' : f.presence },
  ])
  return { ...type, fields: new Map(fields) }
}

const WORDS: Readonly<Record<ScalarName, string>> = { string: 'text', number: 'a number', boolean: 'a boolean', null: 'null' }

/** In plain words: `a number`, `an object with the fields a, b`. */
export function typeText(type: RecordType): string {
  if (type.kind === 'scalar') return type.of.map(name => WORDS[name]).join(' or ')
  return type.kind === 'list' ? 'a list' : type.kind === 'object' ? 'an object' : 'any value'
}

export const isOnly = (type: RecordType, name: ScalarName): boolean => type.kind === 'scalar' && type.of.length === 1 && type.of[0] === name

export interface Read {
  /** The value that has the first name: the record, or an element of a list. */
  readonly root: RecordType
  readonly names: readonly string[]
  readonly ranges: readonly { readonly start: number; readonly end: number }[]
  /** The expression allows for a missing field: `has(…)`, `.?`. */
  readonly safe: boolean
}

export interface Inferred {
  readonly type: RecordType
  readonly reads: readonly Read[]
  /** Operands whose known types never work together. */
  readonly problems: readonly ExpressionProblem[]
}

/** As `inferExpression`, for a path: it needs no parser. */
export function inferPath(text: string, record: RecordType): Inferred {
  const names = text.split('.')
  let at = 0
  const ranges = names.map(name => ({ start: at, end: (at += name.length + 1) - 1 }))
  return { type: typeAt(record, names), reads: [{ root: record, names, ranges, safe: false }], problems: [] }
}
