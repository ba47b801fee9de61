/**
 * The origin of the numbers that reach each sink, as far as the file shows it: unchanged, computed in decimal, rounded, or
 * binary. Unknown numbers, such as those of a plugin, are omitted.
 */
import type { Pipeline, SinkStep, Step } from '../config/model.ts'
import { sinksOf, walk } from '../config/route.ts'
import { type NumberUse, numberUse } from '../expressions/index.ts'

/** `untouched`: all digits as read. `exact`: decimal, not rounded. `rounded`: decimal, rounded to the digits of the step. `binary`: a double. */
export type NumberKind = 'untouched' | 'exact' | 'rounded' | 'binary'

export interface SinkNumbers {
  readonly sink: string
  /** By path of the field. */
  readonly fields: Readonly<Record<string, NumberKind>>
  /** All other fields; undefined: none, or unknown. */
  readonly others?: NumberKind
}

/** Null: not a number; undefined: unknown. */
type Known = NumberKind | null | undefined

/** From best to worst; unknown is worse than all. */
const ORDER: readonly Known[] = [null, 'untouched', 'exact', 'rounded', 'binary', undefined]
const worst = (...kinds: readonly Known[]): Known => ORDER[Math.max(0, ...kinds.map(k => ORDER.indexOf(k)))]

/** The kinds of fields by path, and the kind of all others. */
class Value {
  readonly fields: ReadonlyMap<string, Known>
  readonly others: Known

  constructor(fields: Iterable<readonly [string, Known]>, others: Known) {
    this.fields = new Map(fields)
    this.others = others
  }

  /** The value at a path. */
  at(path: string): Value {
    if (path === '') return this
    const inner: [string, Known][] = []
    let others = this.others
    for (const [name, kind] of this.fields) {
      if (name === path) return new Value([], kind)
      if (name.startsWith(`${path}.`)) inner.push([name.slice(path.length + 1), kind])
      else if (path.startsWith(`${name}.`)) others = kind
    }
    return new Value(inner, others)
  }

  /** The worst kind of all numbers in the value. */
  get all(): Known {
    return worst(this.others, ...this.fields.values())
  }

  /** A copy with another value at a path. */
  with(path: string, value: Value): Value {
    const kept = [...this.without([path]).fields]
    const inner =
      value.fields.size === 0
        ? [[path, value.others] as const]
        : [...value.fields].map(([name, kind]) => [`${path}.${name}`, kind] as const)
    return new Value(
      [...kept, ...inner, ...(value.fields.size > 0 && value.others !== null ? [[`${path}.*`, value.others] as const] : [])],
      this.others,
    )
  }

  without(paths: readonly string[]): Value {
    return new Value(
      [...this.fields].filter(([name]) => !paths.some(p => name === p || name.startsWith(`${p}.`))),
      this.others,
    )
  }

  /** The worse kind of each field in both values. */
  or(other: Value): Value {
    const names = new Set([...this.fields.keys(), ...other.fields.keys()])
    return new Value(
      Array.from(names, name => [name, worst(this.at(name).all, other.at(name).all)] as const),
      worst(this.others, other.others),
    )
  }
}

const UNKNOWN = new Value([], undefined)
const READ = new Value([], 'untouched')
const NOTHING = new Value([], null)
const plain = (kind: Known): Value => new Value([], kind)

export function numbersOfSinks({ sources, transforms, sinks }: Pipeline): SinkNumbers[] {
  const after = new Map<string, Value>()
  const read = sources.every(s => !s.foreign) ? READ : UNKNOWN
  for (const s of sources) after.set(s.name, read)
  /** What the sinks of branches receive, by step and port. */
  const ported = new Map<string, Value>()
  const end = walk(transforms, read, {
    step(step, value) {
      const made = through(step, value)
      // Messages for which `when` is false pass unchanged.
      const out = step.when === undefined ? made : made.or(value)
      after.set(step.name, out)
      return out
    },
    end(route, branch, value) {
      for (const sink of sinksOf(branch)) {
        const id = `${route.name}.${sink}`
        ported.set(id, ported.get(id)?.or(value) ?? value)
      }
    },
    join: arrivals => (arrivals.length === 0 ? UNKNOWN : arrivals.reduce((a, b) => a.or(b))),
  })
  const into = ({ from }: SinkStep): Value => {
    if (from === undefined) return end
    return (from.port === undefined ? after.get(from.step) : ported.get(`${from.step}.${from.port}`)) ?? UNKNOWN
  }
  return sinks.map(sink => describe(sink, into(sink)))
}

function describe(sink: SinkStep, value: Value): SinkNumbers {
  const seen = sink.type === 'postgres' ? columnsOf(sink, value) : value
  const known = [...seen.fields].filter((entry): entry is [string, NumberKind] => entry[1] !== null && entry[1] !== undefined)
  return {
    sink: sink.name,
    fields: Object.fromEntries(known),
    ...(seen.others !== null && seen.others !== undefined && { others: seen.others }),
  }
}

