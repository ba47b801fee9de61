/** A message as JSON, for state that must survive a restart. Its source record's bytes are not kept. */
import { DataError, type Header, type Json, Message } from '../../contract/plugin.ts'

/** Third: the value is base64 of bytes. */
type StoredHeader = [name: string, value: string | null] | [name: string, value: string, base64: true]
export type StoredMessage = [value: Json, key: string | null, time: number, headers: StoredHeader[] | null]

/** @throws {DataError} for a value that JSON cannot hold */
export function storeMessage(message: Message): StoredMessage {
  const { value } = message
  if (value === undefined || Buffer.isBuffer(value) || typeof value === 'bigint')
    throw new DataError('a message that is kept for later must be JSON, this one is bytes')
  return [value as Json, message.key, message.time, message.headers?.map(storeHeader) ?? null]
}

export function restoreMessage([value, key, time, headers]: StoredMessage): Message {
  return new Message(value, key, time, headers?.map(restoreHeader))
}

const storeHeader = ([name, value]: Header): StoredHeader =>
  Buffer.isBuffer(value) ? [name, value.toString('base64'), true] : [name, value]

const restoreHeader = (stored: StoredHeader): Header => (stored.length === 3 ? [stored[0], Buffer.from(stored[1], 'base64')] : stored)
