/** Splits a list into one message per element. */
import type { UnnestConfig } from '../generated/config-types.ts'
import { type ConfigProblem, DataError, defineTransform } from '../contract/plugin.ts'
import { failOn } from '../kit/fail.ts'
import { checkFanOut } from '../kit/limits.ts'
import { getter, show } from '../kit/values/fields.ts'
import { isRecord } from '../kit/values/records.ts'
import schema from './unnest.schema.json' with { type: 'json' }

export default defineTransform<UnnestConfig>({
  type: 'unnest',
  schema,
  validateConfig,
  create(config) {
    const { field, on_empty } = config
    const list = getter(field)
    const valueOf = elementValue(config)
    const values = (record: unknown): unknown[] => {
      const elements = list(record)
      if (!Array.isArray(elements)) throw new DataError(`${field} must be a list, is ${show(elements)}`)
      checkFanOut(elements.length, field)
      if (elements.length === 0 && on_empty === 'fail') throw new DataError(`${field} is empty`)
      return valueOf(record, elements)
    }
    return {
      process(messages, out) {
        for (const m of messages) {
          let made: unknown[]
          try {
            // All elements are read before the first message is emitted: a record is split completely or not at all.
            made = values(m.value)
          } catch (error) {
            failOn(m, error, out)
            continue
          }
          made.forEach((value, i) => {
            const element = m.derive(value)
            element.part = `${m.part === undefined ? '' : `${m.part}.`}${field}[${i}]`
            out.emit(element)
          })
        }
      },
    }
  },
})

const nameOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1)

function validateConfig({ field, as, keep = [] }: UnnestConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const taken = new Map<string, string>(as === undefined ? [] : [[as, `'as: ${as}'`]])
  keep.forEach((path, i) => {
    const name = nameOf(path)
    const other = taken.get(name)
    if (other !== undefined) problems.push({ path: ['keep', i], message: `${path} becomes the field '${name}', which ${other} is already` })
    else if (path === field) problems.push({ path: ['keep', i], message: `${path} is the list that is taken apart` })
    taken.set(name, path)
  })
  return problems
}

function elementValue({ as, keep = [], field }: UnnestConfig): (record: unknown, elements: unknown[]) => unknown[] {
  if (as === undefined && keep.length === 0) return (_, elements) => elements
  const kept = keep.map(path => ({ path, name: nameOf(path), get: getter(path) }))
  const keptOf = (record: unknown): Record<string, unknown> => {
    const fields: Record<string, unknown> = {}
    for (const { path, name, get } of kept) {
      const value = get(record)
      if (value === undefined) throw new DataError(`${path} is missing`)
      fields[name] = value
    }
    return fields
  }
  if (as !== undefined)
    return (record, elements) => {
      const fields = keptOf(record)
      return elements.map(element => ({ ...fields, [as]: element }))
    }
  return (record, elements) => {
    const fields = keptOf(record)
    return elements.map((element, i) => {
      if (!isRecord(element))
        throw new DataError(`${field}[${i}] must be an object, is ${show(element)} (to name other elements, set 'as')`)
      for (const { name } of kept)
        if (Object.hasOwn(element, name)) throw new DataError(`${field}[${i}] has a field '${name}', too (to keep both, set 'as')`)
      return { ...fields, ...element }
    })
  }
}
