/** Converts a message to commands, per mode of the sink. */
import { DataError, encodeJson, ExactNumber, type Message, toDouble } from '../../contract/plugin.ts'
import type { RedisSinkConfig } from '../../generated/config-types.ts'
import { type Exact, readDecimal } from '../../kit/values/decimal.ts'
import { getter, show } from '../../kit/values/fields.ts'
import { keyField, keyText } from '../../kit/values/key.ts'
import { isRecord } from '../../kit/values/records.ts'
import type { Arg, Command } from './driver.ts'
import { template } from './template.ts'

export const MODES = ['channel', 'stream', 'list', 'hash', 'sorted_set', 'string'] as const
export type Mode = (typeof MODES)[number]

export const modeOf = (config: RedisSinkConfig): Mode => MODES.find(mode => config[mode] !== undefined)!

export interface Write {
  readonly key: string
  readonly commands: readonly Command[]
  /** Must be executed all or nothing. */
  readonly atomic: boolean
}

/** Called with a score that Redis rounds. */
type OnRounded = (given: string, score: number) => void

/** @returns the commands for one message. Throws a {DataError} if the message lacks a value that they need. */
export function writer(config: RedisSinkConfig, onRounded: OnRounded = () => {}): (m: Message) => Write {
  const mode = modeOf(config)
  const keyOf = template(config[mode]!)
  const make = MAKERS[mode](config, onRounded)
  const { ttl, unique_score } = config
  return m => {
    const key = keyOf(m)
    const commands = make(key, m)
    // The command of the string itself sets it.
    const ends = ttl !== undefined && mode !== 'string' && mode !== 'channel'
    return { key, commands: ends ? [...commands, ['PEXPIRE', key, ttl]] : commands, atomic: unique_score && mode === 'sorted_set' }
  }
}

/** Executed once per key and batch: trims the key to its length. */
export function trimmer({ max_length, push, sorted_set, list }: RedisSinkConfig): ((key: string) => Command) | undefined {
  if (max_length === undefined) return undefined
  if (list !== undefined) return key => (push === 'left' ? ['LTRIM', key, 0, max_length - 1] : ['LTRIM', key, -max_length, -1])
  return sorted_set === undefined ? undefined : key => ['ZREMRANGEBYRANK', key, 0, -max_length - 1]
}

type Maker = (config: RedisSinkConfig, onRounded: OnRounded) => (key: string, m: Message) => Command[]

const MAKERS: Record<Mode, Maker> = {
  channel: () => (key, m) => [['PUBLISH', key, valueOf(m)]],

  stream: config => {
    const head: Arg[] = config.max_length === undefined ? [] : ['MAXLEN', '~', config.max_length]
    if (config.entry === 'fields') return (key, m) => [['XADD', key, ...head, '*', ...entryFields(m)]]
    return (key, m) => [['XADD', key, ...head, '*', config.value_field, valueOf(m)]]
  },

  list: config => (key, m) => [[config.push === 'left' ? 'LPUSH' : 'RPUSH', key, valueOf(m)]],

  hash: config => {
    const field = config.hash_field === undefined ? undefined : keyField(config.hash_field)
    return (key, m) => {
      const name = field === undefined ? m.encodeKey() : nameOf(field(m), config.hash_field!)
      if (name === null)
        throw new DataError(`the message has no key to use as the field of ${key}; set hash_field to use a field of its value`)
      const value = m.encode()
      return [value === null ? ['HDEL', key, name] : ['HSET', key, name, value]]
    }
  },

  sorted_set: (config, onRounded) => {
    const get = getter(config.score!)
    return (key, m) => {
      const given = get(m.value)
      const score = scoreOf(given, config.score!)
      if (isRounded(given)) {
        const text = keyText(given)!.trim()
        // It would delete a record whose score only looks the same.
        if (config.unique_score)
          throw new DataError(
            `field "${config.score}" is ${text}, but Redis stores scores as doubles: as ${score} it would replace records with other scores (unique_score)`,
          )
        onRounded(text, score)
      }
      const add: Command = ['ZADD', key, score, valueOf(m)]
      return config.unique_score ? [['ZREMRANGEBYSCORE', key, score, score], add] : [add]
    }
  },

  string: config => (key, m) => {
    const value = m.encode()
    if (value === null) return [['DEL', key]]
    return [config.ttl === undefined ? ['SET', key, value] : ['SET', key, value, 'PX', config.ttl]]
  },
}

function valueOf(m: Message): Buffer | string {
  const value = m.encode()
  if (value === null) throw new DataError('the message has no value (a tombstone)')
  return value
}

function scoreOf(value: unknown, path: string): number {
  const score = typeof value === 'string' ? doubleOf(readDecimal(value.trim())) : toDouble(value)
  if (typeof score === 'number' && Number.isFinite(score)) return score
  throw new DataError(`field "${path}" is ${show(value)} but a score must be a number`)
}

/** @returns whether a double cannot represent the value. Redis stores scores as doubles. */
function isRounded(value: unknown): boolean {
  if (value instanceof ExactNumber) return value.plain === undefined
  return typeof value === 'string' && typeof readDecimal(value.trim()) === 'string'
}

const doubleOf = (x: Exact | undefined): number | undefined => (x === undefined ? undefined : Number(x))

function nameOf(value: unknown, path: string): string {
  const name = keyText(value)
  if (name !== undefined) return name
  throw new DataError(`field "${path}" is ${show(value)} but the field of a hash must be text or a number`)
}

function entryFields(m: Message): Arg[] {
  const { value } = m
  if (!isRecord(value) || Object.keys(value).length === 0) throw new DataError('entry: fields needs an object with at least one field')
  return Object.entries(value).flatMap(([name, v]) => [name, typeof v === 'string' ? v : v === undefined ? 'null' : encodeJson(v)])
}
