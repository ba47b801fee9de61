/** The checks of `runner check` for Redis: response, login, permissions, and the type of the key. Changes nothing. */
import { existsSync } from 'node:fs'
import type { CheckResult, CheckContext } from '../../contract/plugin.ts'
import type { RedisSinkConfig, RedisSourceConfig } from '../../generated/config-types.ts'
import { failureOf } from '../../kit/tls-failure.ts'
import { connect } from './connect.ts'
import { type Command, type Driver, ReplyError, text } from './driver.ts'
import { foreign } from './key-owner.ts'
import { modeOf } from './sink-commands.ts'
import { isFixed } from './template.ts'
import { type ConnectionConfig, nameOf, parseUrl } from './url.ts'

export function checkSource(config: RedisSourceConfig, ctx: CheckContext): Promise<CheckResult[]> {
  return withDriver(config, async driver => {
    if (config.patterns !== undefined) return [await rights(driver, [['PSUBSCRIBE', ...config.patterns]])]
    if (config.streams !== undefined) {
      const group = config.group ?? ctx.pipeline
      const found = [
        await rights(
          driver,
          config.streams.flatMap(key => [
            ['XREADGROUP', 'GROUP', group, 'check', 'STREAMS', key, '>'],
            ['XACK', key, group, '0-0'],
            ['XAUTOCLAIM', key, group, 'check', '60000', '0-0'],
          ]),
        ),
      ]
      for (const key of config.streams) found.push(await typed(driver, key, 'stream', false))
      return found
    }
    if (config.snapshot !== undefined)
      return [await rights(driver, [['TYPE', config.snapshot], ...Object.values(READS).map(read => read(config.snapshot!))])]
    const key = (config.list ?? config.hash ?? config.sorted_set)!
    const type = config.list !== undefined ? 'list' : config.hash !== undefined ? 'hash' : 'zset'
    return [await rights(driver, [READS[type](key)]), await typed(driver, key, type, true)]
  })
}

export function checkSink(config: RedisSinkConfig, ctx: CheckContext): Promise<CheckResult[]> {
  return withDriver(config, async driver => {
    const mode = modeOf(config)
    const name = config[mode]!
    const found = [await rights(driver, [WRITES[mode](isFixed(name) ? name : name.replace(/<[^>]*>/g, 'x'))])]
    if (mode !== 'channel' && isFixed(name)) found.push(await typed(driver, name, mode === 'sorted_set' ? 'zset' : mode, false))
    if (config.on_foreign_key === 'refuse' && isFixed(name) && found.every(f => f.ok)) {
      const problem = await foreign(driver, name, ctx.pipeline)
      found.push({
        what: `owner of key ${name}`,
        ok: problem === undefined,
        detail: 'this pipeline, or the key does not exist yet',
        ...problem,
      })
    }
    return found
  })
}

/** @param command as the step would send it, with an example of a key */
export function checkLookup(config: ConnectionConfig, command: Command): Promise<CheckResult[]> {
  return withDriver(config, async driver => [await rights(driver, [command])])
}

const READS: Record<string, (key: string) => Command> = {
  list: key => ['LRANGE', key, '0', '0'],
  hash: key => ['HGETALL', key],
  zset: key => ['ZRANGE', key, '0', '0'],
}
const WRITES: Record<string, (key: string) => Command> = {
  channel: key => ['PUBLISH', key, 'x'],
  stream: key => ['XADD', key, '*', 'x', 'x'],
  list: key => ['RPUSH', key, 'x'],
  hash: key => ['HSET', key, 'x', 'x'],
  sorted_set: key => ['ZADD', key, '0', 'x'],
  string: key => ['SET', key, 'x'],
}

async function withDriver(config: ConnectionConfig, look: (driver: Driver) => Promise<CheckResult[]>): Promise<CheckResult[]> {
  let what = 'redis'
  try {
    const target = parseUrl(config.url)
    what = `redis ${nameOf(target)}`
    if (target.kind === 'embedded' && !existsSync(target.path)) return [{ what, ok: true, detail: 'will be created' }]
    const handle = await connect(config)
    try {
      const [pong] = await handle.driver.run([['PING']])
      if (pong instanceof ReplyError) return [{ what, ok: false, detail: pong.message, fix: fixFor(pong) }]
      return [{ what, ok: true, detail: 'answers' }, ...(await look(handle.driver))]
    } finally {
      await handle.release()
    }
  } catch (error) {
    const { message } = error as Error
    const tls = failureOf(error)
    if (tls !== undefined) return [{ what, ok: false, detail: tls.what, fix: tls.fix }]
    const login = /NOAUTH|WRONGPASS/.test(message)
    return [
      {
        what,
        ok: false,
        detail: message,
        fix: login ? 'set REDIS_URL=redis://user:password@host:port, or REDIS_PASSWORD' : 'start the server, or correct REDIS_URL',
      },
    ]
  }
}

/** ACL DRYRUN (Redis 7) checks permissions without executing. Where it is unknown or not allowed, the check claims nothing. */
async function rights(driver: Driver, commands: readonly Command[]): Promise<CheckResult> {
  const what = `permissions for ${[...new Set(commands.map(c => c[0]))].join(', ')}`
  const [user] = await driver.run([['ACL', 'WHOAMI']])
  if (user instanceof ReplyError) return { what, ok: true, detail: 'not checked: the server does not report permissions' }
  const replies = await driver.run(commands.map(c => ['ACL', 'DRYRUN', text(user), ...c]))
  for (const reply of replies) {
    if (reply instanceof ReplyError) return { what, ok: true, detail: 'not checked: the server does not report permissions' }
    if (text(reply) !== 'OK')
      return { what, ok: false, detail: text(reply), fix: `grant user ${text(user)} the permission with ACL SETUSER` }
  }
  return { what, ok: true, detail: `granted to user ${text(user)}` }
}

async function typed(driver: Driver, key: string, wanted: string, needed: boolean): Promise<CheckResult> {
  const what = `key ${key}`
  const [reply] = await driver.run([['TYPE', key]])
  if (reply instanceof ReplyError) return { what, ok: false, detail: reply.message, fix: fixFor(reply) }
  const type = text(reply)
  if (type === 'none')
    return {
      what,
      ok: !needed,
      detail: needed ? 'does not exist' : 'does not exist yet',
      ...(needed && { fix: 'write data to the key first, or correct its name' }),
    }
  return type === wanted
    ? { what, ok: true, detail: `type ${type}` }
    : { what, ok: false, detail: `is a ${type}, not a ${wanted}`, fix: `choose another key, or delete it: redis-cli DEL ${key}` }
}

const fixFor = (error: ReplyError): string =>
  error.kind === 'NOAUTH' || error.kind === 'WRONGPASS'
    ? 'set REDIS_URL=redis://user:password@host:port, or REDIS_PASSWORD'
    : 'grant the user the permission with ACL SETUSER'
