/**
 * Parts of a compiled schema: checks of a value, the run with path, scope and evaluated fields, and the keywords that depend on no
 * other schema. `compile.ts` combines them.
 */
import { compareNumbers, ExactNumber } from '../../contract/plugin.ts'
import { isRecord } from '../../kit/values/records.ts'
import type { Resource, SchemaObject } from './documents.ts'
import { isInteger, multipleOf } from './values.ts'

/** The first twenty failures, and their number. */
export class Failures {
  readonly list: string[] = []
  count = 0
  /** The failure with the longest path is the most specific. */
  deepest: { readonly path: readonly (string | number)[]; readonly message: string } | undefined
  add(path: readonly (string | number)[], message: string): void {
    if (!this.deepest || path.length > this.deepest.path.length) this.deepest = { path: [...path], message }
    if (++this.count > 20) return
    const place = path.length === 0 ? 'the value' : `/${path.map(p => String(p).replaceAll('~', '~0').replaceAll('/', '~1')).join('/')}`
    this.list.push(`${place} ${message}`)
  }
}

/** Fields and items that a schema has evaluated, for `unevaluated…`. */
class Evaluated {
  readonly names = new Set<string>()
  readonly items = new Set<number>()
  /** Items before this index are evaluated. */
  upTo = 0
  merge(other: Evaluated): void {
    for (const n of other.names) this.names.add(n)
    for (const i of other.items) this.items.add(i)
    this.upTo = Math.max(this.upTo, other.upTo)
  }
}

export interface Scope {
  readonly resource: Resource
  readonly outer: Scope | null
}

/** One validation of one value. */
export class Run {
  /** Undefined: stop at the first failure. */
  failures: Failures | undefined
  readonly path: (string | number)[] = []
  /** Resources entered so far, innermost first. */
  scope: Scope
  evaluated: Evaluated | undefined
  /** Number of references followed. */
  steps = 0
  constructor(resource: Resource, failures?: Failures) {
    this.scope = { resource, outer: null }
    this.failures = failures
  }
  fail(message: string): false {
    this.failures?.add(this.path, message)
    return false
  }
}

export class TooManySteps extends Error {}
/** A schema that refers to itself in several alternatives can take exponential time. */
const MAX_STEPS = 5_000_000

export type Check = (value: any, run: Run) => boolean

export const pass: Check = () => true

/** Counts each followed reference. */
export const limited =
  (check: Check): Check =>
  (v, run) => {
    if (++run.steps > MAX_STEPS) throw new TooManySteps()
    return check(v, run)
  }

type Kind = 'string' | 'number' | 'object' | 'array'
export type Checks = Record<Kind | 'any', Check[]>

const isNumber = (v: unknown): v is number | ExactNumber => typeof v === 'number' || v instanceof ExactNumber

export const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: v => typeof v === 'string',
  number: isNumber,
  integer: v => (typeof v === 'number' ? Number.isInteger(v) : v instanceof ExactNumber && isInteger(v)),
  boolean: v => typeof v === 'boolean',
  null: v => v === null || v === undefined,
  array: Array.isArray,
  object: isRecord,
}

