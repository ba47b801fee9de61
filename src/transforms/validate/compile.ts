/**
 * Compiles a JSON Schema to a function of a value. Numbers of any size are compared by their decimal value, patterns and formats take
 * linear time, and each draft has its own rules, including `unevaluated…` and `$dynamicRef`. The compiler is one class: references,
 * loops and evaluated fields concern all keywords.
 */
import { encodeJson, type ExactNumber } from '../../contract/plugin.ts'
import { suggest } from '../../kit/text/suggest.ts'
import { isRecord } from '../../kit/values/records.ts'
import {
  alternatives,
  type Check,
  type Checks,
  containing,
  counting,
  dependent,
  inChild,
  items,
  limited,
  matching,
  named,
  namesOf,
  numberKeywords,
  others,
  pass,
  plural,
  requiring,
  type Scope,
  silently,
  together,
  TYPES,
  withEvaluated,
} from './checks.ts'
import { isAnnotation, keywordProblem, KEYWORDS } from './dialects.ts'
import { type Documents, type Path, type Resource, type SchemaObject, SchemaProblem } from './documents.ts'
import { FORMATS } from './formats.ts'
import { compilePattern, PatternError } from '../../kit/text/pattern.ts'
import { codePoints, firstDouble, oneOf } from './values.ts'

interface Node {
  check: Check
  /** `check` is the final one. */
  complete: boolean
  /** Nodes that check the same value. */
  readonly same: Node[]
  readonly schema: unknown
  readonly path: Path
}

/** Positions of the keywords of one schema. */
interface Place {
  readonly resource: Resource
  readonly node: Node
  readonly at: (...more: (string | number)[]) => Path
}

const within =
  (resource: Resource, node: Node): Check =>
  (v, run) => {
    const { scope } = run
    run.scope = { resource, outer: scope }
    const ok = node.check(v, run)
    run.scope = scope
    return ok
  }

export interface CompileOptions {
  /** False: formats are annotations. */
  readonly formats: boolean
  /** Allow unknown keywords: for the schemas of the drafts. */
  readonly lenient?: boolean
}

