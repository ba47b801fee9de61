/** Reads the content of a key once. */
import { type Batch, EnvironmentError, Message, type Origin, type Source, type SourceContext } from '../../contract/plugin.ts'
import type { RedisSourceConfig } from '../../generated/config-types.ts'
import { compareExact, readDecimal } from '../../kit/values/decimal.ts'
import { connect, type RedisHandle } from './connect.ts'
import { ask, type Driver, type Reply, text } from './driver.ts'

interface Item {
  readonly key: Buffer | null
  readonly value: Buffer
}

/** Elements requested at once. */
const PAGE = 5000

export function snapshotSource(config: RedisSourceConfig, ctx: SourceContext): Source {
  const key = (config.snapshot ?? config.list ?? config.hash ?? config.sorted_set)!
  const lane = `key/${key}`
  const origin: Origin = { lane, source: ctx.step, topic: key, format: config.format }
  let handle: RedisHandle | undefined
  let items: Item[] | undefined
  let next = 0

  return {
    async open() {
      handle ??= await connect(config)
      const positions = await ctx.assign([{ id: lane, source: ctx.step, topic: key }])
      next = start(positions.get(lane))
    },

    async read(signal): Promise<Batch | null> {
      signal.throwIfAborted()
      // Reads everything at once: a change between two partial reads would shift the rest.
      items ??= await readKey(handle!.driver, config, key)
      if (next >= items.length) return null
      const from = next
      next = Math.min(items.length, from + config.batch_size)
      const time = ctx.clock.now()
      const messages = items.slice(from, next).map((item, i) => Message.fromRecord(item.value, item.key, time, undefined, from + i, origin))
      return { lane, messages, position: next, lag: items.length - next }
    },

    async seek(_, position) {
      next = start(position)
    },

    caughtUp: () => items !== undefined && next >= items.length,
    healthy: () => handle?.driver.healthy() ?? false,

    async close() {
      await handle?.release()
    },
  }
}

const start = (position: unknown): number => (typeof position === 'number' ? position : 0)

async function readKey(driver: Driver, config: RedisSourceConfig, key: string): Promise<Item[]> {
  const { last } = config
  const type = text(await ask(driver, ['TYPE', key]))
  if (type === 'none') return []
  const wanted = wantedType(config, type)
  if (type !== wanted)
    throw new EnvironmentError(
      `${key} on ${driver.scope} is a ${nameOf(type)}, not a ${nameOf(wanted)}${READABLE.has(type) ? `: read it as ${nameOf(type)}: ${key}` : ''}`,
    )
  if (wanted === 'hash') return tail(await readHash(driver, key), last)
  const length = (await ask(driver, [wanted === 'list' ? 'LLEN' : 'ZCARD', key])) as number
  const items: Item[] = []
  // With `last`, in one command, counted from the end; a long key is read in pages, from the beginning.
  if (last !== undefined) return itemsOf((await ask(driver, range(wanted, key, -last, -1))) as Reply[], wanted)
  for (let from = 0; from < length; from += PAGE)
    items.push(...itemsOf((await ask(driver, range(wanted, key, from, from + PAGE - 1))) as Reply[], wanted))
  return items
}

const READABLE = new Set(['list', 'hash', 'zset'])
type Readable = 'list' | 'hash' | 'zset'

function wantedType({ list, hash, sorted_set }: RedisSourceConfig, type: string): Readable {
  if (list !== undefined) return 'list'
  if (hash !== undefined) return 'hash'
  // A key of another type fails with the error for a sorted set.
  return sorted_set === undefined && READABLE.has(type) ? (type as Readable) : 'zset'
}

const range = (type: 'list' | 'zset', key: string, from: number, to: number) =>
  type === 'list' ? (['LRANGE', key, from, to] as const) : (['ZRANGE', key, from, to, 'WITHSCORES'] as const)

function itemsOf(reply: Reply[], type: 'list' | 'zset'): Item[] {
  if (type === 'list') return reply.map(value => ({ key: null, value: value as Buffer }))
  return pairs(reply).map(([value, key]) => ({ key, value }))
}

async function readHash(driver: Driver, key: string): Promise<Item[]> {
  const all = pairs((await ask(driver, ['HGETALL', key])) as Reply[]).map(([field, value]) => ({
    key: field,
    value,
    number: readDecimal(field.toString()),
  }))
  // A total order: after a restart, the position must mean the same entry, and `last` the same entries.
  return all.toSorted((a, b) => {
    if (a.number !== undefined && b.number !== undefined) return compareExact(a.number, b.number) || Buffer.compare(a.key, b.key)
    return Number(a.number === undefined) - Number(b.number === undefined) || Buffer.compare(a.key, b.key)
  })
}

function pairs(reply: Reply[]): [Buffer, Buffer][] {
  const list: [Buffer, Buffer][] = []
  for (let i = 0; i < reply.length; i += 2)
    list.push([reply[i] as Buffer, Buffer.isBuffer(reply[i + 1]) ? (reply[i + 1] as Buffer) : Buffer.from(text(reply[i + 1]))])
  return list
}

const tail = (items: Item[], last: number | undefined): Item[] => (last === undefined ? items : items.slice(-last))
const nameOf = (type: string): string => (type === 'zset' ? 'sorted_set' : type)
