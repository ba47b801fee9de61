/** JSON Schemas for records: loading, compiling once, and saying what is wrong in words. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import ajv2019 from 'ajv/dist/2019.js'
import ajv2020 from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { RE2JS } from 're2js'
import { suggest } from '../../kit/text/suggest.ts'
import type { ValidateConfig } from '../../generated/config-types.ts'
import type { ConfigProblem } from '../../contract/plugin.ts'

/** Called with a value; when it returns false, `errors` holds all reasons. */
export type Validate = ValidateFunction

export function loadSchema({ schema, schema_file }: ValidateConfig): { schema: Record<string, unknown> } | { problem: string } {
  if (schema !== undefined) return { schema }
  const path = resolve(schema_file!)
  try {
    const parsed: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return { schema: parsed as Record<string, unknown> }
    return { problem: `${schema_file} holds no JSON Schema, which is an object` }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return { problem: `${schema_file} does not exist (looked for ${path})` }
    return {
      problem: error instanceof SyntaxError ? `${schema_file} is not JSON: ${message}` : `${schema_file} cannot be read: ${message}`,
    }
  }
}

/** Paths of problems are relative to the schema. */
export function compileSchema(schema: Record<string, unknown>): { validate: Validate } | { problems: ConfigProblem[] } {
  const ajv = createAjv(schema)
  try {
    if (!ajv.validateSchema(schema)) return { problems: invalid(ajv.errors ?? []) }
    return { validate: ajv.compile(schema) }
  } catch (error) {
    return { problems: [uncompilable(error as Error, schema)] }
  }
}

const DIALECTS = [
  ['2020-12', ajv2020.Ajv2020],
  ['2019-09', ajv2019.Ajv2019],
] as const

function createAjv(schema: Record<string, unknown>): Ajv {
  const [, Dialect] = DIALECTS.find(([part]) => String(schema.$schema ?? '').includes(part)) ?? [undefined, Ajv]
  const ajv = new Dialect({
    allErrors: true,
    // Unknown keywords and formats are errors; the rest of the strict mode is a matter of taste.
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    allowUnionTypes: true,
    // A field is one of the record's own: `toString` is not there because every object inherits it.
    ownProperties: true,
    // 0.07 is a multiple of 0.01, though not in binary.
    multipleOfPrecision: 6,
    logger: false,
    code: { regExp },
  })
  formats.default(ajv)
  return ajv
}

/** RE2, whose time is linear in the text: a record must not be able to stall the pipeline. Lookaround and back-references it does not know. */
function regExp(source: string, flags: string): { test(text: string): boolean; toString(): string } {
  try {
    const compiled = RE2JS.compile(source)
    // ajv tells patterns apart by their text: without it every pattern of a schema would be the first one.
    return { test: text => compiled.test(text), toString: () => `/${source}/${flags}` }
  } catch {
    return new RegExp(source, flags)
  }
}
regExp.code = 'new RegExp'

function invalid(errors: readonly ErrorObject[]): ConfigProblem[] {
  // A keyword that takes this or that is reported by each alternative and by their anyOf; the deepest one says the most.
  const [deepest] = errors.toSorted((a, b) => b.instancePath.length - a.instancePath.length)
  return [{ path: pointer(deepest.instancePath), message: `not a JSON Schema: ${wording(deepest)}` }]
}

function uncompilable({ message }: Error, schema: Record<string, unknown>): ConfigProblem {
  const keyword = /unknown keyword: "(.+)"/.exec(message)?.[1]
  if (keyword !== undefined)
    return { path: find(schema, k => k === keyword) ?? [], message: `unknown keyword ${keyword}`, suggestion: suggest(keyword, KEYWORDS) }
  const format = /unknown format "(.+)" ignored/.exec(message)?.[1]
  if (format !== undefined)
    return { path: find(schema, (k, v) => k === 'format' && v === format) ?? [], message: `unknown format ${format}` }
  const ref = /can't resolve reference (\S+)/.exec(message)?.[1]
  if (ref !== undefined)
    return {
      path: find(schema, (k, v) => k === '$ref' && v === ref) ?? [],
      message: `${ref} leads nowhere; references can only point into the same schema`,
    }
  const [, source, why] = /^Invalid regular expression: \/(.*)\/\w*: (.*)$/s.exec(message) ?? []
  if (source !== undefined)
    return {
      path: find(schema, (k, v) => k === source || (k === 'pattern' && v === source)) ?? [],
      message: `not a regular expression: ${why}`,
    }
  return { path: [], message: message.replace(/^strict mode: /, '') }
}

const KEYWORDS = [
  'type',
  'properties',
  'required',
  'additionalProperties',
  'patternProperties',
  'propertyNames',
  'minProperties',
  'maxProperties',
  'items',
  'prefixItems',
  'contains',
  'minItems',
  'maxItems',
  'uniqueItems',
  'enum',
  'const',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'pattern',
  'format',
  'allOf',
  'anyOf',
  'oneOf',
  'not',
  'if',
  'then',
  'else',
  '$ref',
  '$defs',
  'definitions',
  'title',
  'description',
  'default',
  'examples',
]

/** Path of the first key that the test accepts. */
function find(
  value: unknown,
  test: (key: string, value: unknown) => boolean,
  path: readonly (string | number)[] = [],
): (string | number)[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, inner] of Object.entries(value)) {
    const at = [...path, Array.isArray(value) ? Number(key) : key]
    if (test(key, inner)) return at
    const found = find(inner, test, at)
    if (found) return found
  }
  return undefined
}

const pointer = (path: string): string[] =>
  path
    .split('/')
    .slice(1)
    .map(p => p.replaceAll('~1', '/').replaceAll('~0', '~'))

/** Every reason with the JSON pointer of its place; a dead letter's header has to hold it, so at most twenty. */
export function explain(errors: readonly ErrorObject[]): string {
  const shown = errors.slice(0, 20).map(e => `${e.instancePath === '' ? 'the value' : e.instancePath} ${wording(e)}`)
  return shown.join('; ') + (errors.length > 20 ? `; and ${errors.length - 20} more` : '')
}

function wording({ keyword, params, message }: ErrorObject): string {
  switch (keyword) {
    case 'additionalProperties':
      return `must not have the field '${params.additionalProperty}'`
    case 'required':
      return `must have the field '${params.missingProperty}'`
    case 'enum':
      return `must be one of ${params.allowedValues.map((v: unknown) => JSON.stringify(v)).join(', ')}`
    case 'const':
      return `must be ${JSON.stringify(params.allowedValue)}`
    default:
      return message ?? `breaks the rule '${keyword}'`
  }
}
