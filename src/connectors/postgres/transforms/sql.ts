/** Runs a query for the messages and continues with its result. */
import type { SqlConfig } from '../../../generated/config-types.ts'
import { connect, validateConnection, connectionKeys, type ConnectionConfig } from '../../../kit/postgres/connect.ts'
import type { Queryable, QueryOptions, Result } from '../../../kit/postgres/driver.ts'
import { checkColumns, checkRows, jsonRow } from '../json.ts'
import { OnDemandDriver } from '../../../kit/on-demand-driver.ts'
import { checkDatabase } from '../check.ts'
import { validateStatement, statementCommand } from '../statements.ts'
import { compile } from '../../../expressions/index.ts'
import {
  type ConfigProblem,
  DataError,
  defineTransform,
  EnvironmentError,
  type Json,
  type Message,
  type Output,
  type Transform,
} from '../../../contract/plugin.ts'
import { attempt } from '../../../kit/fail.ts'
import { checkFanOut, limits } from '../../../kit/limits.ts'
import { show } from '../../../kit/values/fields.ts'
import { isRecord } from '../../../kit/values/records.ts'
import { withKeys } from '../../../kit/keys/with-keys.ts'
import lookupKeys from '../../../kit/keys/lookup.schema.json' with { type: 'json' }
import schema from './sql.schema.json' with { type: 'json' }

type Rows = Record<string, unknown>[]
type Found = Rows | DataError

export default defineTransform<SqlConfig>({
  type: 'sql',
  varies: 'queries the database again',
  schema: withKeys(withKeys(schema, lookupKeys, ['on_missing']), connectionKeys),
  validateConfig,
  create(config, ctx) {
    const handle = new OnDemandDriver(() => connect(connection(config), ctx.log))
    const find = finder(config, ctx.depth)
    return transform(
      config,
      async messages => find(await handle.driver(), messages),
      () => handle.close(),
    )
  },
  stubbed(config, _ctx, answer) {
    const params = Object.entries(config.params ?? {}).map(([name, text]) => [name, compile(text)] as const)
    const question = (m: Message): Json =>
      (params.length > 0 ? Object.fromEntries(params.map(([name, e]) => [name, e.evaluate(m)])) : m.value) as Json
    return transform(config, async messages => messages.map(m => attempt(() => answer(question(m)) as Rows)))
  },
  check: (config, ctx) => checkDatabase(connection(config), ctx, []),
})

const connection = (config: SqlConfig): ConnectionConfig => config as ConnectionConfig

function transform(config: SqlConfig, find: (messages: Message[]) => Promise<Found[]>, close?: () => Promise<void>): Transform {
  const finish = finisher(config)
  return {
    async process(messages, out) {
      // The array belongs to the caller and must be copied.
      const mine = [...messages]
      const found = await find(mine)
      mine.forEach((m, i) => finish(m, found[i], out))
    },
    close,
  }
}

type Database = Queryable & { transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> }

/** The rows of each message. */
function finder(config: SqlConfig, depth: number): (db: Database, messages: Message[]) => Promise<Found[]> {
  const { sql, params, each } = statementCommand({ sql: config.query, params: config.params, per: config.per })
  if (each) {
    const one = async (tx: Queryable, m: Message): Promise<Rows> => rowsOf(await tx.query(sql, each(m), bounded()), depth)
    return async (db, messages) => {
      try {
        // One transaction: after a lost connection, nothing of it was done, so it can be retried.
        return await db.transaction(async tx => {
          const found: Rows[] = []
          for (const m of messages) found.push(await one(tx, m))
          return found
        })
      } catch (error) {
        if (!(error instanceof DataError)) throw error
      }
      return await db.transaction(async tx => {
        const found: Found[] = []
        for (const m of messages) found.push(await apart(tx, () => one(tx, m)))
        return found
      })
    }
  }
  // A rejected result also undoes the changes of the query.
  const reads = /^\s*select\b/i.test(sql)
  const ask = async (db: Queryable, messages: Message[]): Promise<Rows[]> =>
    byMessage(await db.query(sql, params(messages), bounded()), messages.length, depth)
  const whole = async (db: Database, messages: Message[]): Promise<Found[]> => {
    try {
      return await (reads ? ask(db, messages) : db.transaction(tx => ask(tx, messages)))
    } catch (error) {
      if (!(error instanceof DataError)) throw error
      if (messages.length === 1) return [error]
      const middle = messages.length >> 1
      return [...(await whole(db, messages.slice(0, middle))), ...(await whole(db, messages.slice(middle)))]
    }
  }
  return whole
}

