/** Reads the records of a topic up to its current end: without a group, ordered by time. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConsumedBatch, type Driver, type TopicPartition, tpKey } from '../connectors/kafka/driver.ts'
import { EnvironmentError, type Message } from '../contract/plugin.ts'
import { suggest } from '../kit/text/suggest.ts'

/** Start in each partition: the oldest record, the newest `last` records, an offset, or the first record at or after a time (epoch ms). */
export type CatStart = 'earliest' | { readonly last: number } | { readonly offset: number } | { readonly time: number }

export interface CatOptions {
  readonly topic: string
  readonly from: CatStart
  /** Default: all. */
  readonly partition?: number
}

export interface CatRecord {
  readonly partition: number
  readonly message: Message
}

/** Wait after an empty fetch before the end of the topic, in ms; and the maximum number of attempts. */
const PAUSE = 100
const MAX_EMPTY = 30

/** @throws {EnvironmentError} if the topic or the partition does not exist: reading creates nothing. */
export async function* cat(driver: Driver, { topic, from, partition }: CatOptions): AsyncGenerator<CatRecord> {
  const topics = await driver.topics()
  const found = topics.find(t => t.name === topic)
  if (!found) {
    const near = suggest(
      topic,
      topics.map(t => t.name),
    )
    throw new EnvironmentError(`there is no topic ${topic} in ${driver.scope}${near === undefined ? '' : `; did you mean ${near}?`}`)
  }
  if (partition !== undefined && partition >= found.partitions)
    throw new EnvironmentError(`topic ${topic} has ${found.partitions} partition(s), from 0; there is no partition ${partition}`)
  const all = Array.from({ length: found.partitions }, (_, n) => ({ topic, partition: n }))
  const partitions = partition === undefined ? all : [all[partition]]
  const [first, end] = await Promise.all([driver.offsets(partitions, 'earliest'), driver.offsets(partitions, 'latest')])
  const timed = typeof from === 'object' && 'time' in from ? await driver.offsets(partitions, from.time) : undefined
  const begin = (tp: TopicPartition): number => {
    const low = first.get(tpKey(tp)) ?? 0
    if (from === 'earliest') return low
    if ('last' in from) return Math.max(low, (end.get(tpKey(tp)) ?? 0) - from.last)
    return Math.max(low, 'offset' in from ? from.offset : (timed?.get(tpKey(tp)) ?? low))
  }
  const heads: { records: AsyncGenerator<CatRecord>; next: CatRecord }[] = []
  for (const tp of partitions) {
    const records = read(driver, tp, begin(tp), end.get(tpKey(tp)) ?? 0)
    const { value } = await records.next()
    if (value) heads.push({ records, next: value })
  }
  while (heads.length > 0) {
    // Order within a partition is by offset, between partitions by time.
    const head = heads.reduce((a, b) => (b.next.message.time < a.next.message.time ? b : a))
    yield head.next
    const { value } = await head.records.next()
    if (value) head.next = value
    else heads.splice(heads.indexOf(head), 1)
  }
}

async function* read(driver: Driver, tp: TopicPartition, from: number, end: number): AsyncGenerator<CatRecord, undefined> {
  let offset = from
  for (let empty = 0; offset < end && empty < MAX_EMPTY; ) {
    const batch: ConsumedBatch = await driver.read(tp, offset, { format: 'bytes', isolation: 'read_committed', source: 'cat' })
    for (const message of batch.messages) if (message.offset >= offset && message.offset < end) yield { partition: tp.partition, message }
    if (batch.nextOffset > offset) {
      offset = batch.nextOffset
      empty = 0
      continue
    }
    // Records after an open transaction are not visible yet to read_committed readers.
    if (batch.endOffset <= offset) return undefined
    empty++
    await sleep(PAUSE)
  }
  return undefined
}
