/** ajv, set up for our schemas, compiled once per schema. */
import type { Ajv, ErrorObject, Options, ValidateFunction } from 'ajv'
import { FORMATS } from './formats.ts'
import { fingerprint, OWN_KEYWORDS, type Schema } from './schema.ts'

export type SchemaError = ErrorObject<string, Record<string, any>> & {
  readonly schema?: any
  readonly parentSchema?: Schema
  readonly data?: unknown
}
export type Validate = (value: unknown) => readonly SchemaError[]

/** The result of a validator that `gen` generated. */
export interface Quick {
  readonly fingerprint: string
  readonly validate: (value: unknown) => boolean
}

const compiled = new WeakMap<object, Promise<Validate>>()
const quick = new WeakMap<object, Quick['validate']>()
let instance: Promise<Ajv> | undefined

/** Generated validator of this schema; ignored if the schema changed since. */
export function useQuick(schema: Schema, made: Quick): void {
  if (!quick.has(schema) && made.fingerprint === fingerprint(schema)) quick.set(schema, made.validate)
}

/** True: valid, decided without the compiler. False: undecided. */
export const quicklyValid = (schema: Schema, value: unknown): boolean => quick.get(schema)?.(value) ?? false

/** @throws if the schema is invalid. */
export function validator(schema: Schema): Promise<Validate> {
  let validate = compiled.get(schema)
  if (!validate) {
    validate = compile(schema)
    compiled.set(schema, validate)
  }
  return validate
}

async function compile(schema: Schema): Promise<Validate> {
  const ajv = await (instance ??= import('ajv').then(m => prepareAjv(new m.Ajv(ajvOptions))))
  const foreign = [...foreignFormats(schema)].filter(f => !ajv.formats[f])
  if (foreign.length > 0) {
    const { default: addFormats } = await import('ajv-formats')
    ;(addFormats as unknown as typeof addFormats.default)(ajv, foreign as never)
  }
  // The dialect is fixed (draft-07 and $defs); another `$schema` must not make ajv look for its meta schema.
  const { $schema: _, $id: __, ...own } = schema
  const fn = ajv.compile(own) as ValidateFunction
  return value => (fn(value) ? [] : [...((fn.errors ?? []) as SchemaError[])])
}

export const ajvOptions: Options = {
  allErrors: true,
  verbose: true,
  strict: true,
  strictRequired: false,
  strictTuples: false,
  strictTypes: false,
  allowUnionTypes: true,
  validateSchema: false,
  logger: false,
  messages: false,
}

export function prepareAjv(ajv: Ajv): Ajv {
  for (const keyword of OWN_KEYWORDS) ajv.addKeyword({ keyword, valid: true })
  for (const [name, format] of Object.entries(FORMATS)) ajv.addFormat(name, { type: 'string', validate: format.validate })
  return ajv
}

/** Standard formats, which need a separate library. */
export function foreignFormats(schema: unknown, found = new Set<string>()): Set<string> {
  if (Array.isArray(schema)) for (const s of schema) foreignFormats(s, found)
  else if (typeof schema === 'object' && schema !== null) {
    for (const [key, value] of Object.entries(schema)) {
      if (key === 'format' && typeof value === 'string' && !(value in FORMATS)) found.add(value)
      else if (typeof value === 'object') foreignFormats(value, found)
    }
  }
  return found
}
