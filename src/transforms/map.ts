/** Builds a new value from a message, field by field or as a whole. */
import type { MapConfig, MapConfigFields } from '../generated/config-types.ts'
import { compile, compileObject, type Shape } from '../expressions/index.ts'
import { type ConfigProblem, DataError, defineTransform, type Message } from '../contract/plugin.ts'
import { failOn } from '../kit/fail.ts'
import { show } from '../kit/values/fields.ts'
import { type Fields, isRecord, without } from '../kit/values/records.ts'
import schema from './map.schema.json' with { type: 'json' }

export default defineTransform<MapConfig>({
  type: 'map',
  schema,
  validateConfig,
  create(config) {
    const valueOf = mapperOf(config)
    return {
      process(messages, out) {
        for (const m of messages) {
          try {
            m.value = valueOf(m)
          } catch (error) {
            failOn(m, error, out)
            continue
          }
          out.emit(m)
        }
      },
    }
  },
})

function validateConfig({ value, fields, keep, drop }: MapConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (value !== undefined) {
    for (const [key, given] of Object.entries({ fields, drop, keep: keep || undefined }))
      if (given !== undefined) problems.push({ path: [key], message: `${key} cannot be used with value, which is the whole result` })
  } else if (!fields && !(keep && drop)) problems.push({ path: [], message: 'needs fields, or one expression as its value' })
  else if (drop && !keep)
    problems.push({ path: ['drop'], message: 'drop needs keep: it leaves out fields that keep would copy', suggestion: 'keep: true' })
  return [...problems, ...clashes(fields ?? {}, [], nested())]
}

/** Conflicting names: `a` and `a.b`, or the same path twice. */
function clashes(fields: MapConfigFields, path: readonly string[], into: Nested): ConfigProblem[] {
  return Object.entries(fields).flatMap(([name, of]): ConfigProblem[] => {
    const parts = name.split('.')
    const at = [...path, name]
    if (typeof of !== 'string' && !isRecord(of))
      return [{ path: ['fields', ...at], message: 'must be an expression', ...(of === null ? {} : { suggestion: `"${of}"` }) }]
    if (parts.includes('__proto__')) return [{ path: ['fields', ...at], message: 'a field cannot be named __proto__' }]
    const owner = descend(into, parts.slice(0, -1))
    const last = parts.at(-1)!
    const there = owner?.[last]
    if (!owner || typeof there === 'string' || (there && typeof of === 'string'))
      return [{ path: ['fields', ...at], message: `${at.join('.')} clashes with a field above it` }]
    if (typeof of !== 'string') return clashes(of, at, (owner[last] ??= nested()) as Nested)
    owner[last] = of
    return []
  })
}

type Nested = { [name: string]: string | Nested }

/** Without a prototype, so `constructor` is an ordinary name. */
const nested = (): Nested => Object.create(null)

/** The nested object at a path, created if missing; undefined if a field on the path is not an object. */
function descend(root: Nested, path: readonly string[]): Nested | undefined {
  let at = root
  for (const part of path) {
    const next = (at[part] ??= nested())
    if (typeof next === 'string') return undefined
    at = next
  }
  return at
}

/** Converts dotted names to nested objects. The config is valid. */
function shapeOf(fields: MapConfigFields, into: Nested = nested()): Shape {
  for (const [name, of] of Object.entries(fields)) {
    const parts = name.split('.')
    const owner = descend(into, parts.slice(0, -1))!
    const last = parts.at(-1)!
    if (typeof of === 'string') owner[last] = of
    else shapeOf(of, (owner[last] ??= nested()) as Nested)
  }
  return into
}

/** One mapper for all lanes: it has no state, and one compiled function is faster than several. */
const mappers = new WeakMap<MapConfig, (m: Message) => unknown>()

function mapperOf(config: MapConfig): (m: Message) => unknown {
  let valueOf = mappers.get(config)
  if (!valueOf) mappers.set(config, (valueOf = mapper(config)))
  return valueOf
}

function mapper({ value, fields, keep, drop = [] }: MapConfig): (m: Message) => unknown {
  if (value !== undefined) {
    const expression = compile(value)
    return m => expression.evaluate(m)
  }
  const shape = shapeOf(fields ?? {})
  if (!keep) return compileObject(shape)
  const base = dropper(drop)
  // Nested fields are merged into existing objects; flat fields are set in one step.
  const [flat, deep] = split(shape)
  const set = compileObject(flat, true)
  const make = compileObject(deep)
  const isFlat = Object.keys(deep).length === 0
  return m => {
    const record = m.value
    if (!isRecord(record)) throw new DataError(`keep: the value must be an object, is ${show(record)}`)
    const value = set(m, base(record))
    return isFlat ? value : merge(value, make(m), deep, '')
  }
}

function split(shape: Shape): [flat: Shape, deep: Shape] {
  const [flat, deep] = [nested(), nested()]
  for (const name in shape) (typeof shape[name] === 'string' ? flat : deep)[name] = shape[name] as Nested
  return [flat, deep]
}

function dropper(paths: readonly string[]): (record: Fields) => Fields {
  const names = new Set(paths.filter(p => !p.includes('.')))
  const deep = paths.filter(p => p.includes('.')).map(p => p.split('.'))
  return record => {
    if (names.size + deep.length === 0) return record
    const copy = names.size > 0 ? without(record, names) : { ...record }
    for (const path of deep) dropIn(copy, path)
    return copy
  }
}

/** Removes a nested field from `owner`, which may be changed; copies the objects on the path. */
function dropIn(owner: Fields, [name, ...rest]: readonly string[]): void {
  const inner = Object.hasOwn(owner, name) ? owner[name] : undefined
  if (!isRecord(inner)) return
  if (rest.length === 1) owner[name] = without(inner, new Set(rest))
  else dropIn((owner[name] = { ...inner }) as Fields, rest)
}

/** Sets the fields of `made` in `into`, which may be changed; nested objects of the record are copied first. */
function merge(into: Fields, made: Fields, shape: Shape, path: string): Fields {
  for (const name in shape) {
    const of = shape[name]
    const there = Object.hasOwn(into, name) ? into[name] : undefined
    if (typeof of === 'string' || there === undefined) into[name] = made[name]
    else if (isRecord(there)) into[name] = merge({ ...there }, made[name] as Fields, of, `${path}${name}.`)
    else throw new DataError(`${path}${name} must be an object to set fields in it, is ${show(there)}`)
  }
  return into
}
