/**
 * A JSON Schema as a function of a value. Numbers of any size are compared by their decimal value, patterns and formats take linear time,
 * and the rules of each draft hold, `unevaluated…` and `$dynamicRef` among them.
 */
import { compareNumbers, encodeJson, ExactNumber } from '../../contract/plugin.ts'
import { suggest } from '../../kit/text/suggest.ts'
import { isRecord } from '../../kit/values/records.ts'
import { isAnnotation, keywordProblem, KEYWORDS } from './dialects.ts'
import { type Documents, type Path, type Resource, type SchemaObject, SchemaProblem } from './documents.ts'
import { FORMATS } from './formats.ts'
import { compilePattern, PatternError } from '../../kit/text/pattern.ts'
import { codePoints, firstDouble, isInteger, multipleOf, oneOf } from './values.ts'

/** What has been found wrong: the first twenty, and how many. */
export class Failures {
  readonly list: string[] = []
  count = 0
  /** The one that is furthest inside says the most. */
  deepest: { readonly path: readonly (string | number)[]; readonly message: string } | undefined
  add(path: readonly (string | number)[], message: string): void {
    if (!this.deepest || path.length > this.deepest.path.length) this.deepest = { path: [...path], message }
    if (++this.count > 20) return
    const place = path.length === 0 ? 'the value' : `/${path.map(p => String(p).replaceAll('~', '~0').replaceAll('/', '~1')).join('/')}`
    this.list.push(`${place} ${message}`)
  }
}

/** Fields and items that a schema has looked at, for `unevaluated…`. */
class Evaluated {
  readonly names = new Set<string>()
  readonly items = new Set<number>()
  /** Items before this one. */
  upTo = 0
  merge(other: Evaluated): void {
    for (const n of other.names) this.names.add(n)
    for (const i of other.items) this.items.add(i)
    this.upTo = Math.max(this.upTo, other.upTo)
  }
}

interface Scope {
  readonly resource: Resource
  readonly outer: Scope | null
}

/** One look at one value. */
export class Run {
  /** Undefined: stop at the first failure. */
  failures: Failures | undefined
  readonly path: (string | number)[] = []
  /** Resources entered on the way here. */
  scope: Scope
  evaluated: Evaluated | undefined
  /** References followed. */
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

interface Node {
  check: Check
  /** Nodes that look at the same value. */
  readonly same: Node[]
  readonly schema: unknown
  readonly path: Path
}

const pass: Check = () => true

type Kind = 'string' | 'number' | 'object' | 'array'
type Checks = Record<Kind | 'any', Check[]>

const isNumber = (v: unknown): v is number | ExactNumber => typeof v === 'number' || v instanceof ExactNumber

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  string: v => typeof v === 'string',
  number: isNumber,
  integer: v => (typeof v === 'number' ? Number.isInteger(v) : v instanceof ExactNumber && isInteger(v)),
  boolean: v => typeof v === 'boolean',
  null: v => v === null || v === undefined,
  array: Array.isArray,
  object: isRecord,
}

export interface CompileOptions {
  /** False: formats are annotations. */
  readonly formats: boolean
  /** Keywords that no draft knows: for the drafts' own schemas. */
  readonly lenient?: boolean
}

export class Compiler {
  private readonly documents: Documents
  private readonly options: CompileOptions
  private readonly nodes = new Map<unknown, Node>()
  private readonly order: Node[] = []
  /** Checks a schema that a reference leads to. */
  private readonly inspect: (schema: unknown, resource: Resource, path: Path) => void

  constructor(documents: Documents, options: CompileOptions, inspect: (schema: unknown, resource: Resource, path: Path) => void) {
    this.documents = documents
    this.options = options
    this.inspect = inspect
  }

  /** @throws {SchemaProblem} */
  compile(root: Resource): Check {
    const node = this.node(root.root, root, [])
    this.refuseLoops()
    return node.check
  }

  private node(schema: unknown, resource: Resource, path: Path): Node {
    const key = isRecord(schema) ? schema : undefined
    const known = key && this.nodes.get(key)
    if (known) return known
    const node: Node = { check: pass, same: [], schema, path }
    if (key) {
      this.nodes.set(key, node)
      this.order.push(node)
      // Called by way of the node until it is complete: it may refer to itself.
      node.check = (v, run) => inner(v, run)
    }
    const inner = this.schema(schema, resource, path, node)
    node.check = inner
    return node
  }

