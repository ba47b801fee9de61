/** Converts records to rows: encoding happens outside the transaction, so that the write lock is held for a few inserts only. */
import { ConnectionError, DataError } from '../../../contract/plugin.ts'
import type { Sqlite } from '../../../kit/sqlite/sqlite.ts'
import { type OutRecord, TooLargeError } from '../driver.ts'
import { partitionOf, stickyPartition } from '../partitioner.ts'
import { ChunkWriter, placeChunk } from './codec.ts'
import { validTopic } from '../topic-name.ts'
import type { Topic, Topics } from './topics.ts'

/** Encoded records of one or several sends, in order per partition. */
export class Appender {
  private readonly topics: Topics
  private readonly writers = new Map<number, ChunkWriter>()

  constructor(topics: Topics) {
    this.topics = topics
  }

  /** Encodes records whose topics exist (`missing`). @returns the ones that can never be written, by index. */
  add(records: readonly OutRecord[]): Map<number, Error> {
    const failed = new Map<number, Error>()
    let topic: Topic | undefined
    let sticky = 0
    let part = -1
    let writer: ChunkWriter | undefined
    for (let i = 0; i < records.length; i++) {
      const record = records[i]
      if (topic === undefined || topic.name !== record.topic) {
        topic = this.topics.find(record.topic)
        if (!topic) {
          failed.set(i, new DataError(`"${record.topic}" is not a topic name`))
          continue
        }
        sticky = stickyPartition(topic.parts.length)
      }
      const problem = check(record, topic)
      if (problem) {
        failed.set(i, problem)
        continue
      }
      const partition = record.partition ?? (record.key === null ? sticky : partitionOf(record.key, topic.parts.length))
      if (topic.parts[partition] !== part || writer === undefined) {
        part = topic.parts[partition]
        writer = this.writers.get(part)
        if (!writer) this.writers.set(part, (writer = ChunkWriter.take()))
      }
      writer.add(record.key, record.value, record.headers, record.time)
    }
    return failed
  }

  /** Ends the use of the appender, after its records are written or dropped. */
  recycle(): void {
    for (const writer of this.writers.values()) writer.recycle()
    this.writers.clear()
  }

  /** Gives the records their offsets. Inside `Sqlite.write` only; may run again when the transaction is retried. */
  write(db: Sqlite, now: number): void {
    const move = db.prepare('UPDATE part SET next = next + ?, bytes = bytes + ? WHERE id = ? AND topic > 0 RETURNING next')
    const insert = db.prepare('INSERT INTO chunk (part, next, count, bytes, newest, written, data) VALUES (?, ?, ?, ?, ?, ?, ?)')
    for (const [part, writer] of this.writers) {
      writer.cut()
      let count = 0
      let bytes = 0
      for (const chunk of writer.chunks) {
        count += chunk.count
        bytes += chunk.data.length
      }
      const moved = move.get(count, bytes, part) as { next: number } | undefined
      if (!moved) {
        this.topics.forget()
        throw new ConnectionError('a topic was deleted while it was written to')
      }
      let next = moved.next - count
      for (const chunk of writer.chunks) {
        next += chunk.count
        placeChunk(chunk, part, next)
        insert.run(part, next, chunk.count, chunk.data.length, chunk.newest, now, chunk.data)
      }
    }
  }
}

/** Creates the missing topics of these records. Invalid names are left to `Appender.add`. */
export async function ensureTopics(topics: Topics, records: readonly OutRecord[]): Promise<void> {
  let last: string | undefined
  let missing: Set<string> | undefined
  for (const { topic } of records) {
    if (topic === last) continue
    last = topic
    if (!topics.find(topic) && validTopic(topic)) (missing ??= new Set()).add(topic)
  }
  if (missing) await topics.ensure(missing)
}

function check(record: OutRecord, topic: Topic): DataError | undefined {
  const { partition } = record
  if (partition !== undefined && !(partition >= 0 && partition < topic.parts.length))
    return new DataError(`topic ${topic.name} has ${topic.parts.length} partition(s), partition ${partition}`)
  // A string has at most three bytes per character, so most records pass without being measured.
  const roughly = 3 * ((record.key?.length ?? 0) + (record.value?.length ?? 0))
  if (roughly + 128 < topic.maxMessageBytes && record.headers === undefined) return undefined
  const bytes = sizeOf(record)
  if (bytes > topic.maxMessageBytes)
    return new TooLargeError(`the record has ${bytes} bytes, topic ${topic.name} accepts at most ${topic.maxMessageBytes}`)
  return undefined
}

/** Size as a broker counts it: content plus about the overhead of a batch of one record. */
function sizeOf(record: OutRecord): number {
  let size = 80 + length(record.key) + length(record.value)
  for (const [name, value] of record.headers ?? []) size += 2 + length(name) + length(value)
  return size
}

const length = (bytes: Buffer | string | null): number =>
  bytes === null ? 0 : typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length
