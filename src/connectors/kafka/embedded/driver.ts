/** The log of the `kafka` connector without a server: Kafka's semantics in one SQLite file that several processes share. */
import { realpathSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import type { Message, Origin } from '../../../contract/plugin.ts'
import type { ConsumedBatch, Driver, TopicPartition } from '../driver.ts'
import { tpKey } from '../driver.ts'
import { embeddedAdmin } from './embedded-admin.ts'
import { EmbeddedConsumer } from './consumer.ts'
import { committedOffset } from './group.ts'
import { type EmbeddedOptions, type Log, openLog } from './log.ts'
import { embeddedProducer } from './producer.ts'
import { bounds, offsetAt, readChunks } from './read.ts'
import { embeddedTransactor } from './transactor.ts'
import { inStateDir } from '../../../kit/state-dir.ts'

export type { EmbeddedOptions } from './log.ts'

const READ_BYTES = 1024 * 1024

/**
 * Opens nothing yet: the first call that needs the file opens (or creates) it, and throws an `EnvironmentError` when the file cannot be
 * used. Nothing is ever partly visible, so both isolation levels are equal. `compression`, `acks`, `lingerMs` and `maxWaitMs` have no
 * effect here.
 */
export function embeddedDriver(options: EmbeddedOptions = {}): Driver {
  const path = resolve(options.path ?? inStateDir('log.db'))
  const children: { close(): Promise<void> }[] = []
  let opening: Promise<Log> | undefined
  const open = (): Promise<Log> => {
    opening ??= openLog({ ...options, path }).catch(error => {
      opening = undefined
      throw error
    })
    return opening
  }
  const child = <T extends { close(): Promise<void> }>(it: T): T => {
    children.push(it)
    return it
  }
  return {
    scope: scopeOf(path),
    consumer: consumerOptions => child(new EmbeddedConsumer(open, consumerOptions)),
    producer: async () => child(embeddedProducer(await open())),
    transactor: ({ id }) => child(embeddedTransactor(open, id)),

    async read(tp, offset, { format, maxBytes = READ_BYTES, source = 'read', generation }): Promise<ConsumedBatch> {
      const log = await open()
      const part = log.topics.part(tp)
      if (part === undefined) return { ...tp, messages: [], nextOffset: 0, endOffset: 0 }
      const { first, next: end } = bounds(log.db, part)
      const origin: Origin = { lane: tpKey(tp), source, topic: tp.topic, partition: tp.partition, format, generation }
      const messages: Message[] = []
      const next = readChunks(log.db, part, Math.max(offset, first), maxBytes, origin, messages)
      return { topic: tp.topic, partition: tp.partition, messages, nextOffset: next, endOffset: Math.max(end, next) }
    },

    async offsets(partitions, at) {
      const log = await open()
      const find = (part: number) =>
        typeof at === 'number' ? offsetAt(log.db, part, at) : bounds(log.db, part)[at === 'earliest' ? 'first' : 'next']
      return new Map(existing(log, partitions).map(({ key, part }) => [key, find(part)]))
    },

    async committed(group, partitions) {
      const log = await open()
      const rows = existing(log, partitions).map(({ key, part }) => [key, committedOffset(log.db, group, part)] as const)
      return new Map(rows.filter((row): row is [string, { offset: number; metadata: string | null }] => row[1] !== undefined))
    },

    async topics() {
      return (await open()).topics.list()
    },

    async topicIds(topics) {
      return (await open()).topics.ids(topics)
    },

    async createTopics(topics) {
      await (await open()).topics.create(topics)
    },

    admin: embeddedAdmin(open),

    async close() {
      for (const it of children.splice(0)) await it.close()
      const log = opening
      opening = undefined
      if (log) (await log).close()
    },
  }
}

/** `embedded:.runner/log.db`; all paths to the same file have the same scope. */
function scopeOf(path: string): string {
  let real = path
  try {
    real = join(realpathSync(dirname(path)), basename(path))
  } catch {
    // The directory does not exist yet, so no link leads to it.
  }
  const inside = relative(process.cwd(), real)
  return `embedded:${inside.startsWith('..') ? real : inside}`
}

const existing = (log: Log, partitions: readonly TopicPartition[]): { key: string; part: number }[] =>
  partitions.flatMap(tp => {
    const part = log.topics.part(tp)
    return part === undefined ? [] : [{ key: tpKey(tp), part }]
  })
