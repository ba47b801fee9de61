/** SQL statements of the user, with named parameters. */
import { compile } from '../../expressions/index.ts'
import { type ConfigProblem, DataError, encodeJson, headerTextOf, type Message } from '../../contract/plugin.ts'
import type { Param } from '../../kit/postgres/driver.ts'
import { parsePlaceholders } from './placeholders.ts'
import { jsonArray } from './rows.ts'
import type { Command } from './write.ts'

export interface StatementConfig {
  readonly sql: string
  readonly params?: Readonly<Record<string, string>>
  readonly per?: 'message' | 'batch'
}

/** Of a whole batch: JSON arrays with one element per message. */
const OF_BATCH: Readonly<Record<string, (messages: readonly Message[]) => Param>> = {
  batch: messages => jsonArray(messages.map(jsonOf)),
  envelopes: messages => jsonArray(messages.map(envelopeOf)),
}
/** Of one message, as JSON. */
const OF_MESSAGE: Readonly<Record<string, (m: Message) => Param>> = { message: jsonOf, envelope: envelopeOf }

const perOf = ({ sql, per }: StatementConfig): 'message' | 'batch' =>
  per ?? (parsePlaceholders(sql).names.some(n => n in OF_BATCH) ? 'batch' : 'message')

export function validateStatement(config: StatementConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const { names, numbered } = parsePlaceholders(config.sql)
  const per = perOf(config)
  const given = Object.keys(config.params ?? {})
  const own = Object.keys(per === 'batch' ? OF_BATCH : OF_MESSAGE)
  const other = Object.keys(per === 'batch' ? OF_MESSAGE : OF_BATCH)
  if (numbered.length > 0)
    problems.push({
      path: ['sql'],
      message: `${numbered[0]}: numbered parameters are not supported: use names, such as $id with params: {id: ...}`,
    })
  for (const name of names) {
    if (given.includes(name) || own.includes(name)) continue
    const message = other.includes(name)
      ? `$${name} is available only with per: ${per === 'batch' ? 'message' : 'batch'}`
      : `$${name} has no value: add it to params, or use one of ${own.map(n => `$${n}`).join(', ')}`
    problems.push({ path: ['sql'], message })
  }
  for (const name of given) {
    if (own.includes(name) || other.includes(name))
      problems.push({ path: ['params', name], message: `$${name} is reserved for the JSON of the messages; choose another name` })
    else if (!names.includes(name))
      problems.push({ path: ['params', name], message: `$${name} does not occur in the statement; remove it` })
  }
  return problems
}

export function statementCommand(config: StatementConfig): Command {
  const { sql, names } = parsePlaceholders(config.sql)
  const values = names.map(name => {
    const own = config.params?.[name]
    return own === undefined ? undefined : compile(own)
  })
  const valueOf = (name: string, i: number, m: Message): Param => {
    const expression = values[i]
    return expression ? paramOf(expression.evaluate(m)) : OF_MESSAGE[name](m)
  }
  if (perOf(config) === 'message') return { sql, each: m => names.map((name, i) => valueOf(name, i, m)) }
  return {
    sql,
    params: messages => names.map((name, i) => (values[i] ? messages.map(m => valueOf(name, i, m)) : OF_BATCH[name](messages))),
  }
}

/** JSON scalars unchanged, lists and objects as JSON text. */
function paramOf(value: unknown): Param {
  if (value === null || value === undefined) return null
  if (typeof value === 'object' && !Buffer.isBuffer(value)) return encodeJson(value)
  return value as Param
}

/** The body with its original bytes. @throws {DataError} when it is not JSON. */
export function jsonOf(m: Message): string {
  const value = m.value
  if (value === undefined || Buffer.isBuffer(value)) throw new DataError('the value of the message must be JSON')
  // A text value is not JSON, even if it looks like it.
  if (typeof value === 'string' && m.origin?.format === 'text') return JSON.stringify(value)
  return m.encode()?.toString() ?? 'null'
}

function envelopeOf(m: Message): string {
  const { key, time, offset, origin, headers } = m
  const names = headers && Object.fromEntries(headers.map(([name, value]) => [name, headerTextOf(value)]))
  const meta = JSON.stringify({
    key,
    time,
    offset,
    topic: origin?.topic ?? null,
    partition: origin?.partition ?? null,
    headers: names ?? {},
  })
  return `${meta.slice(0, -1)},"value":${jsonOf(m)}}`
}
