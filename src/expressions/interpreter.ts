/** Evaluates expressions with the library, which defines their results. Generated code has the same result or leaves the record to it. */
import { DataError, ExactNumber, headerTextOf, type Message } from '../contract/plugin.ts'
import type { Analysis } from './analyze.ts'
import { type CelError, FIELD, isCelError, loadCel, META, type Program, unsigned, VALUE } from './cel.ts'
import { Duration, Timestamp } from './instants.ts'
import { overload, typeName, wording } from './problems.ts'

/** @throws {DataError} if the data does not match the expression. */
export type Evaluate = (message: Message) => unknown

export function interpreter(text: string, program: Program, analysis: Analysis): Evaluate {
  const evaluate = (value: unknown, message: Message) => toJson(program(variables(value, message, analysis)), text)
  return message => {
    const value = message.value
    try {
      // Optional access treats the error described below as a missing field, so the error must be avoided.
      return evaluate(analysis.usesOptional && hasConstructorField(value) ? toMaps(value) : value, message)
    } catch (error) {
      if (error instanceof DataError) throw error
      return again(error, value, message)
    }
  }

  /** The library reads the `constructor` field of an object as its class. Maps have no fields and avoid this. */
  function again(error: unknown, value: unknown, message: Message): unknown {
    let reason = error
    try {
      if (hasConstructorField(value)) return evaluate(toMaps(value), message)
    } catch (second) {
      if (second instanceof DataError) throw second
      // Inspecting a value can also exceed the stack.
      if (isCelError(second)) reason = second
    }
    throw dataError(reason, text, value)
  }
}

/** The variables: own fields only, on an object without a prototype, so inherited fields are not accessible. */
function variables(value: unknown, message: Message, { fields, usesValue, usesMeta }: Analysis): Record<string, unknown> {
  const vars = Object.create(null)
  if (usesValue) vars[VALUE] = value
  if (usesMeta) vars[META] = metaOf(message)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return vars
  if (value instanceof Map) for (const name of fields) vars[FIELD + name] = value.get(name)
  else for (const name of fields) if (Object.hasOwn(value, name)) vars[FIELD + name] = (value as Record<string, unknown>)[name]
  return vars
}

/**
 * The value of `meta`. Fields that the source does not have are missing; of duplicate headers, the last is used. Bytes that are not UTF-8
 * become text as in keys, different for different bytes.
 */
function metaOf(message: Message): Map<string, unknown> {
  const meta = new Map<string, unknown>([
    ['key', message.key],
    ['time', message.time],
    ['offset', message.offset],
    ['headers', new Map((message.headers ?? []).map(([name, value]) => [name, headerTextOf(value)]))],
  ])
  const { topic, partition, source, lane, file, lines } = message.origin ?? {}
  const line = lines ? message.offset : undefined
  for (const [name, value] of Object.entries({ topic, partition, source, lane, file, line })) if (value !== undefined) meta.set(name, value)
  return meta
}

/** A result as JSON; the same object if nothing needs to change. */
function toJson(v: unknown, text: string): unknown {
  switch (typeof v) {
    case 'string':
    case 'boolean':
      return v
    case 'number':
      if (Number.isFinite(v)) return v
      throw new DataError(`'${shorten(text)}' gave ${v}, which is not a JSON number`)
    case 'bigint':
      return Number.isSafeInteger(Number(v)) ? Number(v) : new ExactNumber(String(v))
    case 'object':
      if (v === null || v instanceof ExactNumber) return v
      if (Array.isArray(v)) return listToJson(v, text)
      if (v instanceof Map) return mapToJson(v, text)
      if (isRecord(v)) return recordToJson(v, text)
      // In the JSON notation of protocol buffers.
      if (v instanceof Timestamp || v instanceof Duration) return String(v)
      if (unsigned(v) !== undefined) return toJson(unsigned(v), text)
  }
  throw new DataError(`'${shorten(text)}' gave ${describe(v)}, which is not a JSON value`)
}

function mapToJson(map: ReadonlyMap<unknown, unknown>, text: string): unknown {
  const names = new Set([...map.keys()].map(String))
  if (names.size < map.size) throw new DataError(`'${shorten(text)}' gave an object with two keys that are the same string`)
  return Object.fromEntries([...map].map(([k, x]) => [String(k), toJson(x, text)]))
}

function listToJson(list: readonly unknown[], text: string): unknown {
  const json = list.map(x => toJson(x, text))
  return json.some((x, i) => x !== list[i]) ? json : list
}

