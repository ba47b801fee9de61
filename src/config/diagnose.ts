/** Converts the errors of ajv to problems: one per mistake, with its position, the allowed values and a suggestion. */
import { quicklyValid, type SchemaError, validator } from './ajv.ts'
import { explainOne, type Diagnosis, notOneOf, toPath, wrongType } from './messages.ts'
import { deref, type Schema } from './schema.ts'
import type { Path } from './tree.ts'

export type { Diagnosis } from './messages.ts'

export async function diagnose(value: unknown, schema: Schema): Promise<Diagnosis[]> {
  if (quicklyValid(schema, value)) return []
  const validate = await validator(schema)
  const found = forget(await explain(validate(value), schema, schema))
  return found.map(j => ({ ...j, path: numbered(j.path, value) }))
}

/** Converts path parts that are list indexes to numbers: JSON pointers do not distinguish them from keys. */
function numbered(path: Path, value: any): Path {
  let at = value
  return path.map(part => {
    const index = Array.isArray(at) ? Number(part) : part
    at = at?.[index]
    return index
  })
}

/** A typo in a required key is reported once, as an unknown key. */
function forget(found: Diagnosis[]): Diagnosis[] {
  const meant = new Set(
    found.filter(j => j.code === 'CONFIG_UNKNOWN_KEY' && j.suggestion).map(j => JSON.stringify([...j.path.slice(0, -1), j.suggestion])),
  )
  return found.filter(j => j.code !== 'CONFIG_MISSING_KEY' || !meant.has(JSON.stringify(j.path)))
}

async function explain(errors: readonly SchemaError[], schema: Schema, root: Schema): Promise<Diagnosis[]> {
  const choices = errors.filter(e => e.keyword === 'anyOf' || e.keyword === 'oneOf')
  // Alternatives are checked separately below, so their errors are skipped here.
  const inside = choices.map(e => ({ at: e.instancePath, schemas: reachable(e.schema as Schema[], root) }))
  const mistyped = new Set(errors.filter(e => e.keyword === 'type').map(e => e.instancePath))
  const strange = new Set(errors.filter(e => e.keyword === 'additionalProperties').map(e => e.instancePath))
  const own = errors.filter(
    e =>
      !((e.keyword === 'enum' || e.keyword === 'const') && mistyped.has(e.instancePath)) &&
      !(e.keyword === 'maxProperties' && strange.has(e.instancePath)) &&
      !inside.some(i => e.instancePath.startsWith(i.at) && i.schemas.has(e.parentSchema as Schema)),
  )
  const out: Diagnosis[] = []
  for (const error of own) {
    if (choices.includes(error)) out.push(...(await explainChoice(error, root)))
    else out.push(...explainOne(error, value => errors.some(e => e !== error && value(e)), root))
  }
  return out
}

/** Explains the most likely alternative: with the right type, then the right discriminator, then the fewest errors. */
async function explainChoice(error: SchemaError, root: Schema): Promise<Diagnosis[]> {
  const path = toPath(error)
  const branches = (error.schema as Schema[]).map(b => deref(b, root))
  if (error.params.passingSchemas)
    return [{ code: 'CONFIG_VALUE', path, on: 'value', message: 'matches more than one of the alternatives: write the keys of one only' }]
  const results = await Promise.all(
    branches.map(async branch => {
      const validate = await validator(branchSchema(branch, root))
      const errors = validate(error.data)
      const wrongType = errors.some(e => e.keyword === 'type' && e.instancePath === '')
      const wrongConst = errors.some(e => (e.keyword === 'const' || e.keyword === 'enum') && e.instancePath.lastIndexOf('/') <= 0)
      return { branch, errors, score: (wrongType ? 10_000 : 0) + (wrongConst ? 100 : 0) + errors.length }
    }),
  )
  results.sort((a, b) => a.score - b.score)
  const [best] = results
  if (best.score >= 10_000) return [wrongType(path, branches, error.data, root)]
  const sameKind = results.filter(r => r.score < 10_000)
  // All alternatives are fixed values: list them.
  const fixed = sameKind.flatMap(r => (r.branch.enum ?? (r.branch.const === undefined ? [] : [r.branch.const])) as unknown[])
  if (sameKind.every(r => r.branch.enum || r.branch.const !== undefined)) return [notOneOf(path, fixed, error.data)]
  const inner = await explain(best.errors, best.branch, root)
  return inner.map(j => ({ ...j, path: [...path, ...j.path] }))
}

const wrapped = new WeakMap<Schema, Schema>()
function branchSchema(branch: Schema, root: Schema): Schema {
  let schema = wrapped.get(branch)
  if (!schema) {
    schema = { ...branch, ...(root.$defs ? { $defs: root.$defs } : {}), ...(root.definitions ? { definitions: root.definitions } : {}) }
    wrapped.set(branch, schema)
  }
  return schema
}

function reachable(schemas: unknown, root: Schema, found = new Set<Schema>()): Set<Schema> {
  if (Array.isArray(schemas)) for (const s of schemas) reachable(s, root, found)
  else if (typeof schemas === 'object' && schemas !== null && !found.has(schemas as Schema)) {
    found.add(schemas as Schema)
    const { $ref } = schemas as Schema
    if ($ref) reachable(target($ref, root), root, found)
    for (const value of Object.values(schemas)) if (typeof value === 'object') reachable(value, root, found)
  }
  return found
}

function target(ref: string, root: Schema): unknown {
  let at: any = root
  for (const part of ref.replace(/^#\/?/, '').split('/')) if (part !== '') at = at?.[part]
  return at
}
