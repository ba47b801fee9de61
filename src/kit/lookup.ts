/**
 * Transforms that add to each message what a table or a peer has for its key: a cache, one question for all missing keys of a batch, and
 * the rule for a key without a row.
 */
import { DataError, type Message, type Output, type Transform, type TransformContext } from '../contract/plugin.ts'
import { attempt } from './fail.ts'
import { show } from './values/fields.ts'
import { isRecord } from './values/records.ts'

/** The rows of a key; a key without rows has none. `bytes`: their size, if the cache is bounded by it. */
export interface Rows {
  readonly rows: readonly unknown[]
  readonly bytes?: number
}

/** The rows of a key, or why it has none. */
export type Found = Rows | DataError

/** The rows by key; a key without rows may be missing. @throws {ConnectionError} when the peer is away */
export type Find = (keys: readonly string[]) => Promise<ReadonlyMap<string, Found>>

/** Where a row goes, and what happens without one. */
export interface Placing {
  /** Field of the message that receives the row, or with `many` the list of rows. */
  readonly as: string
  readonly many?: boolean
  readonly on_missing: 'fail' | 'pass' | 'null'
}

/** Settings of the cache. */
export interface Caching {
  /** ms; 0: within a batch only. */
  readonly ttl: number
  /** ms, for a key without rows; default: `ttl`. */
  readonly negative_ttl?: number
  readonly max_entries: number
  /** Bytes of all cached rows; default: no limit. */
  readonly max_bytes?: number
}

const NONE: Rows = { rows: [] }

/** @param name of the transform, for messages. @returns emits or fails a message with the rows of its key */
export function placer(
  name: string,
  { as, many = false, on_missing }: Placing,
): (m: Message, key: string, found: Found, out: Output) => void {
  return (m, key, found, out) => {
    if (found instanceof DataError) return out.fail(m, found)
    const set = (value: unknown): void => {
      m.value = { ...(m.value as object), [as]: value }
      out.emit(m)
    }
    const { rows } = found
    if (many) return set(rows)
    if (rows.length > 1) return out.fail(m, new DataError(`${name}: ${rows.length} rows for key ${key}; set many: true to use all of them`))
    if (rows.length === 1) return set(rows[0])
    if (on_missing === 'fail') return out.fail(m, new DataError(`${name}: no row for key ${key}`))
    if (on_missing === 'null') return set(null)
    out.emit(m)
  }
}

/**
 * The key of a message. `textOf` is the text of a key, or undefined for a value that cannot be one.
 * @throws {DataError} when the value is not an object, or has no key
 */
export function keyReader(
  name: string,
  keyOf: (m: Message) => unknown,
  textOf: (key: unknown) => string | undefined,
): (m: Message) => string {
  return m => {
    if (!isRecord(m.value)) throw new DataError(`${name}: the value must be an object, not ${show(m.value)}`)
    const key = keyOf(m)
    const text = textOf(key)
    if (text !== undefined) return text
    throw new DataError(`${name}: the key must be text or a number, not ${show(key)}`)
  }
}

/** A transform that finds rows with `find`, and caches them for all lanes of the step. */
export function cachedLookup(
  name: string,
  config: Placing & Caching,
  ctx: Pick<TransformContext, 'shared' | 'clock'>,
  keyOf: (m: Message) => string,
  find: Find,
  close?: () => void | Promise<void>,
): Transform {
  const cache = ctx.shared('rows', () => new Cache(config))
  const place = placer(name, config)
  const ask = async (keys: readonly string[], into: Map<string, Found>): Promise<void> => {
    const found = await find(keys)
    const now = ctx.clock.monotonic()
    for (const key of keys) {
      const rows = found.get(key) ?? NONE
      into.set(key, rows)
      if (!(rows instanceof DataError)) cache.set(key, rows, now)
    }
  }
  const finish = (keys: readonly (string | DataError)[], found: ReadonlyMap<string, Found>, messages: Message[], out: Output): void =>
    messages.forEach((m, i) => {
      const key = keys[i]
      if (key instanceof DataError) out.fail(m, key)
      else place(m, key, found.get(key)!, out)
    })

  return {
    process(messages, out) {
      const now = ctx.clock.monotonic()
      const found = new Map<string, Found>()
      const missing = new Set<string>()
      const keys = messages.map(m => {
        const key = attempt(() => keyOf(m))
        if (key instanceof DataError || found.has(key) || missing.has(key)) return key
        const rows = cache.get(key, now)
        if (rows === undefined) missing.add(key)
        else found.set(key, rows)
        return key
      })
      if (missing.size === 0) return finish(keys, found, messages, out)
      // The array belongs to the caller and must be copied.
      const mine = [...messages]
      return ask([...missing], found).then(() => finish(keys, found, mine, out))
    },
    close,
  }
}

/** For `stubbed` of a plugin: a test gives the rows of a key. */
export const stubbedFind =
  (answer: (key: string) => readonly unknown[]): Find =>
  async keys =>
    new Map(keys.map(key => [key, attempt((): Rows => ({ rows: answer(key) }))]))

/** The least recently used keys leave first. */
class Cache {
  private readonly config: Caching
  private readonly entries = new Map<string, Rows & { readonly until: number }>()
  private bytes = 0

  constructor(config: Caching) {
    this.config = config
  }

  get(key: string, now: number): Rows | undefined {
    const entry = this.entries.get(key)
    if (entry === undefined || entry.until <= now) return undefined
    this.entries.delete(key)
    this.entries.set(key, entry)
    return entry
  }

  set(key: string, { rows, bytes = 0 }: Rows, now: number): void {
    const { ttl, negative_ttl = ttl, max_entries, max_bytes = Number.POSITIVE_INFINITY } = this.config
    this.remove(key)
    const life = rows.length === 0 ? negative_ttl : ttl
    if (life <= 0 || bytes > max_bytes) return
    this.entries.set(key, { rows, bytes, until: now + life })
    this.bytes += bytes
    while (this.entries.size > max_entries || this.bytes > max_bytes) this.remove(this.entries.keys().next().value!)
  }

  private remove(key: string): void {
    this.bytes -= this.entries.get(key)?.bytes ?? 0
    this.entries.delete(key)
  }
}
