/** Groups the messages of one source record by key: one message per key, with the list of its items. */
import type { GroupConfig } from '../generated/config-types.ts'
import { compile } from '../expressions/index.ts'
import { type ConfigProblem, DataError, defineTransform, ExactNumber, Message, type Output, type Transform } from '../contract/plugin.ts'
import { failOn } from '../kit/fail.ts'
import { getter, show } from '../kit/values/fields.ts'
import { keyText, sameKeyText } from '../kit/values/key.ts'
import schema from './group.schema.json' with { type: 'json' }

export default defineTransform<GroupConfig>({
  type: 'group',
  schema,
  validateConfig,
  create: config => (config.field === undefined ? groupMessages(config) : groupElements(config, config.field)),
})

const nameOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1)

function validateConfig({ keep = [], key_as, as, field }: GroupConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  if (key_as === as) problems.push({ path: ['as'], message: `the key and the list cannot both be '${as}'` })
  const taken = new Set([key_as, as])
  keep.forEach((path, i) => {
    const name = nameOf(path)
    if (path === field) problems.push({ path: ['keep', i], message: `${path} is the list that is taken apart` })
    else if (taken.has(name)) problems.push({ path: ['keep', i], message: `${path} becomes the field '${name}', which already exists` })
    taken.add(name)
  })
  return problems
}

interface Group {
  readonly key: string | number | boolean | ExactNumber
  /** First message of the group. */
  readonly first: Message
  readonly kept: Record<string, unknown>
  readonly items: unknown[]
}

function groupMessages(config: GroupConfig): Transform {
  const keyOf = keyReader(config.key)
  const keptOf = keeper(config)
  const emit = emitter(config)
  return {
    process(messages, out) {
      let groups = new Map<string, Group>()
      let last: Message | undefined
      for (const m of messages) {
        if (last !== undefined && !sameRecord(last, m)) {
          emit(groups, out)
          groups = new Map()
        }
        last = m
        try {
          add(groups, keyOf(m), m, keptOf(m.value), m.value)
        } catch (error) {
          failOn(m, error, out)
        }
      }
      emit(groups, out)
    },
  }
}

/** A batch holds all messages of a record next to each other, so comparing neighbors is sufficient. */
function sameRecord(a: Message, b: Message): boolean {
  if (a.payload !== b.payload || a.offset !== b.offset) return false
  return a.payload !== null || a.offset >= 0
}

function groupElements(config: GroupConfig, field: string): Transform {
  const list = getter(field)
  const keyOf = keyReader(config.key)
  const keptOf = keeper(config)
  const emit = emitter(config)
  return {
    process(messages, out) {
      for (const m of messages) {
        const groups = new Map<string, Group>()
        try {
          const elements = list(m.value)
          if (!Array.isArray(elements)) throw new DataError(`${field} must be a list, is ${show(elements)}`)
          if (elements.length === 0 && config.on_empty === 'fail') throw new DataError(`${field} is empty`)
          const kept = keptOf(m.value)
          elements.forEach((element, i) => add(groups, keyIn(keyOf, m.derive(element), `${field}[${i}]`), m, kept, element))
        } catch (error) {
          failOn(m, error, out)
          continue
        }
        emit(groups, out)
      }
    },
  }
}

/** Reads the key of an element; an error names the element. */
function keyIn(keyOf: (m: Message) => Group['key'], element: Message, at: string): Group['key'] {
  try {
    return keyOf(element)
  } catch (error) {
    throw error instanceof DataError ? new DataError(`${at}: ${error.message}`, error) : error
  }
}

function add(groups: Map<string, Group>, key: Group['key'], first: Message, kept: Group['kept'], item: unknown): void {
  // Record keys are text: 1 and "1" are the same key, so they form one group.
  const id = sameKeyText(key)!
  const group = groups.get(id)
  if (group) group.items.push(item)
  else groups.set(id, { key, first, kept, items: [item] })
}

function emitter({ key_as, as }: GroupConfig): (groups: ReadonlyMap<string, Group>, out: Output) => void {
  return (groups, out) => {
    for (const { key, first, kept, items } of groups.values()) {
      const group = first.derive({ [key_as]: key, ...kept, [as]: items }, keyText(key))
      // The group has several messages, so the part of its first message does not identify it.
      group.part = undefined
      out.emit(group)
    }
  }
}

function keeper({ keep = [] }: GroupConfig): (record: unknown) => Group['kept'] {
  const fields = keep.map(path => ({ path, name: nameOf(path), get: getter(path) }))
  return record => {
    const kept: Record<string, unknown> = {}
    for (const { path, name, get } of fields) {
      const value = get(record)
      if (value === undefined) throw new DataError(`${path} is missing`)
      kept[name] = value
    }
    return kept
  }
}

function keyReader(text: string): (m: Message) => Group['key'] {
  const expression = compile(text)
  return m => {
    const key = expression.evaluate(m)
    if (typeof key === 'string' || typeof key === 'number' || typeof key === 'boolean' || key instanceof ExactNumber) return key
    throw new DataError(`'${text}' gave ${show(key)}, which is not a key`)
  }
}
