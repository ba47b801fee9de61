/** Converts messages to records: topic, key, partition and headers. */
import type { KafkaSinkConfig } from '../../generated/config-types.ts'
import { DataError, type Header, type Message } from '../../contract/plugin.ts'
import { getter, show } from '../../kit/values/fields.ts'
import { keyField, keyText } from '../../kit/values/key.ts'
import type { OutRecord } from './driver.ts'

/** @throws {DataError} for a message without the topic or the key that the config requires */
export function recordMaker(config: KafkaSinkConfig, now: () => number = Date.now): (m: Message) => OutRecord {
  const topicOf = topicGetter(config)
  const keyOf = keyGetter(config.key)
  const dateOf = DATES[config.timestamp]
  const own: readonly Header[] = Object.entries(config.headers ?? {})
  const { keep_headers, keep_partition } = config
  return m => {
    let headers: readonly Header[] | undefined = keep_headers ? m.headers : undefined
    if (own.length > 0) headers = headers === undefined ? own : [...headers, ...own]
    const partition = config.partition ?? (keep_partition ? m.origin?.partition : undefined)
    return { topic: topicOf(m), key: keyOf(m), value: m.encode(), headers, time: wholeMs(dateOf(m, now)), partition }
  }
}

const DATES: Record<KafkaSinkConfig['timestamp'], (m: Message, now: () => number) => number> = {
  event: m => m.time,
  record: m => m.recordTime,
  now: (_, now) => now(),
}

function topicGetter({ topic, topic_from: from, allowed_topics: allowed }: KafkaSinkConfig): (m: Message) => string {
  if (topic !== undefined) return () => topic
  const name = from!.slice(from!.indexOf(':') + 1)
  const field = from!.startsWith('field:') ? getter(name) : undefined
  const exact = new Set(allowed)
  const beginnings = (allowed ?? []).filter(one => one.endsWith('*')).map(one => one.slice(0, -1))
  const allows = (one: string): boolean => allowed === undefined || exact.has(one) || beginnings.some(b => one.startsWith(b))
  return m => {
    const found = from === 'source' ? m.origin?.topic : field ? field(m.value) : header(m.headers ?? [], name)
    if (typeof found !== 'string' || found === '') throw new DataError(`the message has no topic (${from})`)
    // A record that chooses its topic must not become a checkpoint, or a record of `repartition`.
    if (from !== 'source' && found.startsWith('__'))
      throw new DataError(
        `the topic ${show(found)} (${from}) begins with __, as those of Kafka and the runner do; a message cannot choose it`,
      )
    if (!allows(found)) throw new DataError(`the topic ${show(found)} (${from}) is not in allowed_topics: ${allowed!.join(', ')}`)
    return found
  }
}

function keyGetter(path: string | undefined): (m: Message) => Buffer | string | null {
  if (path === undefined) return m => m.encodeKey()
  const field = keyField(path)
  return m => {
    const key = field(m)
    const text = keyText(key)
    if (text !== undefined) return text
    throw new DataError(
      key === undefined ? `the message has no field "${path}" for its key` : `field "${path}" must be text or a number to be a key`,
    )
  }
}

/** The last one with that name: later headers were added before the runner received it. */
export const header = (headers: readonly Header[], name: string): string | undefined =>
  headers.findLast(([n, value]) => n === name && value !== null)?.[1]?.toString()

/** Kafka's timestamps are whole ms; a message without a usable time gets none (-1 would be rejected). */
const wholeMs = (time: number): number => (Number.isInteger(time) ? time : Number.isFinite(time) ? Math.floor(time) : 0)
