/** Loads and compiles record schemas, and reports their problems with position. */
import { resolve } from 'node:path'
import type { ConfigProblem } from '../../contract/plugin.ts'
import type { ValidateConfig } from '../../generated/config-types.ts'
import { SourceText } from '../../config/tree.ts'
import { jsonSpan } from '../../kit/text/json-span.ts'
import { isRecord } from '../../kit/values/records.ts'
import { type Check, Failures, Run, TooManySteps } from './checks.ts'
import { Compiler } from './compile.ts'
import { type Dialect, META } from './dialects.ts'
import { Documents, fileUri, type Path, readSchema, type Resource, SchemaProblem, SyntaxProblem } from './documents.ts'

/** Undefined: the value is valid; otherwise its failures. */
export type Validate = (value: unknown) => string | undefined

/** Compiles the schema of a step. A problem has its position in the pipeline or in the schema file. */
export function compileSchema(config: ValidateConfig): { validate: Validate } | { problem: ConfigProblem } {
  const inline = config.schema !== undefined
  let uri: string
  let schema: unknown = config.schema
  let text: string | undefined
  if (inline) uri = fileUri(resolve(config.folder ?? '.', '(schema)'))
  else {
    const path = resolve(config.schema_file!)
    uri = fileUri(path)
    try {
      ;({ schema, text } = readSchema(path))
    } catch (error) {
      if (!(error instanceof SyntaxProblem)) return { problem: { path: ['schema_file'], message: (error as Error).message } }
      const { reason, line, column } = error
      return { problem: { path: ['schema_file'], message: `not JSON: ${reason}`, source: { file: config.schema_file!, line, column } } }
    }
    if (typeof schema !== 'boolean' && !isRecord(schema))
      return { problem: { path: ['schema_file'], message: `${config.schema_file} is not a JSON Schema, which is an object` } }
  }
  try {
    const documents = new Documents(config.references)
    const root = documents.add(schema, uri, { name: undefined, text })
    return { validate: compile(documents, root, config.formats !== 'ignore') }
  } catch (error) {
    if (error instanceof SchemaProblem) return { problem: placed(error, config) }
    throw error
  }
}

function placed({ message, path, document: { name, text }, suggestion, on }: SchemaProblem, config: ValidateConfig): ConfigProblem {
  const inline = config.schema !== undefined
  if (name === undefined && inline) return { path: ['schema', ...path], message, suggestion, on }
  const step = [inline ? 'schema' : 'schema_file']
  // A schema of a draft has no file.
  if (text === undefined) return { path: step, message: `${name}: ${message}`, suggestion }
  const { value, key } = jsonSpan(text, path)
  const file = name ?? config.schema_file!
  return {
    path: step,
    message,
    suggestion,
    source: { file, ...new SourceText(file, text).position(((on === 'key' && key) || value).start) },
  }
}

export function compile(documents: Documents, root: Resource, formats: boolean): Validate {
  const inspect = (schema: unknown, resource: Resource, path: Path): void => {
    if (isRecord(schema) && resource.document.name !== undefined && !isMeta(resource.document.name)) refuseInvalid(schema, resource, path)
  }
  refuseInvalid(root.root, root, [])
  const check = new Compiler(documents, { formats }, inspect).compile(root)
  return value => {
    try {
      if (check(value, new Run(root))) return undefined
      const failures = new Failures()
      check(value, new Run(root, failures))
      const more = failures.count - failures.list.length
      return failures.list.join('; ') + (more > 0 ? `; and ${more} more` : '')
    } catch (error) {
      if (error instanceof TooManySteps)
        return 'the value takes too many steps to check: the schema refers to itself in several alternatives'
      if (error instanceof RangeError) return 'the value is nested too deeply for this schema'
      throw error
    }
  }
}

const isMeta = (name: string): boolean => /^https?:\/\/json-schema\.org\//.test(name)

const metaChecks = new Map<Dialect, { check: Check; root: Resource }>()

/** Checks a schema against the schema of its draft. */
function refuseInvalid(schema: unknown, resource: Resource, path: Path): void {
  const { dialect } = resource
  let meta = metaChecks.get(dialect)
  if (!meta) {
    const documents = new Documents()
    const start = documents.add({ $schema: META[dialect], $ref: META[dialect] }, 'file:///meta', { name: undefined })
    meta = { check: new Compiler(documents, { formats: false, lenient: true }, () => {}).compile(start), root: start }
    metaChecks.set(dialect, meta)
  }
  if (meta.check(schema, new Run(meta.root))) return
  const failures = new Failures()
  meta.check(schema, new Run(meta.root, failures))
  const { path: at, message } = failures.deepest!
  const old = dialect === '2020-12' && at.at(-1) === 'items' ? '; write prefixItems for a list of schemas' : ''
  throw new SchemaProblem(`not a JSON Schema: ${message}${old}`, [...path, ...at], resource.document)
}
