/** Adds a value of Redis to each message. */
import type { LookupRedisConfig } from '../../../generated/config-types.ts'
import {
  type ConfigProblem,
  DataError,
  defineTransform,
  type Json,
  type Message,
  parseJson,
  type TransformContext,
} from '../../../contract/plugin.ts'
import { attempt } from '../../../kit/fail.ts'
import lookupKeys from '../../../kit/keys/lookup.schema.json' with { type: 'json' }
import rowCache from '../../../kit/keys/row-cache.schema.json' with { type: 'json' }
import { withKeys } from '../../../kit/keys/with-keys.ts'
import { cachedLookup, type Find, type Found, keyReader, type Rows, stubbedFind } from '../../../kit/lookup.ts'
import { OnDemandDriver } from '../../../kit/on-demand-driver.ts'
import { show } from '../../../kit/values/fields.ts'
import { keyField, keyText } from '../../../kit/values/key.ts'
import { checkLookup } from '../check.ts'
import { connect } from '../connect.ts'
import { type Command, type Driver, type Reply, ReplyError, sortError } from '../driver.ts'
import { checkTemplate, template } from '../template.ts'
import { connectionKeys, validateConnection } from '../url.ts'
import schema from './lookup_redis.schema.json' with { type: 'json' }

export default defineTransform<LookupRedisConfig>({
  type: 'lookup_redis',
  varies: 'reads Redis again',
  schema: withKeys(withKeys(withKeys(schema, rowCache), lookupKeys, ['on_missing']), connectionKeys),
  validateConfig,
  create(config, ctx) {
    const handle = new OnDemandDriver(() => connect(config))
    return cachedLookup('lookup_redis', config, ctx, keyOf(config), finder(config, handle, ctx), () => handle.close())
  },
  stubbed: (config, ctx, answer) =>
    cachedLookup(
      'lookup_redis',
      config,
      ctx,
      keyOf(config),
      stubbedFind(key => answer(questionOf(config, key))),
    ),
  check: config => checkLookup(config, commandOf(config, exampleOf(config))),
})

/** Commands sent at once. */
const PIPELINE = 1000

/** With `hash_field`, a key is the JSON text of the hash and the field: no other pair has the same text. */
function keyOf(config: LookupRedisConfig): (m: Message) => string {
  const nameOf = template((config.string ?? config.hash)!)
  const field = config.hash_field === undefined ? undefined : keyField(config.hash_field)
  return keyReader(
    'lookup_redis',
    m => (field ? [nameOf(m), field(m)] : nameOf(m)),
    key => {
      if (!Array.isArray(key)) return key as string
      const name = keyText(key[1])
      if (name !== undefined) return JSON.stringify([key[0], name])
      throw new DataError(`lookup_redis: ${config.hash_field} must be text or a number, not ${show(key[1])}`)
    },
  )
}

const pairOf = (key: string): readonly [hash: string, field: string] => JSON.parse(key) as [string, string]

function questionOf({ hash_field }: LookupRedisConfig, key: string): Json {
  if (hash_field === undefined) return key
  const [hash, field] = pairOf(key)
  return { hash, field }
}

function commandOf({ string, hash_field }: LookupRedisConfig, key: string): Command {
  if (string !== undefined) return ['GET', key]
  return hash_field === undefined ? ['HGETALL', key] : ['HGET', ...pairOf(key)]
}

function exampleOf({ string, hash, hash_field }: LookupRedisConfig): string {
  const name = (string ?? hash)!.replace(/<[^>]*>/g, 'x')
  return hash_field === undefined ? name : JSON.stringify([name, 'x'])
}

function finder(config: LookupRedisConfig, handle: OnDemandDriver<Driver>, ctx: TransformContext): Find {
  const read = config.string === undefined && config.hash_field === undefined ? hashRow : valueRow(config, ctx.depth)
  return async keys => {
    const driver = await handle.driver()
    const found = new Map<string, Found>()
    for (let at = 0; at < keys.length; at += PIPELINE) {
      const some = keys.slice(at, at + PIPELINE)
      const replies = await driver.run(some.map(key => commandOf(config, key)))
      some.forEach((key, i) => found.set(key, rowsOf(replies[i], key, read)))
    }
    return found
  }
}

/** @throws errors that are temporary or affect all keys */
function rowsOf(reply: Reply | ReplyError, key: string, read: (reply: Reply, key: string) => Rows): Found {
  if (!(reply instanceof ReplyError)) return attempt(() => read(reply, key))
  // A record chooses the key, and must not stop the pipeline with it.
  if (reply.kind === 'WRONGTYPE') return new DataError(`lookup_redis: ${key} has another type (${reply.message})`)
  const error = sortError(reply, `lookup_redis: ${key}`)
  if (error instanceof DataError) return error
  throw error
}

const NONE: Rows = { rows: [] }
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** @throws {DataError} */
function textOf(bytes: Reply, key: string): string {
  try {
    return typeof bytes === 'string' ? bytes : utf8.decode(bytes as Buffer)
  } catch {
    throw new DataError(`lookup_redis: the value of ${key} is not valid UTF-8`)
  }
}

function valueRow({ format }: LookupRedisConfig, depth: number): (reply: Reply, key: string) => Rows {
  return (reply, key) => {
    if (reply === null) return NONE
    const text = textOf(reply, key)
    if (format === 'text') return { rows: [text], bytes: text.length }
    let value: unknown
    try {
      value = parseJson(text, depth)
    } catch (error) {
      throw new DataError(
        `lookup_redis: the value of ${key} is not JSON: ${(error as Error).message}; for plain text, set format: text`,
        error,
      )
    }
    return value === null ? NONE : { rows: [value], bytes: text.length }
  }
}

function hashRow(reply: Reply, key: string): Rows {
  const texts = (reply as Reply[]).map(part => textOf(part, key))
  if (texts.length === 0) return NONE
  const fields = Array.from({ length: texts.length / 2 }, (_, i) => [texts[2 * i], texts[2 * i + 1]] as const)
  return { rows: [Object.fromEntries(fields)], bytes: texts.reduce((n, text) => n + text.length, 0) }
}

function validateConfig(config: LookupRedisConfig): ConfigProblem[] {
  const problems = validateConnection(config)
  const { string, hash, hash_field, as, format } = config
  if (string === undefined && hash === undefined) problems.push({ path: [], message: 'set string or hash' })
  if (string !== undefined && hash !== undefined) problems.push({ path: ['hash'], message: 'set either string or hash, not both' })
  for (const mode of ['string', 'hash'] as const) {
    const bad = config[mode] === undefined ? undefined : checkTemplate(config[mode])
    if (bad !== undefined) problems.push({ path: [mode], message: bad })
  }
  if (hash_field !== undefined && hash === undefined) problems.push({ path: ['hash_field'], message: 'works with hash, not with string' })
  if (format === 'json' && hash !== undefined && hash_field === undefined)
    problems.push({ path: ['format'], message: 'works with string and hash_field; a whole hash is an object of texts; remove it' })
  if (as.includes('.')) problems.push({ path: ['as'], message: 'must be the name of a field, not a path' })
  return problems
}