export class Compiler {
  private readonly documents: Documents
  private readonly options: CompileOptions
  private readonly nodes = new Map<unknown, Node>()
  private readonly order: Node[] = []
  /** Checks the schema that a reference resolves to. */
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
    const node: Node = { check: pass, complete: false, same: [], schema, path }
    if (key) {
      this.nodes.set(key, node)
      this.order.push(node)
      // Until the node is complete, calls go through it: a schema may refer to itself.
      node.check = (v, run) => inner(v, run)
    }
    const inner = this.schema(schema, resource, path, node)
    node.check = inner
    node.complete = true
    return node
  }

  /** A nested schema. @param same it checks the same value */
  private sub(schema: unknown, { resource: from, node: parent, at }: Place, same: boolean, path: readonly (string | number)[]): Check {
    const resource = isRecord(schema) ? this.documents.placeOf(schema).resource : from
    const node = this.node(schema, resource, at(...path))
    if (same) parent.same.push(node)
    return this.entering(node, resource, from)
  }

  private entering(node: Node, resource: Resource, from: Resource): Check {
    if (resource === from) return node.complete ? node.check : (v, run) => node.check(v, run)
    return within(resource, node)
  }

  private schema(schema: unknown, resource: Resource, path: Path, node: Node): Check {
    if (schema === true) return pass
    if (schema === false) return (_, run) => run.fail('is not allowed')
    if (!isRecord(schema)) throw this.problem('not a JSON Schema: it must be an object or a boolean', resource, path)
    const checks: Checks = { any: [], string: [], number: [], object: [], array: [] }
    const at = (...more: (string | number)[]): Path => [...path, ...more]
    const place: Place = { resource, node, at }
    this.refuseUnknown(schema, resource, path)
    if (typeof schema.$ref === 'string') checks.any.push(this.reference(schema.$ref, resource, at('$ref'), node))
    // draft-07 ignores all keywords next to $ref.
    const counts = resource.dialect !== 'draft-07' || schema.$ref === undefined
    if (counts) {
      if (typeof schema.$dynamicRef === 'string')
        checks.any.push(this.dynamicReference(schema.$dynamicRef, resource, at('$dynamicRef'), node))
      if (typeof schema.$recursiveRef === 'string') checks.any.push(this.recursiveReference(resource, at('$recursiveRef'), node))
      this.anyKeywords(schema, checks, place)
      numberKeywords(schema, checks.number)
      this.stringKeywords(schema, checks, place)
      this.arrayKeywords(schema, checks.array, place)
      this.objectKeywords(schema, checks.object, place)
      this.combinators(schema, checks.any, place)
    }
    const all = together(checks, counts && schema.nullable !== true ? schema.type : undefined)
    const unevaluated = this.unevaluated(schema, place)
    return unevaluated.length > 0 ? withEvaluated(all, unevaluated) : all
  }

  private problem(message: string, resource: Resource, path: Path, suggestion?: string, on?: 'key'): SchemaProblem {
    return new SchemaProblem(message, path, resource.document, suggestion, on)
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
        'key',
      )
    }
    const idle = (keyword: string, needs: string): void => {
      if (keyword in schema) throw this.problem(`${keyword} has no effect without ${needs}`, resource, [...path, keyword], undefined, 'key')
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
    return limited(this.entering(node, resource, from))
  }

  private dynamicReference(ref: string, from: Resource, at: Path, parent: Node): Check {
    const { schema, resource } = this.documents.resolve(ref, from, at)
    const fixed = this.target(schema, resource, from, at, parent)
    const name = decodeURIComponent(/#(.*)$/s.exec(ref)?.[1] ?? '')
    if (!isRecord(schema) || schema.$dynamicAnchor !== name || name === '') return fixed
    const targets = new Map<Resource, Check>()
    // Resolved when used: resources may be added later.
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
      targets.set(resource, (check = limited(within(resource, node))))
    }
    return check
  }

  private anyKeywords(schema: SchemaObject, { any }: Checks, { resource, at }: Place): void {
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

  private stringKeywords(schema: SchemaObject, checks: Checks, { resource, at }: Place): void {
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
          `unknown format ${schema.format}; write a pattern instead, or \`formats: ignore\` in this step to ignore formats`,
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

  private arrayKeywords(schema: SchemaObject, checks: Check[], place: Place): void {
    const { resource } = place
    const sub = (s: unknown, ...path: (string | number)[]): Check => this.sub(s, place, false, path)
    checks.push(...counting(schema.minItems, schema.maxItems, 'item', (v: unknown[]) => v.length))
    if (schema.uniqueItems === true) {
      checks.push((v: unknown[], run) => {
        const found = firstDouble(v)
        return !found || run.fail(`must not have equal items (items ${found[0]} and ${found[1]} are)`)
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

  private objectKeywords(schema: SchemaObject, checks: Check[], place: Place): void {
    const { resource, at } = place
    const sub = (s: unknown, ...path: (string | number)[]): Check => this.sub(s, place, false, path)
    checks.push(...counting(schema.minProperties, schema.maxProperties, 'field', (v: SchemaObject) => namesOf(v).length))
    if (Array.isArray(schema.required)) checks.push(requiring(schema.required as string[], ''))
    for (const [key, list] of Object.entries((schema.dependentRequired ?? {}) as Record<string, string[]>))
      checks.push(dependent(key, requiring(list, key)))
    for (const [key, value] of Object.entries((schema.dependencies ?? {}) as Record<string, unknown>)) {
      checks.push(
        dependent(key, Array.isArray(value) ? requiring(value as string[], key) : this.sub(value, place, true, ['dependencies', key])),
      )
    }
    for (const [key, s] of Object.entries((schema.dependentSchemas ?? {}) as Record<string, unknown>))
      checks.push(dependent(key, this.sub(s, place, true, ['dependentSchemas', key])))
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

  private combinators(schema: SchemaObject, any: Check[], place: Place): void {
    const sub = (s: unknown, ...path: (string | number)[]): Check => this.sub(s, place, true, path)
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

  private unevaluated(schema: SchemaObject, place: Place): Check[] {
    if (place.resource.dialect === 'draft-07') return []
    const out: Check[] = []
    if (schema.unevaluatedItems !== undefined) {
      const check = this.sub(schema.unevaluatedItems, place, false, ['unevaluatedItems'])
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
      const check = this.sub(schema.unevaluatedProperties, place, false, ['unevaluatedProperties'])
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

  /** Rejects a schema that refers to itself for the same value, which would never end. */
  private refuseLoops(): void {
    const done = new Set<Node>()
    const open = new Set<Node>()
    const visit = (node: Node): void => {
      if (done.has(node)) return
      if (open.has(node))
        throw this.problem('the schema refers to itself endlessly', this.documents.placeOf(node.schema as object).resource, node.path)
      open.add(node)
      for (const next of node.same) visit(next)
      open.delete(node)
      done.add(node)
    }
    for (const node of this.order) visit(node)
  }
}