  /** A schema inside a schema; `same`: it looks at the same value. */
  private sub(schema: unknown, from: Resource, path: Path, parent: Node, same: boolean): Check {
    const resource = isRecord(schema) ? this.documents.placeOf(schema).resource : from
    const node = this.node(schema, resource, path)
    if (same) parent.same.push(node)
    return this.entering(node, resource, from)
  }

  private entering(node: Node, resource: Resource, from: Resource): Check {
    if (resource === from) return (v, run) => node.check(v, run)
    return (v, run) => {
      const { scope } = run
      run.scope = { resource, outer: scope }
      const ok = node.check(v, run)
      run.scope = scope
      return ok
    }
  }

  private schema(schema: unknown, resource: Resource, path: Path, node: Node): Check {
    if (schema === true) return pass
    if (schema === false) return (_, run) => run.fail('is not allowed')
    if (!isRecord(schema)) throw this.problem('not a JSON Schema: it must be an object or a boolean', resource, path)
    const checks: Checks = { any: [], string: [], number: [], object: [], array: [] }
    const at = (...more: (string | number)[]): Path => [...path, ...more]
    this.refuseUnknown(schema, resource, path)
    if (typeof schema.$ref === 'string') checks.any.push(this.reference(schema.$ref, resource, at('$ref'), node))
    if (resource.dialect !== 'draft-07' || schema.$ref === undefined) {
      if (typeof schema.$dynamicRef === 'string')
        checks.any.push(this.dynamicReference(schema.$dynamicRef, resource, at('$dynamicRef'), node))
      if (typeof schema.$recursiveRef === 'string') checks.any.push(this.recursiveReference(resource, at('$recursiveRef'), node))
      this.anyKeywords(schema, checks, resource, at)
      numberKeywords(schema, checks.number)
      this.stringKeywords(schema, checks, resource, at)
      this.arrayKeywords(schema, checks.array, resource, at, node)
      this.objectKeywords(schema, checks.object, resource, at, node)
      this.combinators(schema, checks.any, resource, at, node)
    }
    const all = together(checks)
    const unevaluated = this.unevaluated(schema, resource, at, node)
    return unevaluated.length > 0 ? withEvaluated(all, unevaluated) : all
  }

  private problem(message: string, resource: Resource, path: Path, suggestion?: string): SchemaProblem {
    return new SchemaProblem(message, path, resource.document.name, suggestion)
  }

  private refuseUnknown(schema: SchemaObject, resource: Resource, path: Path): void {
    if (this.options.lenient) return
    const { dialect } = resource
    for (const keyword of Object.keys(schema)) {
      const problem = keywordProblem(keyword, dialect)
      if (problem === undefined) continue
      if (problem !== '') throw this.problem(problem, resource, [...path, keyword])
      const meant = suggest(keyword, KEYWORDS)
      throw this.problem(
        `unknown keyword ${keyword}${meant === undefined ? `; a keyword of your own begins with x-` : ''}`,
        resource,
        [...path, keyword],
        meant,
      )
    }
    const idle = (keyword: string, needs: string): void => {
      if (keyword in schema) throw this.problem(`${keyword} has no effect without ${needs}`, resource, [...path, keyword])
    }
    if (dialect === 'draft-07' && '$ref' in schema) {
      const beside = Object.keys(schema).find(k => k !== '$ref' && !isAnnotation(k))
      if (beside !== undefined)
        throw this.problem(
          `${beside} has no effect beside $ref in draft-07; put both into allOf, or begin the schema with "$schema": "https://json-schema.org/draft/2020-12/schema"`,
          resource,
          [...path, beside],
        )
    }
    if (!('if' in schema)) for (const k of ['then', 'else']) idle(k, 'if')
    if (!('contains' in schema)) for (const k of ['minContains', 'maxContains']) idle(k, 'contains')
    if (!Array.isArray(schema.items)) idle('additionalItems', 'a list of items')
  }

  private reference(ref: string, from: Resource, at: Path, parent: Node): Check {
    const { schema, resource } = this.documents.resolve(ref, from, at)
    return this.target(schema, resource, from, at, parent)
  }