const bounded = (): QueryOptions => ({ prepare: true, maxRows: limits().messages })

function rowsOf(result: Result, depth: number): Rows {
  const { rows, fields } = result
  checkColumns(fields, 'sql')
  checkRows(result, 'sql')
  return rows.map(row => jsonRow(fields, row, depth))
}

/** By the column `n`, which counts from 1 as WITH ORDINALITY does. @throws {EnvironmentError} if it is missing. */
function byMessage(result: Result, count: number, depth: number): Rows[] {
  const found: Rows[] = Array.from({ length: count }, () => [])
  checkColumns(result.fields, 'sql')
  checkRows(result, 'sql')
  const fields = result.fields.filter(f => f.name !== 'n')
  if (fields.length === result.fields.length)
    throw new EnvironmentError('sql: with per: batch, the query must return a column n: the number of the message, from 1')
  for (const row of result.rows) found[Number(row.n) - 1]?.push(jsonRow(fields, row, depth))
  return found
}

/** A data error undoes only the changes of its own message. */
async function apart(tx: Queryable, work: () => Promise<Rows>): Promise<Found> {
  await tx.query('savepoint message')
  try {
    const rows = await work()
    await tx.query('release savepoint message')
    return rows
  } catch (error) {
    if (!(error instanceof DataError)) throw error
    await tx.query('rollback to savepoint message')
    return error
  }
}

function finisher({ result, as, on_missing }: SqlConfig): (m: Message, found: Found, out: Output) => void {
  const set = (m: Message, fields: object, out: Output): void => {
    if (!isRecord(m.value)) return out.fail(m, new DataError(`sql: the value must be an object, not ${show(m.value)}`))
    m.value = { ...m.value, ...fields }
    out.emit(m)
  }
  const named = (m: Message, value: unknown): object => {
    if (as === undefined) return value as object
    if (!isRecord(m.value)) throw new DataError(`sql: the value must be an object, not ${show(m.value)}`)
    return { ...m.value, [as]: value }
  }
  return (m, found, out) => {
    if (found instanceof DataError) return out.fail(m, found)
    try {
      checkFanOut(found.length, 'the result of sql')
    } catch (error) {
      return out.fail(m, error as Error)
    }
    if (result === 'list') return set(m, { [as!]: found }, out)
    if (result === 'unnest') {
      try {
        for (const value of found.map(row => named(m, row))) out.emit(m.derive(value))
      } catch (error) {
        out.fail(m, error as Error)
      }
      return
    }
    if (found.length > 1)
      return out.fail(m, new DataError(`sql: ${found.length} rows for one message; set result: list or unnest to use all of them`))
    if (found.length === 0) {
      if (on_missing === 'fail') return out.fail(m, new DataError('sql: no row for the message'))
      if (on_missing === 'null' && as !== undefined) return set(m, { [as]: null }, out)
      return out.emit(m)
    }
    if (result === 'merge') return set(m, as === undefined ? found[0] : { [as]: found[0] }, out)
    m.value = found[0]
    out.emit(m)
  }
}

function validateConfig(config: SqlConfig): ConfigProblem[] {
  const problems = validateConnection(connection(config))
  const { query: sql, params, per, result, as, on_missing } = config
  for (const p of validateStatement({ sql, params, per })) problems.push({ ...p, path: p.path[0] === 'sql' ? ['query'] : p.path })
  if (result === 'list' && as === undefined) problems.push({ path: ['as'], message: 'result: list needs as: the field for the list' })
  if (result === 'replace' && as !== undefined)
    problems.push({ path: ['as'], message: 'does not work with result: replace, where the row replaces the whole value; remove it' })
  if (on_missing === 'null' && as === undefined)
    problems.push({ path: ['on_missing'], message: 'on_missing: null needs as: the field to set to null' })
  if (as?.includes('.') === true) problems.push({ path: ['as'], message: 'must be the name of a field, not a path' })
  return problems
}