export const plural = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`

/** Checks of a count; an absent bound is not checked. */
export function counting<V>(min: unknown, max: unknown, noun: string, count: (v: V) => number): Check[] {
  const checks: Check[] = []
  if (min !== undefined) {
    const message = `must have at least ${plural(Number(min), noun)}`
    checks.push((v: V, run) => count(v) >= Number(min) || run.fail(message))
  }
  if (max !== undefined) {
    const message = `must have at most ${plural(Number(max), noun)}`
    checks.push((v: V, run) => count(v) <= Number(max) || run.fail(message))
  }
  return checks
}

/** Names of fields with a value, which JSON would include. */
export const namesOf = (v: SchemaObject): string[] => {
  const names = Object.keys(v)
  return names.some(n => v[n] === undefined) ? names.filter(n => v[n] !== undefined) : names
}
const has = (v: SchemaObject, name: string): boolean => v[name] !== undefined && Object.hasOwn(v, name)

/** A field is the object's own if its prototype has none of this name; this avoids `hasOwn`, which takes 10 ns. */
const isInherited = (name: string): boolean => name in Object.prototype
const isForeign = (v: SchemaObject): boolean => Object.getPrototypeOf(v) !== Object.prototype

/** Checks for all values and for the type of the value. @param type of the schema, checked in `any` */
export function together(checks: Checks, type: unknown): Check {
  const check = byType(checks)
  if (checks.any.length !== 1 || typeof type !== 'string') return check
  // Most schemas have one type, and most values have it.
  const { string, number, object, array } = checks
  switch (type) {
    case 'string': {
      const next = sequence(string)
      return (v, run) => (typeof v === 'string' ? next(v, run) : check(v, run))
    }
    case 'number': {
      const next = sequence(number)
      return (v, run) => (typeof v === 'number' ? next(v, run) : check(v, run))
    }
    case 'integer': {
      const next = sequence(number)
      return (v, run) => (Number.isInteger(v) ? next(v, run) : check(v, run))
    }
    case 'object': {
      const next = sequence(object)
      return (v, run) => (isRecord(v) ? next(v, run) : check(v, run))
    }
    case 'array': {
      const next = sequence(array)
      return (v, run) => (Array.isArray(v) ? next(v, run) : check(v, run))
    }
    default:
      return check
  }
}

function byType({ any, string, number, object, array }: Checks): Check {
  const all = any.length === 0 ? undefined : sequence(any)
  const [s, n, o, a] = [string, number, object, array].map(sequence)
  if (string.length + number.length + object.length + array.length === 0) return all ?? pass
  const typed: Check = (v, run) => {
    switch (typeof v) {
      case 'string':
        return s(v, run)
      case 'number':
        return n(v, run)
      case 'object':
        if (v === null) return true
        if (Array.isArray(v)) return a(v, run)
        if (v instanceof ExactNumber) return n(v, run)
        return isRecord(v) ? o(v, run) : true
      default:
        return true
    }
  }
  if (!all) return typed
  return (v, run) => {
    if (run.failures) {
      const ok = all(v, run)
      return typed(v, run) && ok
    }
    return all(v, run) && typed(v, run)
  }
}

function sequence(checks: readonly Check[]): Check {
  if (checks.length === 0) return pass
  if (checks.length === 1) return checks[0]
  if (checks.length === 2) {
    const [a, b] = checks
    return (v, run) => {
      const ok = a(v, run)
      return ok || run.failures ? b(v, run) && ok : false
    }
  }
  return (v, run) => {
    let ok = true
    for (let i = 0; i < checks.length; i++) {
      if (checks[i](v, run)) continue
      if (!run.failures) return false
      ok = false
    }
    return ok
  }
}

/** Checks a nested value, with its own path and its own evaluated fields. */
export function inChild(run: Run, key: string | number, check: Check, value: unknown): boolean {
  const { evaluated, failures } = run
  run.evaluated = undefined
  if (failures) run.path.push(key)
  const ok = check(value, run)
  if (failures) run.path.pop()
  run.evaluated = evaluated
  return ok
}

/** Checks without recording failures; with `keep`, the evaluated fields of a successful check are kept. */
export function silently(run: Run, check: Check, value: unknown, keep: boolean): boolean {
  const { failures, evaluated } = run
  run.failures = undefined
  run.evaluated = keep && evaluated ? new Evaluated() : undefined
  const ok = check(value, run)
  if (ok && run.evaluated) evaluated!.merge(run.evaluated)
  run.failures = failures
  run.evaluated = evaluated
  return ok
}

export function withEvaluated(check: Check, unevaluated: readonly Check[]): Check {
  return (v, run) => {
    if (typeof v !== 'object' || v === null) return check(v, run)
    const outer = run.evaluated
    run.evaluated = new Evaluated()
    let ok = check(v, run)
    for (const next of unevaluated) if (ok || run.failures) ok = next(v, run) && ok
    if (ok) outer?.merge(run.evaluated)
    run.evaluated = outer
    return ok
  }
}

export function alternatives(checks: readonly Check[], exactly: boolean): Check {
  return (v, run) => {
    let matches = 0
    for (const check of checks) {
      if (silently(run, check, v, true)) matches++
      // Every matching alternative adds its evaluated fields, so all must run.
      if (exactly ? matches > 1 : matches > 0 && !run.evaluated) break
    }
    if (matches > 1 && exactly) return run.fail('must match exactly one schema in oneOf, and matches several')
    if (matches > 0) return true
    if (run.failures) for (const check of checks) check(v, run)
    return run.fail(exactly ? 'must match exactly one schema in oneOf' : 'must match a schema in anyOf')
  }
}

export function numberKeywords(schema: SchemaObject, checks: Check[]): void {
  const bounds = [
    ['minimum', '>=', (c: number) => c >= 0],
    ['maximum', '<=', (c: number) => c <= 0],
    ['exclusiveMinimum', '>', (c: number) => c > 0],
    ['exclusiveMaximum', '<', (c: number) => c < 0],
  ] as const
  for (const [key, sign, test] of bounds) {
    const given = schema[key]
    if (!isNumber(given)) continue
    const message = `must be ${sign} ${given}`
    const limit = given instanceof ExactNumber ? (given.plain ?? given) : given
    checks.push(
      (v: number | ExactNumber, run) =>
        (typeof v === 'number' && typeof limit === 'number' ? test(v < limit ? -1 : v > limit ? 1 : 0) : test(compareNumbers(v, limit))) ||
        run.fail(message),
    )
  }
  const step = schema.multipleOf
  if (isNumber(step)) {
    const test = multipleOf(step)
    const message = `must be multiple of ${step}`
    checks.push((v: number | ExactNumber, run) => test(v) || run.fail(message))
  }
}

export function items(v: readonly unknown[], run: Run, first: readonly Check[], others: Check | undefined): boolean {
  let ok = true
  const end = others ? v.length : Math.min(first.length, v.length)
  for (let i = 0; i < end; i++) {
    if (inChild(run, i, i < first.length ? first[i] : others!, v[i])) continue
    if (!run.failures) return false
    ok = false
  }
  return ok
}

export function containing(schema: SchemaObject, check: Check, evaluates: boolean): Check {
  const min = schema.minContains === undefined ? 1 : Number(schema.minContains)
  const max = schema.maxContains === undefined ? Number.POSITIVE_INFINITY : Number(schema.maxContains)
  const few = `must have at least ${plural(min, 'item')} that match contains`
  const many = `must have at most ${plural(max, 'item')} that match contains`
  return (v: readonly unknown[], run) => {
    let count = 0
    for (let i = 0; i < v.length; i++) {
      if (!silently(run, check, v[i], false)) continue
      count++
      if (evaluates) run.evaluated?.items.add(i)
      if (max === Number.POSITIVE_INFINITY && count >= min && !(evaluates && run.evaluated)) return true
    }
    return (count >= min || run.fail(few)) && (count <= max || run.fail(many))
  }
}

export function requiring(names: readonly string[], because: string): Check {
  const inherited = names.map(isInherited)
  const suffix = because === '' ? '' : `, since it has '${because}'`
  return (v: SchemaObject, run) => {
    let ok = true
    const foreign = isForeign(v)
    for (let i = 0; i < names.length; i++) {
      if (foreign || inherited[i] ? has(v, names[i]) : v[names[i]] !== undefined) continue
      if (!run.failures) return false
      ok = run.fail(`must have the field '${names[i]}'${suffix}`)
    }
    return ok
  }
}

export const dependent =
  (name: string, check: Check): Check =>
  (v: SchemaObject, run) =>
    !has(v, name) || check(v, run)

export function named(properties: readonly (readonly [string, Check])[]): Check {
  const names = properties.map(([n]) => n)
  const checks = properties.map(([, c]) => c)
  const inherited = names.map(isInherited)
  return (v: SchemaObject, run) => {
    let ok = true
    const foreign = isForeign(v)
    for (let i = 0; i < names.length; i++) {
      const name = names[i]
      const value = v[name]
      if (value === undefined || ((foreign || inherited[i]) && !Object.hasOwn(v, name))) continue
      run.evaluated?.names.add(name)
      if (run.failures || run.evaluated ? inChild(run, name, checks[i], value) : checks[i](value, run)) continue
      if (!run.failures) return false
      ok = false
    }
    return ok
  }
}

export function matching(patterns: readonly (readonly [(text: string) => boolean, Check])[]): Check {
  return (v: SchemaObject, run) => {
    let ok = true
    for (const name of namesOf(v)) {
      for (const [test, check] of patterns) {
        if (!test(name)) continue
        run.evaluated?.names.add(name)
        if (inChild(run, name, check, v[name])) continue
        if (!run.failures) return false
        ok = false
      }
    }
    return ok
  }
}

/** Checks fields that match neither `properties` nor a pattern. */
export function others(
  names: ReadonlySet<string>,
  patterns: readonly ((text: string) => boolean)[],
  check: Check | false | undefined,
): Check {
  return (v: SchemaObject, run) => {
    let ok = true
    if (check === undefined && !run.evaluated) return true
    for (const name in v) {
      if (names.has(name) || v[name] === undefined || !Object.hasOwn(v, name) || patterns.some(test => test(name))) continue
      run.evaluated?.names.add(name)
      if (check === undefined) continue
      if (check === false ? run.fail(`must not have the field '${name}'`) : inChild(run, name, check, v[name])) continue
      if (!run.failures) return false
      ok = false
    }
    return ok
  }
}
