/** ajv, set up for our schemas, compiled once per schema. */
import type { ErrorObject, ValidateFunction } from 'ajv'
import { FORMATS } from './formats.ts'
import { OWN_KEYWORDS, type Schema } from './schema.ts'

export type SchemaError = ErrorObject<string, Record<string, any>> & { readonly schema?: any; readonly parentSchema?: Schema; readonly data?: unknown }
export type Validate = (value: unknown) => readonly SchemaError[]

const compiled = new WeakMap<object, Promise<Validate>>()
let instance: Promise<InstanceType<typeof import('ajv').Ajv>> | undefined

/** @throws when the schema itself is not valid. */
export function validator(schema: Schema): Promise<Validate> {
  let validate = compiled.get(schema)
  if (!validate) {
    validate = compile(schema)
    compiled.set(schema, validate)
  }
  return validate
}

async function compile(schema: Schema): Promise<Validate> {
  const ajv = await (instance ??= create())
  const foreign = foreignFormats(schema)
  if (foreign.size > 0) {
    const { default: addFormats } = await import('ajv-formats')
    const known = [...foreign].filter(f => !ajv.formats[f])
    if (known.length > 0) (addFormats as unknown as typeof addFormats.default)(ajv, known as any)
  }
  // The dialect is ours (draft-07 and $defs); naming another one must not send ajv looking for its meta schema.
  const { $schema: _, $id: __, ...own } = schema
  const fn = ajv.compile(own) as ValidateFunction
  return value => (fn(value) ? [] : [...((fn.errors ?? []) as SchemaError[])])
}

async function create(): Promise<InstanceType<typeof import('ajv').Ajv>> {
  const { Ajv } = await import('ajv')
  const ajv = new Ajv({ allErrors: true, verbose: true, strict: true, strictRequired: false, allowUnionTypes: true, strictTuples: false, strictTypes: false, validateSchema: false, logger: false, messages: false })
  for (const keyword of OWN_KEYWORDS) if (!ajv.RULES.keywords[keyword]) ajv.addKeyword({ keyword, valid: true })
  for (const [name, format] of Object.entries(FORMATS)) ajv.addFormat(name, { type: 'string', validate: format.validate })
  return ajv
}

function foreignFormats(schema: unknown, found = new Set<string>()): Set<string> {
  if (Array.isArray(schema)) for (const s of schema) foreignFormats(s, found)
  else if (typeof schema === 'object' && schema !== null) {
    for (const [key, value] of Object.entries(schema)) {
      if (key === 'format' && typeof value === 'string' && !(value in FORMATS)) found.add(value)
      else if (typeof value === 'object') foreignFormats(value, found)
    }
  }
  return found
}
