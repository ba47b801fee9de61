/** A message as JSON, for the state. The bytes of its source record are not kept. */
import { DataError, type Header, type Json, Message } from '../../contract/plugin.ts'

/** With a third item, the value is base64. */
type StoredHeader = [name: string, value: string | null] | [name: string, value: string, base64: true]
/** Fifth item: base64 of a record key that is not text. */
export type StoredMessage =
  | [value: Json, key: string | null, time: number, headers: StoredHeader[] | null]
  | [value: Json, key: string | null, time: number, headers: StoredHeader[] | null, keyBytes: string]

/** @throws {DataError} if JSON cannot represent the value */
export function storeMessage(message: Message): StoredMessage {
  const { value } = message
  if (value === undefined || Buffer.isBuffer(value) || typeof value === 'bigint')
    throw new DataError('a stored message must be JSON, this one is bytes')
  const { key, time } = message
  const headers = message.headers?.map(storeHeader) ?? null
  const bytes = message.encodeKey()
  // The text of a key that is not UTF-8 does not contain its bytes.
  if (Buffer.isBuffer(bytes) && key !== null && key.startsWith('\ufffd'))
    return [value as Json, key, time, headers, bytes.toString('base64')]
  return [value as Json, key, time, headers]
}

export function restoreMessage([value, key, time, headers, keyBytes]: StoredMessage): Message {
  const own = headers?.map(restoreHeader)
  if (keyBytes === undefined) return new Message(value, key, time, own)
  return new Message(value, undefined, time, own, -1, undefined, null, Buffer.from(keyBytes, 'base64'))
}

const storeHeader = ([name, value]: Header): StoredHeader =>
  Buffer.isBuffer(value) ? [name, value.toString('base64'), true] : [name, value]

const restoreHeader = (stored: StoredHeader): Header => (stored.length === 3 ? [stored[0], Buffer.from(stored[1], 'base64')] : stored)
