/** Adds a row of a database table to each message. */
import type { LookupConfig } from '../../../generated/config-types.ts'
import { connect, validateConnection, connectionKeys, type ConnectionConfig } from '../../../kit/postgres/connect.ts'
import type { Driver, Param } from '../../../kit/postgres/driver.ts'
import { checkColumns, checkRows, jsonRow } from '../json.ts'
import { OnDemandDriver } from '../../../kit/on-demand-driver.ts'
import { OID } from '../../../kit/postgres/types.ts'
import { parsePlaceholders } from '../placeholders.ts'
import { checkDatabase } from '../check.ts'
import { compile } from '../../../expressions/index.ts'
import {
  canonicalText,
  type ConfigProblem,
  DataError,
  defineTransform,
  EnvironmentError,
  ExactNumber,
  isJsonNumber,
  type Message,
  type TransformContext,
} from '../../../contract/plugin.ts'
import { limits } from '../../../kit/limits.ts'
import { cachedLookup, type Find, type Found, keyReader, stubbedFind } from '../../../kit/lookup.ts'
import { show } from '../../../kit/values/fields.ts'
import { keyText } from '../../../kit/values/key.ts'
import { withKeys } from '../../../kit/keys/with-keys.ts'
import lookupKeys from '../../../kit/keys/lookup.schema.json' with { type: 'json' }
import rowCache from '../../../kit/keys/row-cache.schema.json' with { type: 'json' }
import schema from './lookup.schema.json' with { type: 'json' }

export default defineTransform<LookupConfig>({
  type: 'lookup',
  varies: 'queries the database again',
  schema: withKeys(withKeys(withKeys(schema, rowCache), lookupKeys), connectionKeys),
  validateConfig,
  create(config, ctx) {
    const handle = new OnDemandDriver(() => connect(connection(config), ctx.log))
    return cachedLookup('lookup', config, ctx, keyOf(config), finder(config, handle, ctx), () => handle.close())
  },
  stubbed: (config, ctx, answer) => cachedLookup('lookup', config, ctx, keyOf(config), stubbedFind(answer)),
  check: (config, ctx) => checkDatabase(connection(config), ctx, []),
})

/** Types whose values have several spellings: as text, `1.1` differs from `1.10`. */
const NUMBERS: ReadonlySet<number> = new Set([OID.int2, OID.int4, OID.int8, OID.oid, OID.float4, OID.float8, OID.numeric])

/** One text for all spellings of a key that are equal in the type of the column. */
function spelling(type: number): (key: string) => string {
  if (NUMBERS.has(type)) return key => (isJsonNumber(key) ? canonicalText(new ExactNumber(key)) : key)
  if (type === OID.uuid) return key => key.toLowerCase().replaceAll(/[{}-]/g, '')
  return type === OID.bpchar ? key => key.trimEnd() : key => key
}

const keyOf = ({ key }: LookupConfig): ((m: Message) => string) => {
  const expression = compile(key)
  return keyReader('lookup', m => expression.evaluate(m), keyText)
}

function finder(config: LookupConfig, handle: OnDemandDriver<Driver>, ctx: TransformContext): Find {
  const { sql } = parsePlaceholders(config.query)
  const warned = ctx.shared('unmatched rows', () => ({ done: false }))
  const find = async (keys: readonly string[]): Promise<Map<string, Found>> => {
    const driver = await handle.driver()
    try {
      const result = await driver.query(sql, [keys as Param], { prepare: true, maxRows: limits().messages })
      const { rows, fields } = result
      const column = config.column ?? fields[0]?.name
      if (column === undefined || !fields.some(f => f.name === column))
        throw new EnvironmentError(
          `lookup: ${column === undefined ? 'the query returns no columns' : `the query returns no column ${column}; add it to the query, or correct column`}`,
        )
      checkColumns(fields, 'lookup')
      checkRows(result, 'lookup')
      const spell = spelling(fields.find(f => f.name === column)!.type)
      const found = new Map(keys.map(key => [spell(key), [] as Record<string, unknown>[]]))
      let foreign: string | undefined
      for (const row of rows) {
        const key = String(row[column])
        const list = found.get(spell(key))
        if (list) list.push(jsonRow(fields, row, ctx.depth))
        else foreign ??= key
      }
      const missing = foreign === undefined ? undefined : keys.find(key => found.get(spell(key))!.length === 0)
      if (missing !== undefined && !warned.done) {
        warned.done = true
        ctx.log.warn(
          { step: ctx.step, column, row: foreign, key: missing },
          `the query returned a row whose ${column} is ${show(foreign)}, which does not match any requested key, and no row for ${show(missing)}: if both are the same key, let the query return the key as requested (logged once)`,
        )
      }
      return new Map(keys.map(key => [key, { rows: found.get(spell(key))! }]))
    } catch (error) {
      if (!(error instanceof DataError)) throw error
      // A key that is not valid for the type of the column, or has too many rows, does not fail the others.
      if (keys.length === 1) return new Map([[keys[0], error]])
      const middle = keys.length >> 1
      return new Map([...(await find(keys.slice(0, middle))), ...(await find(keys.slice(middle)))])
    }
  }
  return find
}

const connection = (config: LookupConfig): ConnectionConfig => config as ConnectionConfig

function validateConfig(config: LookupConfig): ConfigProblem[] {
  const problems = validateConnection(connection(config))
  const { names, numbered } = parsePlaceholders(config.query)
  if (names.length !== 1 || names[0] !== 'keys' || numbered.length > 0)
    problems.push({ path: ['query'], message: 'must have exactly one parameter, $keys: ... where id = any($keys)' })
  if (config.as.includes('.')) problems.push({ path: ['as'], message: 'must be the name of a field, not a path' })
  if (config.many && config.on_missing !== 'fail')
    problems.push({ path: ['on_missing'], message: 'does not work with many: true, where a missing key gives an empty list; remove it' })
  return problems
}
