/**
 * The messages of clients. Every message is one JSON object per frame, with a `type`.
 * Client: `subscribe` {topics?, keys?, last_id? or last?}, `unsubscribe`, `ping`.
 * Server: `hello` {session, last_id}, `subscribed`, `message` {id, topic, key, time, data}, `gap` {reason, missed}, `pong`, `error`
 * {message}.
 */

export interface Subscribe {
  readonly type: 'subscribe'
  /** Undefined: all. */
  readonly topics?: ReadonlySet<string>
  readonly keys?: ReadonlySet<string>
  /** Continue after this message. */
  readonly lastId?: string
  /** Start with this many of the latest messages. */
  readonly last?: number
}

export type Request = Subscribe | { readonly type: 'unsubscribe' } | { readonly type: 'ping' }

/** Names in one subscription. */
const MAX_NAMES = 1000

/** @throws {Error} for any other message, with a text for the client */
export function parseRequest(text: string): Request {
  let request: unknown
  try {
    request = JSON.parse(text)
  } catch {
    throw new Error('the message must be JSON')
  }
  if (typeof request !== 'object' || request === null) throw new Error('the message must be a JSON object')
  const { type, topics, keys, last_id, last } = request as Record<string, unknown>
  if (type === 'ping' || type === 'unsubscribe') return { type }
  if (type !== 'subscribe') throw new Error('type must be subscribe, unsubscribe or ping')
  if (last_id !== undefined && last_id !== null && typeof last_id !== 'string') throw new Error('last_id must be the id of a message')
  if (last !== undefined && !(Number.isInteger(last) && (last as number) >= 0)) throw new Error('last must be a whole number, 0 or greater')
  return {
    type,
    topics: names(topics, 'topics'),
    keys: names(keys, 'keys'),
    lastId: (last_id as string | null | undefined) ?? undefined,
    last: last as number | undefined,
  }
}

function names(list: unknown, what: string): ReadonlySet<string> | undefined {
  if (list === undefined || list === null) return undefined
  if (!Array.isArray(list) || list.length > MAX_NAMES || !list.every(x => typeof x === 'string'))
    throw new Error(`${what} must be a list of at most ${MAX_NAMES} strings`)
  return new Set(list)
}
