/** Explains why a schema does not compile, with position and fix, instead of the message of the compiler. */
import { suggest } from '../kit/text/suggest.ts'
import { isRecord } from '../kit/values/records.ts'
import { FORMATS } from './formats.ts'
import { OWN_KEYWORDS } from './schema.ts'

const TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null']
const ONE = ['additionalItems', 'additionalProperties', 'contains', 'else', 'if', 'items', 'not', 'propertyNames', 'then']
const SEVERAL = ['allOf', 'anyOf', 'items', 'oneOf']
const NAMED = ['$defs', 'definitions', 'dependencies', 'patternProperties', 'properties']
const OTHERS = (
  '$comment $id $ref $schema const default deprecated description enum examples exclusiveMaximum exclusiveMinimum format maxItems ' +
  'maxLength maxProperties maximum minItems minLength minProperties minimum multipleOf pattern readOnly required title type uniqueItems writeOnly'
).split(' ')
const KEYWORDS = new Set([...ONE, ...SEVERAL, ...NAMED, ...OTHERS, ...OWN_KEYWORDS])

/** @param thrown by the compiler, for problems that are not checked here */
export function schemaProblem(schema: unknown, thrown: Error): string {
  const format = /unknown format "([^"]+)"/i.exec(thrown.message)?.[1]
  const [, type, keyword, at] = /missing type "([^"]+)" for keyword "([^"]+)" at "#?([^"]*)"/.exec(thrown.message) ?? []
  const other =
    type === undefined ? 'it cannot be compiled: check its keywords and their values' : `${at}/${keyword} needs type: ${type} beside it`
  return find(schema, schema, '', format) ?? other
}

/** Depth first, in the order of the file. @param format the unknown format */
function find(schema: unknown, root: unknown, at: string, format: string | undefined): string | undefined {
  if (typeof schema === 'boolean') return undefined
  if (!isRecord(schema)) return `${at || '/'} is ${shown(schema)}: a schema is an object, true or false`
  for (const [keyword, value] of Object.entries(schema)) {
    const here = `${at}/${keyword}`
    if (!KEYWORDS.has(keyword)) return `unknown keyword ${here}${meant(keyword, KEYWORDS)}`
    const problem = valueProblem(keyword, value, root, here, format)
    if (problem !== undefined) return problem
    const inner: [unknown, string][] = []
    if (SEVERAL.includes(keyword) && Array.isArray(value)) inner.push(...value.map((v, i): [unknown, string] => [v, `${here}/${i}`]))
    else if (ONE.includes(keyword)) inner.push([value, here])
    else if (NAMED.includes(keyword) && isRecord(value)) {
      for (const [name, v] of Object.entries(value)) if (!Array.isArray(v)) inner.push([v, `${here}/${name}`])
    } else if (SEVERAL.includes(keyword)) return `${here} is ${shown(value)}: it must be a list of schemas`
    else if (NAMED.includes(keyword)) return `${here} is ${shown(value)}: it must be a map of schemas`
    for (const [v, place] of inner) {
      const found = find(v, root, place, format)
      if (found !== undefined) return found
    }
  }
  return undefined
}

function valueProblem(keyword: string, value: unknown, root: unknown, here: string, format: string | undefined): string | undefined {
  if (keyword === 'type') {
    const wrong = [value].flat().find(type => !TYPES.includes(type as string))
    return wrong === undefined
      ? undefined
      : `${here} is ${shown(wrong)}${meant(String(wrong), TYPES) || `: it must be ${TYPES.join(', ')}`}`
  }
  if (keyword === 'format' && value === format)
    return `${here} is ${shown(value)}, which is not a known format${meant(format!, Object.keys(FORMATS))}`
  if (keyword === 'required' && !(Array.isArray(value) && value.every(name => typeof name === 'string')))
    return `${here} is ${shown(value)}: it must be a list of names`
  if (keyword === 'enum' && !Array.isArray(value)) return `${here} is ${shown(value)}: it must be a list of values`
  if (keyword === 'pattern') {
    try {
      new RegExp(value as string, 'u')
    } catch {
      return `${here} is ${shown(value)}: it must be a regular expression`
    }
  }
  if (keyword === '$ref' && typeof value === 'string' && value.startsWith('#') && !resolves(value, root))
    return `${here} is ${shown(value)}, which is not in the schema`
  return undefined
}

function resolves(ref: string, root: unknown): boolean {
  let target = root
  for (const part of ref.replace(/^#\/?/, '').split('/')) {
    if (part !== '') target = isRecord(target) ? target[decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')] : undefined
  }
  return target !== undefined
}

const shown = (value: unknown): string => JSON.stringify(value)?.slice(0, 60) ?? typeof value

function meant(written: string, known: Iterable<string>): string {
  const near = suggest(written, known)
  return near === undefined ? '' : `: write ${near}`
}
