/** The document of a schema and the documents it refers to; resolves URIs to their parts. */
import { readFileSync, statSync } from 'node:fs'
import { relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseJson } from '../../contract/plugin.ts'
import { elements, type JsonError } from '../../contract/json-scan.ts'
import { isRecord } from '../../kit/values/records.ts'
import { type Dialect, dialectOf, LISTS, MAPS, META, ONE } from './dialects.ts'
import { META_SCHEMAS } from './meta-schemas.ts'
import { reasonOf } from '../../kit/system-error.ts'

export type SchemaObject = Record<string, unknown>
export type Path = readonly (string | number)[]

/** A problem of a schema and its position. */
export class SchemaProblem extends Error {
  readonly path: Path
  readonly document: Document
  readonly suggestion: string | undefined
  /** The key is wrong, not its value. */
  readonly on: 'key' | 'value'
  constructor(message: string, path: Path, document: Document, suggestion?: string, on: 'key' | 'value' = 'value') {
    super(message)
    this.path = path
    this.document = document
    this.suggestion = suggestion
    this.on = on
  }
}

/** A schema with its own URI, embedded or not. */
export interface Resource {
  readonly uri: string
  readonly root: unknown
  readonly dialect: Dialect
  readonly anchors: Map<string, unknown>
  readonly dynamicAnchors: Map<string, unknown>
  readonly document: Document
}
export interface Document {
  /** For error messages; undefined: the root. */
  readonly name: string | undefined
  readonly root: unknown
  /** Text of the file. */
  readonly text?: string
}
export interface Place {
  readonly resource: Resource
  readonly path: Path
}

/** Maximum size of a schema file, bytes. */
const MAX_FILE = 32 * 1024 * 1024

export class Documents {
  private readonly resources = new Map<string, Resource>()
  private readonly places = new Map<object, Place>()
  private readonly files = new Map<string, Resource>()
  /** Path by URI, or by a URI prefix that ends with a slash. */
  private readonly mapped: Readonly<Record<string, string>>

  constructor(mapped: Readonly<Record<string, string>> = {}) {
    this.mapped = mapped
  }

  /** Adds the root document, with `uri` as its base URI. */
  add(schema: unknown, uri: string, { name, text }: Pick<Document, 'name' | 'text'>, inherited: Dialect = 'draft-07'): Resource {
    const document: Document = { name, root: schema, text }
    const resource = this.resourceOf(schema, uri, document, [], inherited)
    this.resources.set(uri, resource)
    this.index(schema, resource, [])
    return isRecord(schema) ? this.places.get(schema)!.resource : resource
  }

  placeOf(schema: object): Place {
    return this.places.get(schema)!
  }

  /** All resources with a dynamic anchor of this name. */
  *withDynamicAnchor(name: string): Generator<Resource> {
    for (const r of new Set(this.resources.values())) if (r.dynamicAnchors.has(name)) yield r
  }

  /** Resolves a reference in `from`. @throws {SchemaProblem} if it does not resolve */
  resolve(ref: string, from: Resource, at: Path): { schema: unknown; resource: Resource } {
    const fail = (message: string): never => {
      throw new SchemaProblem(message, at, from.document)
    }
    if (/^(file:|\/)/i.test(ref) && (from.uri.startsWith('file:') || /^file:/i.test(ref)))
      fail(`${ref} is an absolute path; write a path relative to this file`)
    let uri: string
    let fragment: string
    try {
      const url = new URL(ref, from.uri)
      fragment = decodeURIComponent(url.hash.slice(1))
      url.hash = ''
      uri = withoutHash(url.href)
    } catch {
      return fail(`${ref} is not a valid reference`)
    }
    const resource = this.find(uri, ref, from, fail)
    if (fragment === '') return { schema: resource.root, resource }
    if (!fragment.startsWith('/')) {
      const schema = resource.anchors.get(fragment) ?? resource.dynamicAnchors.get(fragment)
      if (schema === undefined) return fail(`${ref} does not resolve: there is no $anchor ${fragment}`)
      return { schema, resource: this.places.get(schema as object)!.resource }
    }
    return this.follow(resource, fragment, () => fail(`${ref} does not resolve`))
  }

