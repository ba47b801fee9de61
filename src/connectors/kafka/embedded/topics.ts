/** Topics, partitions and their settings. They change rarely, so they are cached for a while. */
import { randomInt } from 'node:crypto'
import { EnvironmentError } from '../../../contract/plugin.ts'
import type { Sqlite } from '../../../kit/sqlite/sqlite.ts'
import type { NewTopic, TopicInfo, TopicPartition } from '../driver.ts'
import { Group } from './group.ts'
import { validTopic } from '../topic-name.ts'

export interface Topic {
  readonly name: string
  /** Row id of each partition. */
  readonly parts: readonly number[]
  /** Maximum record size, from Kafka's setting with that name. */
  readonly maxMessageBytes: number
}

/** ms for which a cached topic is used: clients of brokers also see a topic grow only after a while. */
const MAX_AGE = 30_000

/** Kafka's default for `message.max.bytes`, so that what fits here fits there. */
export const MAX_MESSAGE_BYTES = 1_048_588

export class Topics {
  private readonly db: Sqlite
  private readonly defaultPartitions: number
  private readonly known = new Map<string, { topic: Topic; at: number }>()

  constructor(db: Sqlite, defaultPartitions: number) {
    this.db = db
    this.defaultPartitions = defaultPartitions
  }

  find(name: string): Topic | undefined {
    const known = this.known.get(name)
    if (known && performance.now() - known.at < MAX_AGE) return known.topic
    return this.look(name)
  }

  private look(name: string): Topic | undefined {
    this.known.delete(name)
    const row = this.db.get<{ id: number; config: string }>('SELECT id, config FROM topic WHERE name = ?', name)
    if (!row) return undefined
    const parts = this.db.all<{ id: number }>('SELECT id FROM part WHERE topic = ? ORDER BY num', row.id).map(p => p.id)
    const config = JSON.parse(row.config) as Record<string, string>
    const topic = { name, parts, maxMessageBytes: Number(config['max.message.bytes'] ?? MAX_MESSAGE_BYTES) }
    this.known.set(name, { topic, at: performance.now() })
    return topic
  }

  /** The partition's row id; undefined when the topic or partition does not exist. */
  part(tp: TopicPartition): number | undefined {
    return this.find(tp.topic)?.parts[tp.partition] ?? this.look(tp.topic)?.parts[tp.partition]
  }

  /** Looks into the file. */
  exists(name: string): boolean {
    return this.db.get('SELECT 1 FROM topic WHERE name = ?', name) !== undefined
  }

  /** The cache is partly outdated. */
  forget(): void {
    this.known.clear()
  }

  /** Finds topics or creates them with the default number of partitions, as a broker with auto-creation does. */
  async ensure(names: Iterable<string>): Promise<void> {
    const missing = [...new Set(names)].filter(name => !this.find(name))
    if (missing.length > 0) await this.create(missing.map(topic => ({ topic, partitions: this.defaultPartitions })))
  }

  /** Topics that already exist are not changed. @throws {EnvironmentError} for a name or a setting that Kafka would reject. */
  async create(topics: readonly NewTopic[]): Promise<void> {
    for (const { topic, partitions, config = {} } of topics) {
      if (!validTopic(topic))
        throw new EnvironmentError(`"${topic}" is not a topic name: use letters, digits, ".", "_" and "-", at most 249 characters`)
      if (!Number.isInteger(partitions) || partitions < 1)
        throw new EnvironmentError(`topic ${topic}: the number of partitions must be 1 or greater, not ${partitions}`)
      checkSettings(topic, config)
    }
    await this.db.write(() => {
      const insert = this.db.prepare('INSERT INTO topic (id, name, config) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING RETURNING id')
      for (const { topic, partitions, config = {} } of topics) {
        const row = insert.get(newId(), topic, JSON.stringify(config)) as { id: number } | undefined
        if (!row) continue
        for (let num = 0; num < partitions; num++) this.db.prepare('INSERT INTO part (topic, num) VALUES (?, ?)').run(row.id, num)
        // Its readers wait for it, or have read a former topic of this name.
        Group.topicChanged(this.db, topic)
      }
    })
  }

  /** As `Driver.topicIds`. */
  ids(names: readonly string[]): Map<string, { id: string; partitions: number }> {
    const sql = 'SELECT t.id, count(*) AS partitions FROM topic t JOIN part p ON p.topic = t.id WHERE t.name = ? GROUP BY t.id'
    const rows = names.map(name => [name, this.db.get<{ id: number; partitions: number }>(sql, name)] as const)
    return new Map(rows.flatMap(([name, row]) => (row ? [[name, { id: String(row.id), partitions: row.partitions }] as const] : [])))
  }

  list(): TopicInfo[] {
    const rows = this.db.all<{ name: string; partitions: number }>(
      'SELECT t.name, count(*) AS partitions FROM topic t JOIN part p ON p.topic = t.id GROUP BY t.id ORDER BY t.name',
    )
    return rows.map(({ name, partitions }) => ({ name, partitions, replication: 1 }))
  }
}

/** Never used before: a topic that is created again is a different one. */
const newId = (): number => randomInt(2 ** 47)

/** @throws {EnvironmentError} for values that Kafka would reject. */
export function checkSettings(topic: string, config: Readonly<Record<string, string | null>>): void {
  for (const key of ['retention.ms', 'retention.bytes', 'max.message.bytes']) {
    const value = config[key]
    if (value !== undefined && value !== null && !/^-?\d+$/.test(value))
      throw new EnvironmentError(`topic ${topic}: ${key} must be a whole number`)
  }
}