  private target(schema: unknown, resource: Resource, from: Resource, at: Path, parent: Node): Check {
    const path = isRecord(schema) ? (this.documents.placeOf(schema)?.path ?? at) : at
    if (!isRecord(schema) || !this.nodes.has(schema)) this.inspect(schema, resource, path)
    const node = this.node(schema, resource, path)
    parent.same.push(node)
    const check = this.entering(node, resource, from)
    return (v, run) => {
      if (++run.steps > MAX_STEPS) throw new TooManySteps()
      return check(v, run)
    }
  }

  private dynamicReference(ref: string, from: Resource, at: Path, parent: Node): Check {
    const { schema, resource } = this.documents.resolve(ref, from, at)
    const fixed = this.target(schema, resource, from, at, parent)
    const name = decodeURIComponent(/#(.*)$/s.exec(ref)?.[1] ?? '')
    if (!isRecord(schema) || schema.$dynamicAnchor !== name || name === '') return fixed
    const targets = new Map<Resource, Check>()
    // Looked for when it is used: resources may come later.
    return (v, run) => {
      let found: Resource | undefined
      for (let s: Scope | null = run.scope; s; s = s.outer) if (s.resource.dynamicAnchors.has(name)) found = s.resource
      if (!found) return fixed(v, run)
      return this.late(targets, found, found.dynamicAnchors.get(name), at)(v, run)
    }
  }

  private recursiveReference(from: Resource, at: Path, parent: Node): Check {
    const fixed = this.target(from.root, from, from, at, parent)
    if (!isRecord(from.root) || from.root.$recursiveAnchor !== true) return fixed
    const targets = new Map<Resource, Check>()
    return (v, run) => {
      let found: Resource | undefined
      for (let s: Scope | null = run.scope; s; s = s.outer)
        if (isRecord(s.resource.root) && s.resource.root.$recursiveAnchor === true) found = s.resource
      return found ? this.late(targets, found, found.root, at)(v, run) : fixed(v, run)
    }
  }

  private late(targets: Map<Resource, Check>, resource: Resource, schema: unknown, at: Path): Check {
    let check = targets.get(resource)
    if (!check) {
      const node = this.node(schema, resource, isRecord(schema) ? this.documents.placeOf(schema).path : at)
      targets.set(resource, (check = this.limited(node, resource)))
    }
    return check
  }

  private limited(node: Node, resource: Resource): Check {
    return (v, run) => {
      if (++run.steps > MAX_STEPS) throw new TooManySteps()
      const { scope } = run
      run.scope = { resource, outer: scope }
      const ok = node.check(v, run)
      run.scope = scope
      return ok
    }
  }

  private anyKeywords(schema: SchemaObject, { any }: Checks, resource: Resource, at: (...more: (string | number)[]) => Path): void {
    const { type, nullable } = schema
    if (type !== undefined) {
      const names = [...new Set([...(Array.isArray(type) ? (type as string[]) : [type as string]), ...(nullable === true ? ['null'] : [])])]
      const message = `must be ${names.join(' or ')}`
      const tests = names.map(n => TYPES[n])
      const [only] = tests
      any.push(tests.length === 1 ? (v, run) => only(v) || run.fail(message) : (v, run) => tests.some(t => t(v)) || run.fail(message))
    } else if (nullable !== undefined) throw this.problem('nullable has no effect without type', resource, at('nullable'))
    if (Array.isArray(schema.enum)) {
      const is = oneOf(schema.enum)
      const message = `must be one of ${schema.enum.map(v => encodeJson(v)).join(', ')}`
      any.push((v, run) => is(v) || run.fail(message))
    }
    if ('const' in schema) {
      const is = oneOf([schema.const])
      const message = `must be ${encodeJson(schema.const)}`
      any.push((v, run) => is(v) || run.fail(message))
    }
  }

  private stringKeywords(schema: SchemaObject, checks: Checks, resource: Resource, at: (...more: (string | number)[]) => Path): void {
    const { string } = checks
    if (schema.minLength !== undefined) {
      const min = Number(schema.minLength)
      const message = `must have at least ${plural(min, 'character')}`
      string.push((s: string, run) => s.length >= 2 * min || (s.length >= min && codePoints(s) >= min) || run.fail(message))
    }
    if (schema.maxLength !== undefined) {
      const max = Number(schema.maxLength)
      const message = `must have at most ${plural(max, 'character')}`
      string.push((s: string, run) => s.length <= max || (s.length <= 2 * max && codePoints(s) <= max) || run.fail(message))
    }
    if (typeof schema.pattern === 'string') {
      const test = this.pattern(schema.pattern, resource, at('pattern'))
      const message = `must match pattern ${JSON.stringify(schema.pattern)}`
      string.push((s: string, run) => test(s) || run.fail(message))
    }
    if (typeof schema.format === 'string' && this.options.formats) {
      const format = Object.hasOwn(FORMATS, schema.format) ? FORMATS[schema.format] : undefined
      if (!format)
        throw this.problem(
          `unknown format ${schema.format}; write a pattern instead, or \`formats: ignore\` in this step, which checks no format`,
          resource,
          at('format'),
          suggest(schema.format, Object.keys(FORMATS)),
        )
      const message = `must match format ${JSON.stringify(schema.format)}`
      if ('number' in format) checks.number.push((v: number | ExactNumber, run) => format.number(v) || run.fail(message))
      else string.push((s: string, run) => format.string(s) || run.fail(message))
    }
  }

  private pattern(source: string, resource: Resource, path: Path): (text: string) => boolean {
    try {
      return compilePattern(source)
    } catch (error) {
      if (error instanceof PatternError) throw this.problem(error.message, resource, path)
      throw error
    }
  }

  private arrayKeywords(
    schema: SchemaObject,
    checks: Check[],
    resource: Resource,
    at: (...more: (string | number)[]) => Path,
    node: Node,
  ): void {
    const sub = (s: unknown, ...path: (string | number)[]): Check => this.sub(s, resource, at(...path), node, false)
    checks.push(...counting(schema.minItems, schema.maxItems, 'item', (v: unknown[]) => v.length))
    if (schema.uniqueItems === true) {
      checks.push((v: unknown[], run) => {
        const found = firstDouble(v)
        return !found || run.fail(`must have no equal items (items ${found[0]} and ${found[1]} are)`)
      })
    }
    const later = resource.dialect === '2020-12'
    const listKey = later ? 'prefixItems' : 'items'
    const restKey = later ? 'items' : 'additionalItems'
    const list = schema[listKey]
    const first = Array.isArray(list) ? list.map((s, i) => sub(s, listKey, i)) : []
    const rest = Array.isArray(list) || later ? schema[restKey] : schema.items
    const restPath = Array.isArray(list) || later ? restKey : 'items'
    if (rest === false) {
      const most = first.length
      const message = `must have at most ${plural(most, 'item')}`
      checks.push((v: unknown[], run) => v.length <= most || run.fail(message))
    }
    const others = rest === undefined || rest === false ? undefined : sub(rest, restPath)
    if (first.length > 0 || others)
      checks.push((v: unknown[], run) => {
        const ok = items(v, run, first, others)
        const seen = run.evaluated
        if (seen) seen.upTo = Math.max(seen.upTo, others ? v.length : Math.min(first.length, v.length))
        return ok
      })
    if (schema.contains !== undefined) checks.push(containing(schema, sub(schema.contains, 'contains'), later))
  }

  private objectKeywords(
    schema: SchemaObject,
    checks: Check[],
    resource: Resource,
    at: (...more: (string | number)[]) => Path,
    node: Node,
  ): void {
    const sub = (s: unknown, ...path: (string | number)[]): Check => this.sub(s, resource, at(...path), node, false)
    checks.push(...counting(schema.minProperties, schema.maxProperties, 'field', (v: SchemaObject) => namesOf(v).length))
    if (Array.isArray(schema.required)) checks.push(requiring(schema.required as string[], ''))
    for (const [key, list] of Object.entries((schema.dependentRequired ?? {}) as Record<string, string[]>))
      checks.push(dependent(key, requiring(list, key)))
    for (const [key, value] of Object.entries((schema.dependencies ?? {}) as Record<string, unknown>)) {
      checks.push(
        dependent(
          key,
          Array.isArray(value) ? requiring(value as string[], key) : this.sub(value, resource, at('dependencies', key), node, true),
        ),
      )
    }
    for (const [key, s] of Object.entries((schema.dependentSchemas ?? {}) as Record<string, unknown>))
      checks.push(dependent(key, this.sub(s, resource, at('dependentSchemas', key), node, true)))
    const properties = Object.entries((schema.properties ?? {}) as Record<string, unknown>).map(
      ([name, s]) => [name, sub(s, 'properties', name)] as const,
    )
    const patterns = Object.entries((schema.patternProperties ?? {}) as Record<string, unknown>).map(
      ([source, s]) => [this.pattern(source, resource, at('patternProperties', source)), sub(s, 'patternProperties', source)] as const,
    )
    const additional =
      schema.additionalProperties === undefined || schema.additionalProperties === true ? undefined : schema.additionalProperties
    if (schema.propertyNames !== undefined) {
      const check = sub(schema.propertyNames, 'propertyNames')
      checks.push((v: SchemaObject, run) => {
        let ok = true
        for (const name of namesOf(v)) {
          if (inChild(run, name, check, name)) continue
          ok = false
          if (!run.failures) break
        }
        return ok
      })
    }
    if (additional !== undefined || schema.additionalProperties === true)
      checks.push(
        others(
          new Set(properties.map(([n]) => n)),
          patterns.map(([test]) => test),
          additional === undefined ? undefined : additional === false ? false : sub(additional, 'additionalProperties'),
        ),
      )
    if (properties.length > 0) checks.push(named(properties))
    if (patterns.length > 0) checks.push(matching(patterns))
  }

  private combinators(
    schema: SchemaObject,
    any: Check[],
    resource: Resource,
    at: (...more: (string | number)[]) => Path,
    node: Node,
  ): void {
    const sub = (s: unknown, ...path: (string | number)[]): Check => this.sub(s, resource, at(...path), node, true)
    const list = (key: string): Check[] => (Array.isArray(schema[key]) ? (schema[key] as unknown[]).map((s, i) => sub(s, key, i)) : [])
    for (const check of list('allOf')) any.push(check)
    const anyOf = list('anyOf')
    if (anyOf.length > 0) any.push(alternatives(anyOf, false))
    const one = list('oneOf')
    if (one.length > 0) any.push(alternatives(one, true))
    if (schema.not !== undefined) {
      const check = sub(schema.not, 'not')
      any.push((v, run) => !silently(run, check, v, false) || run.fail('must not match the schema in not'))
    }
    if (schema.if !== undefined) {
      const [when, then, otherwise] = [
        sub(schema.if, 'if'),
        schema.then === undefined ? pass : sub(schema.then, 'then'),
        schema.else === undefined ? pass : sub(schema.else, 'else'),
      ]
      any.push((v, run) => (silently(run, when, v, true) ? then(v, run) : otherwise(v, run)))
    }
  }

  private unevaluated(schema: SchemaObject, resource: Resource, at: (...more: (string | number)[]) => Path, node: Node): Check[] {
    if (resource.dialect === 'draft-07') return []
    const out: Check[] = []
    if (schema.unevaluatedItems !== undefined) {
      const check = this.sub(schema.unevaluatedItems, resource, at('unevaluatedItems'), node, false)
      out.push((v, run) => {
        if (!Array.isArray(v)) return true
        const seen = run.evaluated!
        let ok = true
        for (let i = seen.upTo; i < v.length && (ok || run.failures); i++) if (!seen.items.has(i)) ok = inChild(run, i, check, v[i]) && ok
        seen.upTo = v.length
        return ok
      })
    }
    if (schema.unevaluatedProperties !== undefined) {
      const closed = schema.unevaluatedProperties === false
      const check = this.sub(schema.unevaluatedProperties, resource, at('unevaluatedProperties'), node, false)
      out.push((v, run) => {
        if (!isRecord(v)) return true
        const seen = run.evaluated!
        let ok = true
        for (const name of namesOf(v)) {
          if (seen.names.has(name)) continue
          seen.names.add(name)
          ok = (closed ? run.fail(`must not have the field '${name}'`) : inChild(run, name, check, v[name])) && ok
          if (!ok && !run.failures) return false
        }
        return ok
      })
    }
    return out
  }

  /** A schema that comes back to itself without going into the value would never end. */
  private refuseLoops(): void {
    const done = new Set<Node>()
    const open = new Set<Node>()
    const visit = (node: Node): void => {
      if (done.has(node)) return
      if (open.has(node))
        throw this.problem('the schema refers to itself without end', this.documents.placeOf(node.schema as object).resource, node.path)
      open.add(node)
      for (const next of node.same) visit(next)
      open.delete(node)
      done.add(node)
    }
    for (const node of this.order) visit(node)
  }
}

const plural = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`

/** Fields with a value: what JSON would write. */
/** Bounds of how many there are; an absent one is none. */
function counting<V>(min: unknown, max: unknown, noun: string, count: (v: V) => number): Check[] {
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

const namesOf = (v: SchemaObject): string[] => {
  const names = Object.keys(v)
  return names.some(n => v[n] === undefined) ? names.filter(n => v[n] !== undefined) : names
}
const has = (v: SchemaObject, name: string): boolean => v[name] !== undefined && Object.hasOwn(v, name)

/** Checks of all values, and those of the value's type. */
function together({ any, string, number, object, array }: Checks): Check {
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

/** A value inside the value: its path, and what it has been looked at for is its own. */
function inChild(run: Run, key: string | number, check: Check, value: unknown): boolean {
  const { evaluated, failures } = run
  run.evaluated = undefined
  if (failures) run.path.push(key)
  const ok = check(value, run)
  if (failures) run.path.pop()
  run.evaluated = evaluated
  return ok
}

/** Without reports; what it looked at counts when it holds and `keep` says so. */
function silently(run: Run, check: Check, value: unknown, keep: boolean): boolean {
  const { failures, evaluated } = run
  run.failures = undefined
  run.evaluated = keep && evaluated ? new Evaluated() : undefined
  const ok = check(value, run)
  if (ok && run.evaluated) evaluated!.merge(run.evaluated)
  run.failures = failures
  run.evaluated = evaluated
  return ok
}

function withEvaluated(check: Check, unevaluated: readonly Check[]): Check {
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

function alternatives(checks: readonly Check[], exactly: boolean): Check {
  return (v, run) => {
    let matches = 0
    for (const check of checks) {
      if (silently(run, check, v, true)) matches++
      // Every alternative that holds says what it has looked at.
      if (exactly ? matches > 1 : matches > 0 && !run.evaluated) break
    }
    if (matches > 1 && exactly) return run.fail('must match exactly one schema in oneOf, and matches several')
    if (matches > 0) return true
    if (run.failures) for (const check of checks) check(v, run)
    return run.fail(exactly ? 'must match exactly one schema in oneOf' : 'must match a schema in anyOf')
  }
}

function numberKeywords(schema: SchemaObject, checks: Check[]): void {
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

function items(v: readonly unknown[], run: Run, first: readonly Check[], others: Check | undefined): boolean {
  let ok = true
  const end = others ? v.length : Math.min(first.length, v.length)
  for (let i = 0; i < end; i++) {
    if (inChild(run, i, i < first.length ? first[i] : others!, v[i])) continue
    if (!run.failures) return false
    ok = false
  }
  return ok
}

function containing(schema: SchemaObject, check: Check, evaluates: boolean): Check {
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

function requiring(names: readonly string[], because: string): Check {
  const suffix = because === '' ? '' : `, since it has '${because}'`
  return (v: SchemaObject, run) => {
    let ok = true
    for (let i = 0; i < names.length; i++) {
      if (has(v, names[i])) continue
      if (!run.failures) return false
      ok = run.fail(`must have the field '${names[i]}'${suffix}`)
    }
    return ok
  }
}

const dependent =
  (name: string, check: Check): Check =>
  (v: SchemaObject, run) =>
    !has(v, name) || check(v, run)

function named(properties: readonly (readonly [string, Check])[]): Check {
  const names = properties.map(([n]) => n)
  const checks = properties.map(([, c]) => c)
  return (v: SchemaObject, run) => {
    let ok = true
    for (let i = 0; i < names.length; i++) {
      const name = names[i]
      const value = v[name]
      if (value === undefined || !Object.hasOwn(v, name)) continue
      run.evaluated?.names.add(name)
      if (run.failures || run.evaluated ? inChild(run, name, checks[i], value) : checks[i](value, run)) continue
      if (!run.failures) return false
      ok = false
    }
    return ok
  }
}

function matching(patterns: readonly (readonly [(text: string) => boolean, Check])[]): Check {
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

/** Fields that neither `properties` nor a pattern names. */
function others(names: ReadonlySet<string>, patterns: readonly ((text: string) => boolean)[], check: Check | false | undefined): Check {
  return (v: SchemaObject, run) => {
    let ok = true
    for (const name of Object.keys(v)) {
      if (names.has(name) || v[name] === undefined || patterns.some(test => test(name))) continue
      run.evaluated?.names.add(name)
      if (check === undefined) continue
      if (check === false ? run.fail(`must not have the field '${name}'`) : inChild(run, name, check, v[name])) continue
      if (!run.failures) return false
      ok = false
    }
    return ok
  }
}