  /** Follows a JSON pointer, which may enter an embedded resource. */
  private follow(resource: Resource, pointer: string, nowhere: () => never): { schema: unknown; resource: Resource } {
    let value = resource.root
    let owner = resource
    const path: (string | number)[] = [...(this.places.get(value as object)?.path ?? [])]
    for (const part of pointer.split('/').slice(1)) {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return nowhere()
      path.push(Array.isArray(value) ? Number(key) : key)
      value = (value as SchemaObject)[key]
      if (isRecord(value)) owner = this.places.get(value)?.resource ?? owner
    }
    // A location where no keyword expects a schema, such as #/components/schemas of OpenAPI.
    if (isRecord(value) && !this.places.has(value)) this.index(value, owner, path)
    return { schema: value, resource: owner }
  }

  private find(uri: string, ref: string, from: Resource, fail: (message: string) => never): Resource {
    const known = this.resources.get(uri)
    if (known) return known
    const meta = META_SCHEMAS.get(uri)
    if (meta) return this.add(meta, uri, { name: uri })
    const path = this.pathOf(uri)
    if (path === undefined) {
      const address = ref === uri ? ref : `${ref} (${uri})`
      if (/^https?:/.test(uri))
        return fail(
          `${address} is not fetched from the network; save the schema beside the pipeline and add \`references: { "${uri}": ./${uri.split('/').at(-1) || 'schema.json'} }\` to this step`,
        )
      return fail(`${address} does not resolve; name its file under \`references\``)
    }
    let resource = this.files.get(path)
    if (!resource) {
      let read: { schema: unknown; text: string }
      try {
        read = readSchema(path)
      } catch (error) {
        return fail(`${ref}: ${(error as Error).message}`)
      }
      const name = relative(process.cwd(), path) || path
      this.files.set(path, (resource = this.add(read.schema, uri, { name, text: read.text }, from.dialect)))
    }
    this.resources.set(uri, resource)
    return resource
  }

  private pathOf(uri: string): string | undefined {
    if (Object.hasOwn(this.mapped, uri)) return this.mapped[uri]
    const folder = Object.keys(this.mapped)
      .filter(prefix => prefix.endsWith('/') && uri.startsWith(prefix))
      .toSorted((a, b) => b.length - a.length)[0]
    if (folder !== undefined) {
      const rest = uri.slice(folder.length)
      return rest === '' || rest.split('/').includes('..')
        ? undefined
        : `${this.mapped[folder].replace(/\/+$/, '')}/${decodeURIComponent(rest)}`
    }
    if (!uri.startsWith('file:')) return undefined
    const url = new URL(uri)
    return url.host === '' ? fileURLToPath(url) : undefined
  }

  private resourceOf(schema: unknown, uri: string, document: Document, path: Path, inherited: Dialect): Resource {
    let dialect = inherited
    const named = isRecord(schema) ? schema.$schema : undefined
    if (named !== undefined) {
      const found = dialectOf(named)
      if (!found)
        throw new SchemaProblem(
          `$schema names ${JSON.stringify(named)}, which is not supported`,
          [...path, '$schema'],
          document,
          META['2020-12'],
        )
      dialect = found
    }
    return { uri, root: schema, dialect, anchors: new Map(), dynamicAnchors: new Map(), document }
  }

  private index(schema: unknown, outer: Resource, path: Path): void {
    if (!isRecord(schema) || this.places.has(schema)) return
    const resource = this.ownResource(schema, outer, path)
    this.places.set(schema, { resource, path })
    if (resource.dialect === 'draft-07' && typeof schema.$ref === 'string') {
      // Keywords next to $ref are ignored, but a pointer may refer to these.
      for (const key of ['definitions', '$defs']) this.indexMap(schema[key], resource, [...path, key])
      return
    }
    this.addAnchors(schema, resource, path)
    for (const key of ONE) if (!Array.isArray(schema[key])) this.index(schema[key], resource, [...path, key])
    for (const key of LISTS)
      if (Array.isArray(schema[key])) (schema[key] as unknown[]).forEach((s, i) => this.index(s, resource, [...path, key, i]))
    for (const key of MAPS) this.indexMap(schema[key], resource, [...path, key])
  }