function through(step: Step, value: Value): Value {
  const c = (step.config ?? {}) as Record<string, any>
  if (step.foreign) return UNKNOWN
  switch (step.type) {
    case 'filter':
    case 'dedupe':
    case 'rekey':
    case 'validate':
    case 'throttle':
    case 'revive':
    case 'route':
      return value
    case 'map':
      return mapped(c, value)
    case 'envelope': {
      const { timestamp, producer_service, data } = c.names as Record<string, string>
      return c.unwrap
        ? value.at(data)
        : new Value(
            [
              [timestamp, null],
              [producer_service, null],
            ],
            null,
          ).with(data, value)
    }
    case 'unnest': {
      const element = plain(value.at(c.field as string).all)
      if (c.as === undefined && c.keep === undefined) return element
      return keeping(c.keep as string[] | undefined, value, c.as === undefined ? element : NOTHING.with(c.as as string, element))
    }
    case 'group': {
      const items = plain(c.field === undefined ? value.all : value.at(c.field as string).all)
      return keeping(
        c.keep as string[] | undefined,
        value,
        NOTHING.with(c.key_as as string, plain(made(c.key as string, c.field === undefined ? value : items).all)).with(
          c.as as string,
          items,
        ),
      )
    }
    case 'join_latest':
      return c.as === undefined
        ? UNKNOWN
        : value.with(c.as as string, c.value === undefined ? plain(value.all) : plain(made(c.value as string, value).all))
    case 'lookup':
    case 'lookup_file':
    case 'lookup_http':
    case 'lookup_redis':
      // Exact numbers of a row of `lookup` are strings; the others keep the digits of numbers.
      return value.with(c.as as string, plain('untouched'))
    case 'window':
      return windowed(c.aggregates as Record<string, Record<string, string>>, value)
    case 'bars':
      return value.all === undefined ? UNKNOWN : BAR.or(plain(value.all === 'binary' ? 'binary' : null))
    default:
      return UNKNOWN
  }
}

const BAR = new Value([...['open', 'high', 'low', 'close', 'volume'].map(name => [name, 'exact'] as const), ['vwap', 'rounded']], null)

function made(text: string, value: Value): Value {
  const use = numberUse(text)
  return use ? applied(use, value) : UNKNOWN
}

function applied({ how, reads, path, fields }: NumberUse, value: Value): Value {
  if (path !== undefined) return value.at(path)
  if (fields) return Object.entries(fields).reduce((object, [name, use]) => object.with(name, applied(use, value)), NOTHING)
  if (how === 'none') return NOTHING
  const read = reads.map(r => value.at(r).all)
  if (read.includes(undefined)) return how === 'binary' ? plain('binary') : UNKNOWN
  return plain(worst(how === 'copied' ? null : how, ...read))
}

type Shape = { readonly [name: string]: string | Shape }

function mapped(c: Record<string, any>, value: Value): Value {
  if (c.value !== undefined) return made(c.value as string, value)
  const set = (into: Value, fields: Shape, prefix: string): Value =>
    Object.entries(fields).reduce(
      (object, [name, of]) =>
        typeof of === 'string' ? object.with(`${prefix}${name}`, made(of, value)) : set(object, of, `${prefix}${name}.`),
      into,
    )
  return set(c.keep ? value.without((c.drop as string[] | undefined) ?? []) : NOTHING, (c.fields ?? {}) as Shape, '')
}

function keeping(paths: readonly string[] = [], from: Value, into: Value): Value {
  return paths.reduce((object, path) => object.with(path.slice(path.lastIndexOf('.') + 1), from.at(path)), into)
}

function windowed(aggregates: Record<string, Record<string, string>>, value: Value): Value {
  return Object.entries(aggregates).reduce((object, [name, aggregate]) => {
    const [[how, field]] = Object.entries(aggregate)
    const read = how === 'count' ? undefined : value.at(field).all
    if (how === 'count') return object.with(name, plain('exact'))
    if (read === undefined) return object.with(name, UNKNOWN)
    if (how === 'sum') return object.with(name, plain(worst('exact', read)))
    if (how === 'avg') return object.with(name, plain(worst('rounded', read)))
    return object.with(name, value.at(field))
  }, NOTHING)
}

/** A column has the kind of its expression; a plain field keeps its digits. */
function columnsOf(sink: SinkStep, value: Value): Value {
  const { columns } = (sink.config ?? {}) as { columns?: readonly string[] | Record<string, string> }
  if (columns === undefined) return value
  const entries = Array.isArray(columns) ? columns.map(name => [name, name] as const) : Object.entries(columns as Record<string, string>)
  return entries.reduce((row, [column, of]) => row.with(column, made(of, value)), NOTHING)
}