function recordToJson(record: Record<string, unknown>, text: string): unknown {
  const entries = Object.entries(record)
  const json = entries.map(([, x]) => toJson(x, text))
  // fromEntries defines fields, so a field named __proto__ stays a field.
  return json.some((x, i) => x !== entries[i][1]) ? Object.fromEntries(entries.map(([k], i) => [k, json[i]])) : record
}

/** An object as created by JSON.parse. */
export function isRecord(v: object): v is Record<string, unknown> {
  const prototype = Object.getPrototypeOf(v)
  return prototype === Object.prototype || prototype === null
}

/** Null, a list, a number, or an object as created by JSON.parse; its contents are not inspected. */
export const isJsonType = (v: object | null): boolean => v === null || Array.isArray(v) || v instanceof ExactNumber || isRecord(v)

/** True if `toJson` would return the same value. */
export function isJson(v: unknown): boolean {
  switch (typeof v) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return Number.isFinite(v)
    case 'object':
      if (v === null || v instanceof ExactNumber) return true
      if (Array.isArray(v)) return v.every(isJson)
      if (!isRecord(v)) return false
      for (const key in v) if (!isJson(v[key])) return false
      return true
    default:
      return false
  }
}

function hasConstructorField(v: unknown): boolean {
  if (typeof v !== 'object' || v === null) return false
  if (Array.isArray(v)) return v.some(hasConstructorField)
  return Object.hasOwn(v, 'constructor') || Object.values(v).some(hasConstructorField)
}

function toMaps(v: unknown): unknown {
  if (Array.isArray(v)) return v.map(toMaps)
  return typeof v === 'object' && v !== null && isRecord(v) ? new Map(Object.entries(v).map(([k, x]) => [k, toMaps(x)])) : v
}

function dataError(error: unknown, text: string, value: unknown): DataError {
  if (!isCelError(error)) return new DataError(`'${shorten(text)}' failed: ${(error as Error).message}`, error)
  const part = error.range ? text.slice(error.range.start, error.range.end) : text
  return new DataError(reason(error, text, value, shorten(part)), error)
}

function reason(error: CelError, text: string, value: unknown, part: string): string {
  const node = error.node
  switch (error.code) {
    case 'unknown_variable':
      return `field '${String(node?.args).slice(FIELD.length)}' is missing (the record ${contents(value)})`
    case 'no_such_key':
    case 'index_out_of_bounds':
      return `'${shorten(node ? text.slice(node.start, node.end) : part)}' is missing`
    case 'no_such_overload':
      return `'${part}': ${overload(error.summary)[0]}`
    case 'no_matching_overload': {
      const [, types = ''] = /\((.*)\)'$/.exec(error.summary) ?? []
      const receiver = node?.op === 'rcall' ? [/'([^.(]+)/.exec(error.summary)![1]] : []
      // A namespace (`math.abs(x)`) is not a value.
      const given = [...receiver.filter(type => !type.endsWith('Namespace')), ...splitTypes(types)].map(typeName).join(' and ')
      return `'${part}': does not work on ${given}`
    }
    case 'invalid_logical_operand':
      // The library always names the left operand, so the message names neither.
      return `'${shorten(text)}': an operand of '&&' or '||' is ${typeName(/got '([^']+)'/.exec(error.summary)?.[1] ?? '')}, not true or false`
    case 'invalid_condition_type':
      return `'${part}': must be true or false, not ${typeName(/got '([^']+)'/.exec(error.summary)?.[1] ?? '')}`
    default:
      return `'${part}': ${wording(error)[0]}`
  }
}

/** Splits `list<string>, map<string, dyn>` at its outer commas. */
const splitTypes = (types: string): string[] => types.split(/, (?![^<]*>)/).filter(t => t !== '')

function contents(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return `is ${describe(value)}`
  const names = Object.keys(value)
  if (names.length === 0) return 'is empty'
  return `has ${names.slice(0, 20).join(', ')}${names.length > 20 ? ` and ${names.length - 20} more` : ''}`
}

function describe(v: unknown): string {
  if (v === null) return 'null'
  if (Array.isArray(v)) return 'a list'
  if (v instanceof ExactNumber) return 'a number'
  if (v instanceof Uint8Array) return 'bytes (base64.encode(x) converts them to a string)'
  if (v instanceof loadCel().Optional) return 'an optional'
  if (typeof v === 'object') return `a value of class ${v.constructor?.name ?? 'unknown'}`
  return { string: 'text', number: 'a number', boolean: 'a boolean' }[typeof v as string] ?? typeof v
}

const shorten = (text: string): string => (text.length > 80 ? `${text.slice(0, 77)}...` : text)
