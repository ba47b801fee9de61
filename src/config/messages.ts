/** Messages for each kind of schema error: the error, the allowed values and a suggestion. */
import { isDeepStrictEqual } from 'node:util'
import type { SchemaError } from './ajv.ts'
import type { Code } from './codes.ts'
import { firstSentence } from './describe.ts'
import { FORMATS } from './formats.ts'
import { alternatives, deref, type Schema, typeName, typesOf, views } from './schema.ts'
import { suggest } from '../kit/text/suggest.ts'
import { nameHere } from './other-names.ts'
import type { Path } from './tree.ts'

/** A finding with a path instead of a position. `on`: the key, the value, or the map with a missing key. */
export interface Diagnosis {
  readonly code: Code
  readonly path: Path
  readonly on: 'key' | 'value' | 'parent'
  readonly message: string
  /** Shows the value after the message; omitted with the suggestion for a secret. */
  readonly shown?: string
  readonly suggestion?: string
}

export function toPath(error: SchemaError): (string | number)[] {
  return error.instancePath
    .split('/')
    .slice(1)
    .map(p => p.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** Explains one error of ajv. @param others whether another error matches */
export function explainOne(error: SchemaError, others: (test: (e: SchemaError) => boolean) => boolean, root: Schema): Diagnosis[] {
  const path = toPath(error)
  const { params, data } = error
  const parent = error.parentSchema ?? {}
  const at = (code: Code, message: string, suggestion?: string, on: Diagnosis['on'] = 'value'): Diagnosis[] => [
    { code, path, on, message, suggestion },
  ]
  if (error.propertyName !== undefined) return badKey(error, [...path, error.propertyName])
  switch (error.keyword) {
    case 'additionalProperties':
    case 'unevaluatedProperties':
      return [unknownKey(path, params.additionalProperty ?? params.unevaluatedProperty, parent, data, root)]
    case 'required':
      return [missingKey(path, params.missingProperty, parent, root)]
    case 'dependencies':
    case 'dependentRequired':
      return [
        {
          code: 'CONFIG_MISSING_KEY',
          path: [...path, params.missingProperty],
          on: 'parent',
          message: `missing key ${params.missingProperty}: ${params.property} requires it`,
        },
      ]
    case 'type':
      return [wrongType(path, [parent], data, root)]
    case 'enum':
      return [notOneOf(path, params.allowedValues, data)]
    case 'const':
      return [notOneOf(path, [params.allowedValue], data)]
    case 'format':
      return [badFormat(path, params.format, data)]
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum':
    case 'exclusiveMaximum':
      return at(
        'CONFIG_VALUE',
        `must be ${{ '>=': 'at least', '<=': 'at most', '>': 'more than', '<': 'less than' }[params.comparison as string]} ${params.limit}`,
      )
    case 'multipleOf':
      return at('CONFIG_VALUE', `must be a multiple of ${params.multipleOf}`)
    case 'minLength':
      return at('CONFIG_VALUE', params.limit === 1 ? 'must not be empty' : `must have at least ${params.limit} characters`)
    case 'maxLength':
      return at('CONFIG_VALUE', `must have at most ${params.limit} characters`)
    case 'minItems':
      return at('CONFIG_VALUE', params.limit === 1 ? 'the list must not be empty' : `the list needs at least ${params.limit} entries`)
    case 'maxItems':
      return at('CONFIG_VALUE', `the list may have at most ${params.limit} entries`)
    case 'minProperties':
      return at('CONFIG_VALUE', params.limit === 1 ? 'the map must not be empty' : `the map needs at least ${params.limit} keys`)
    case 'maxProperties':
      return at('CONFIG_VALUE', `the map may have at most ${params.limit} keys`)
    case 'uniqueItems':
      return [
        {
          code: 'CONFIG_VALUE',
          path: [...path, String(params.i)],
          on: 'value',
          message: `is duplicated in the list (entry ${params.j + 1} is the same)`,
        },
      ]
    case 'pattern':
      return at('CONFIG_VALUE', `has the wrong form${formOf(parent)}`)
    case 'propertyNames':
      return others(e => e.propertyName === params.propertyName) ? [] : badKey(error, [...path, params.propertyName])
    case 'if':
      return others(e => e.schemaPath.startsWith(error.schemaPath.replace(/\/if$/, '/')))
        ? []
        : at('CONFIG_VALUE', `does not fit (${params.failingKeyword})`)
    case 'not':
      return at('CONFIG_VALUE', 'is not allowed here')
    default:
      return at('CONFIG_VALUE', `does not match the schema (${error.keyword})`)
  }
}

/** Describes the form that a pattern requires, from the description and examples: messages show no regular expressions. */
function formOf({ examples, description }: Schema): string {
  const example = examples && examples.length > 0 ? `write it as in ${print(examples[0])}` : ''
  const text = description === undefined ? '' : firstSentence(description)
  return example || text ? `: ${[text, example].filter(Boolean).join('; ')}` : ''
}

function badKey(error: SchemaError, path: Path): Diagnosis[] {
  const format = FORMATS[error.params.format as string]
  const why =
    error.keyword === 'pattern'
      ? `has the wrong form${formOf(error.parentSchema ?? {})}`
      : format
        ? `must be ${format.expected}`
        : error.keyword === 'enum'
          ? `must be one of ${list(error.params.allowedValues)}`
          : 'is not allowed'
  const near = error.keyword === 'enum' ? suggest(String(path.at(-1)), error.params.allowedValues) : format?.guess?.(String(path.at(-1)))
  return [
    { code: format?.code ?? 'CONFIG_UNKNOWN_KEY', path, on: 'key', message: `the key ${String(path.at(-1))} ${why}`, suggestion: near },
  ]
}

function unknownKey(path: Path, key: string, schema: Schema, data: any, root: Schema): Diagnosis {
  const known = Object.keys(schema.properties ?? {})
  // Suggestions exclude keys that the file already has, and prefer required keys that are missing.
  const written = (k: string): boolean =>
    Object.hasOwn(data, k) && !views(schema.properties?.[k], undefined, root).some(v => isDeepStrictEqual(v.default, data[k]))
  const required = new Set(schema.required ?? [])
  const candidates = known.filter(k => !written(k)).sort((a, b) => Number(required.has(b)) - Number(required.has(a)))
  const allowed = known.length > 0 ? `; allowed: ${list(known)}` : ''
  return {
    code: 'CONFIG_UNKNOWN_KEY',
    path: [...path, key],
    on: 'key',
    message: `unknown key ${key}${allowed}`,
    suggestion: nameHere(key, candidates) ?? suggest(key, candidates) ?? nameHere(key, known) ?? suggest(key, known),
  }
}

function missingKey(path: Path, key: string, schema: Schema, root: Schema): Diagnosis {
  const property = schema.properties?.[key] && deref(schema.properties[key], root)
  const what = property?.description ? `: ${firstSentence(property.description)}` : ''
  const example = property?.examples?.[0]
  return {
    code: 'CONFIG_MISSING_KEY',
    path: [...path, key],
    on: 'parent',
    message: `missing key ${key}${what}`,
    ...(example === undefined ? {} : { suggestion: `${key}: ${print(example)}` }),
  }
}

export function wrongType(path: Path, schemas: readonly Schema[], data: unknown, root: Schema): Diagnosis {
  const options = schemas.flatMap(s => alternatives(s, root))
  const formats = options.map(o => FORMATS[o.format ?? '']).filter(f => f !== undefined)
  const [format] = formats
  const code =
    format && typeof data === 'number' && (format.code === 'CONFIG_DURATION' || format.code === 'CONFIG_SIZE') ? format.code : 'CONFIG_TYPE'
  const names = [
    ...new Set(
      options.flatMap(o =>
        typesOf(o).includes('string') && FORMATS[o.format ?? ''] ? [FORMATS[o.format!].expected] : typesOf(o).map(article),
      ),
    ),
  ]
  const is =
    data === null ? 'the value is missing' : typeof data === 'object' ? `this is ${article(typeName(data))}` : `this is a ${typeof data}`
  const shown = typeof data === 'object' ? undefined : `: ${print(data)}`
  const suggestion = repair(options, data, format)
  const example =
    suggestion === undefined && (typeof data !== 'object' || (data !== null && names.join() === 'a list'))
      ? (options.flatMap(o => o.examples ?? []).find(isCollection) ?? options.map(o => composed(o, root)).find(isCollection))
      : undefined
  const such = example === undefined ? '' : `, such as ${inline(example)}`
  return { code, path, on: 'value', message: `must be ${or(names)}${such}; ${is}`, shown, suggestion }
}

/** An example map with the required keys, or the first key; undefined if a key has no example. */
function composed(schema: Schema, root: Schema): object | undefined {
  const properties = Object.entries(schema.properties ?? {}).map(([key, s]): [string, unknown] => [key, deref(s, root).examples?.[0]])
  const required = properties.filter(([key]) => schema.required?.includes(key))
  const shown = required.length > 0 ? required : properties.slice(0, 1)
  return shown.length > 0 && shown.every(([, value]) => value !== undefined) ? Object.fromEntries(shown) : undefined
}

const isCollection = (value: unknown): value is object => typeof value === 'object' && value !== null

/** On one line, as written in a file. */
function inline(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`
  if (!isCollection(value)) return print(value)
  return `{ ${Object.entries(value)
    .map(([key, inner]) => `${print(key)}: ${inline(inner)}`)
    .join(', ')} }`
}

/** Suggests the same value in the expected type. */
function repair(options: readonly Schema[], data: unknown, format: (typeof FORMATS)[string] | undefined): string | undefined {
  const types = new Set(options.flatMap(typesOf))
  if (typeof data === 'string') {
    if ((types.has('number') || types.has('integer')) && /^-?\d+(\.\d+)?$/.test(data) && (types.has('number') || !data.includes('.')))
      return data
    if (types.has('boolean')) {
      const word = data.toLowerCase()
      if (['true', 'yes', 'on', '1'].includes(word)) return 'true'
      if (['false', 'no', 'off', '0'].includes(word)) return 'false'
      return suggest(data, ['true', 'false'])
    }
  }
  if ((typeof data === 'number' || typeof data === 'boolean') && types.has('string'))
    return quoted(format?.guess ? format.guess(data as number) : String(data))
  if (typeof data === 'boolean' || data === null || typeof data === 'object') return undefined
  if (types.has('array') && !types.has(typeName(data))) return `[${print(data)}]`
  return undefined
}

/** In quotes if YAML would read the text as another type. */
const quoted = (text: string | undefined): string | undefined =>
  text !== undefined && /^([-+.\d]+|true|false)$/.test(text) ? JSON.stringify(text) : text

export function notOneOf(path: Path, allowed: readonly unknown[], data: unknown): Diagnosis {
  const message = allowed.length === 1 ? `must be ${print(allowed[0])}` : `must be one of ${list(allowed.map(String))}`
  return {
    code: typeof data === 'string' || typeof data === 'number' ? 'CONFIG_VALUE' : 'CONFIG_TYPE',
    path,
    on: 'value',
    message,
    suggestion: suggest(String(data), allowed.map(String)),
  }
}

function badFormat(path: Path, name: string, data: unknown): Diagnosis {
  const format = FORMATS[name]
  if (!format) return { code: 'CONFIG_VALUE', path, on: 'value', message: `must be a valid ${name}` }
  return {
    code: format.code,
    path,
    on: 'value',
    message: `must be ${format.limit?.(String(data)) ?? format.expected}`,
    suggestion: format.guess?.(data as string),
  }
}

const ARTICLES: Record<string, string> = {
  object: 'a map',
  array: 'a list',
  string: 'a string',
  number: 'a number',
  integer: 'an integer',
  boolean: 'true or false',
  null: 'empty',
}
const article = (type: string): string => ARTICLES[type] ?? type

function print(value: unknown): string {
  const text = typeof value === 'string' ? (/^[\w.${}:/-]+$/.test(value) ? value : JSON.stringify(value)) : JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

function list(values: readonly string[]): string {
  const shown = values.slice(0, 30).join(', ')
  return values.length > 30 ? `${shown}, …` : shown
}

const or = (words: readonly string[]): string =>
  words.length > 1 ? `${words.slice(0, -1).join(', ')} or ${words.at(-1)}` : (words[0] ?? 'something else')