  private indexMap(map: unknown, resource: Resource, path: Path): void {
    if (isRecord(map)) for (const [key, s] of Object.entries(map)) this.index(s, resource, [...path, key])
  }

  private ownResource(schema: SchemaObject, outer: Resource, path: Path): Resource {
    const id = schema.$id
    const fail = (message: string): never => {
      throw new SchemaProblem(message, [...path, '$id'], outer.document)
    }
    if (typeof id !== 'string') return outer
    const dialect = dialectOf(schema.$schema) ?? outer.dialect
    if (dialect === 'draft-07' && (id.startsWith('#') || typeof schema.$ref === 'string')) return outer
    let uri: string
    try {
      uri = new URL(id, outer.uri).href
    } catch {
      return fail(`${id} is not a URI`)
    }
    if (/#./.test(uri)) fail(`${id} has a fragment; write $anchor for a name inside the schema`)
    uri = withoutHash(uri)
    const before = this.resources.get(uri)
    if (before?.root === schema) return before
    if (before !== undefined && before.root !== schema) fail(`${id} is the $id of two schemas`)
    const root = outer.root === schema
    const resource = root ? { ...outer, uri } : this.resourceOf(schema, uri, outer.document, path, outer.dialect)
    this.resources.set(uri, resource)
    // The URI that the document was read from also identifies it.
    if (root) this.resources.set(outer.uri, resource)
    return resource
  }

  private addAnchors(schema: SchemaObject, resource: Resource, path: Path): void {
    const add = (anchors: Map<string, unknown>, name: string, key: string): void => {
      if (anchors.has(name) && anchors.get(name) !== schema)
        throw new SchemaProblem(`the name ${name} is given twice`, [...path, key], resource.document)
      anchors.set(name, schema)
    }
    if (resource.dialect === 'draft-07') {
      if (typeof schema.$id === 'string' && schema.$id.startsWith('#') && schema.$id.length > 1)
        add(resource.anchors, schema.$id.slice(1), '$id')
      return
    }
    if (typeof schema.$anchor === 'string') add(resource.anchors, schema.$anchor, '$anchor')
    if (typeof schema.$dynamicAnchor === 'string') add(resource.dynamicAnchors, schema.$dynamicAnchor, '$dynamicAnchor')
  }
}

const withoutHash = (uri: string): string => uri.replace(/#.*$/s, '')

/** A file that is not JSON. */
export class SyntaxProblem extends Error {
  readonly reason: string
  readonly line: number
  readonly column: number
  constructor(path: string, reason: string, line: number, column: number) {
    super(`${path} is not JSON: ${reason} (line ${line}, column ${column})`)
    this.reason = reason
    this.line = line
    this.column = column
  }
}

/** @throws {SyntaxProblem | Error} without contents of the file */
export function readSchema(path: string): { schema: unknown; text: string } {
  let text: string
  try {
    const found = statSync(path)
    if (!found.isFile()) throw new Error(`${path} is not a file`)
    if (found.size > MAX_FILE) throw new Error(`${path} has more than 32 MiB`)
    text = readFileSync(path, 'utf8').replace(/^\ufeff/, '')
  } catch (error) {
    throw new Error((error as NodeJS.ErrnoException).code === 'ENOENT' ? `${path} does not exist` : reasonOf(error), {
      cause: error,
    })
  }
  try {
    return { schema: parseJson(text), text }
  } catch (error) {
    if (text.trim() === '') throw new SyntaxProblem(path, 'it is empty', 1, 1)
    // The parser does not always report a position.
    try {
      elements(Buffer.from(text))
    } catch (found) {
      const { message, line, column } = found as JsonError
      throw new SyntaxProblem(path, message, line, column)
    }
    throw error
  }
}

export const fileUri = (path: string): string => pathToFileURL(path).href
