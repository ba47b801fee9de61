/** Drafts of JSON Schema: their keywords, and replacements for keywords of other drafts. */
export type Dialect = 'draft-07' | '2019-09' | '2020-12'

const IDS: Readonly<Record<string, Dialect>> = {
  'http://json-schema.org/draft-06/schema': 'draft-07',
  'http://json-schema.org/draft-07/schema': 'draft-07',
  'https://json-schema.org/draft/2019-09/schema': '2019-09',
  'https://json-schema.org/draft/2020-12/schema': '2020-12',
}
export const META: Readonly<Record<Dialect, string>> = {
  'draft-07': 'http://json-schema.org/draft-07/schema',
  '2019-09': 'https://json-schema.org/draft/2019-09/schema',
  '2020-12': 'https://json-schema.org/draft/2020-12/schema',
}

/** Undefined: another draft or a custom dialect. */
export const dialectOf = (id: unknown): Dialect | undefined =>
  typeof id === 'string' ? IDS[id.replace(/#$/, '').replace(/^https:(?=\/\/json-schema\.org\/draft-0)/, 'http:')] : undefined

const BOTH_LATER = [
  'dependentRequired',
  'dependentSchemas',
  'unevaluatedItems',
  'unevaluatedProperties',
  'minContains',
  'maxContains',
  '$anchor',
  '$vocabulary',
]
const IN: Readonly<Record<string, readonly Dialect[]>> = {
  ...Object.fromEntries(BOTH_LATER.map(k => [k, ['2019-09', '2020-12']])),
  $recursiveRef: ['2019-09'],
  $recursiveAnchor: ['2019-09'],
  $dynamicRef: ['2020-12'],
  $dynamicAnchor: ['2020-12'],
  prefixItems: ['2020-12'],
  additionalItems: ['draft-07', '2019-09'],
  dependencies: ['draft-07'],
}
const ALWAYS = [
  'type',
  'properties',
  'required',
  'additionalProperties',
  'patternProperties',
  'propertyNames',
  'minProperties',
  'maxProperties',
  'items',
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
  'nullable',
  '$ref',
]
/** Keywords that never fail a record. */
const ANNOTATIONS = new Set([
  '$id',
  '$schema',
  '$comment',
  '$defs',
  'definitions',
  'title',
  'description',
  'default',
  'examples',
  'readOnly',
  'writeOnly',
  'deprecated',
  'contentEncoding',
  'contentMediaType',
  'contentSchema',
  // Used by OpenAPI, editors and generators.
  'example',
  'externalDocs',
  'discriminator',
  'xml',
  'markdownDescription',
  'enumDescriptions',
  'tsType',
])

export const isAnnotation = (keyword: string): boolean => ANNOTATIONS.has(keyword) || keyword.startsWith('x-')
export const KEYWORDS: readonly string[] = [...ALWAYS, ...Object.keys(IN), ...ANNOTATIONS]
const known = new Set(ALWAYS)

/** The problem of a keyword in this draft; undefined: valid; '': unknown in all drafts. */
export function keywordProblem(keyword: string, dialect: Dialect): string | undefined {
  if (known.has(keyword) || isAnnotation(keyword) || IN[keyword]?.includes(dialect)) return undefined
  const drafts = IN[keyword]
  if (drafts === undefined) return ''
  if (keyword === 'dependencies') return `${keyword} is a keyword of draft-07; write dependentRequired or dependentSchemas`
  if (keyword === 'additionalItems') return `${keyword} is not in ${dialect}; write prefixItems and items`
  if (keyword === '$recursiveRef' && dialect === '2020-12') return `${keyword} is not in ${dialect}; write $dynamicRef and $dynamicAnchor`
  const wanted = drafts.at(-1)!
  return `${keyword} is a keyword of ${drafts.join(' and ')}, and this schema is ${dialect}; begin it with "$schema": "${META[wanted]}"`
}

/** Keywords whose value is a schema, a list of schemas, or a map of schemas. */
export const ONE: readonly string[] = [
  'additionalProperties',
  'propertyNames',
  'contains',
  'not',
  'if',
  'then',
  'else',
  'unevaluatedItems',
  'unevaluatedProperties',
  'additionalItems',
  'items',
  'contentSchema',
]
export const LISTS: readonly string[] = ['allOf', 'anyOf', 'oneOf', 'prefixItems', 'items']
export const MAPS: readonly string[] = ['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas', 'dependencies']
