/** The two logs that one pipeline file runs on, as a test sees them: what it writes, and what a process that is not the runner reads. */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Kafka, logLevel, Partitioners, type Producer } from 'kafkajs'
import { embeddedDriver } from '../../../src/connectors/kafka/embedded/driver.ts'
import type { Driver, OutRecord } from '../../../src/connectors/kafka/driver.ts'
import { freezeBetweenWrites } from '../../support/freeze.ts'
import type { ConsumedRecord } from '../../support/kcat.ts'
import type { TestRecord } from '../../support/kafka.ts'

export interface Backend {
  readonly name: 'kafka' | 'embedded'
  /** For the runner. */
  readonly env: Record<string, string | undefined>
  /** Creates a topic that keeps records of any age, and returns its name. */
  topic(prefix: string, partitions?: number, config?: Record<string, string>): Promise<string>
  /** In order, durable when it resolves. Connects once. */
  produce(topic: string, records: readonly TestRecord[]): Promise<void>
  /** Resolves when at least so many committed records can be read. @throws after `timeoutMs` (60 s), with the number there is. */
  waitFor(topic: string, count: number, timeoutMs?: number): Promise<void>
  /** All committed records by partition and offset, as another process sees them. */
  readAll(topic: string, options?: { headers?: boolean }): Promise<ConsumedRecord[]>
  committed(group: string, topic: string): Promise<Map<number, number>>
  /** Members of the group, and whether it is settled. */
  members(group: string): Promise<{ count: number; stable: boolean }>
  /** SIGSTOP, when the process holds nothing that the others need. */
  freeze(process: { kill(signal: NodeJS.Signals): unknown }): Promise<void>
  close(): Promise<void>
}

/** Imports `support/kafka.ts` late, so that an embedded test starts no broker. @param at the broker; default: the shared one. */
export async function kafkaBackend(at?: string): Promise<Backend> {
  const kafka = await import('../../support/kafka.ts')
  const brokers = at ?? kafka.brokers()
  let producer: Promise<Producer> | undefined
  const connect = async (): Promise<Producer> => {
    const made = new Kafka({ clientId: 'feed', brokers: [brokers], logLevel: logLevel.NOTHING }).producer({
      idempotent: true,
      maxInFlightRequests: 1,
      createPartitioner: Partitioners.DefaultPartitioner,
      retry: { retries: 100, maxRetryTime: 1000 },
    })
    await made.connect()
    return made
  }
  return {
    name: 'kafka',
    env: { KAFKA_BROKERS: brokers },
    topic: (prefix, partitions = 1, config = {}) =>
      kafka.createTopic(kafka.unique(prefix), { partitions, config: { 'retention.ms': '-1', ...config }, brokers }),
    async produce(topic, records) {
      const p = await (producer ??= connect())
      // Requests of at most about a megabyte, or of one record: that is the default limit of a topic.
      for (const piece of pieces(records)) {
        const messages = piece.map(({ key = null, value, partition, headers, time }) => ({
          key,
          value,
          partition,
          headers,
          timestamp: time === undefined ? undefined : String(time),
        }))
        await p.send({ topic, messages, acks: -1 })
      }
    },
    async waitFor(topic, count, timeoutMs = 120_000) {
      await kafka.consume(topic, count, { brokers, timeoutMs })
    },
    readAll: (topic, options = {}) => kafka.consumeAll(topic, { ...options, brokers }),
    committed: (group, topic) => kafka.committed(group, topic, { brokers }),
    members: group =>
      kafka.withAdmin(async admin => {
        const [{ state, members }] = (await admin.describeGroups([group])).groups
        return { count: members.length, stable: state === 'Stable' }
      }, brokers),
    freeze: async process => void process.kill('SIGSTOP'),
    async close() {
      await (await producer)?.disconnect()
    },
  }
}

/** @param cwd the runner's directory: the log is where the runner looks for it by default. */
export function embeddedBackend(cwd: string): Backend {
  const path = join(cwd, '.runner', 'log.db')
  mkdirSync(dirname(path), { recursive: true })
  const driver: Driver = embeddedDriver({ path })
  let serial = 0
  let producer: ReturnType<Driver['producer']> | undefined
  const partitions = async (topic: string) => {
    const info = (await driver.topics()).find(t => t.name === topic)
    return Array.from({ length: info?.partitions ?? 0 }, (_, partition) => ({ topic, partition }))
  }
  const count = async (topic: string): Promise<number> =>
    [...(await driver.offsets(await partitions(topic), 'latest')).values()].reduce((n, offset) => n + offset, 0)
  return {
    name: 'embedded',
    env: { KAFKA_BROKERS: undefined },
    async topic(prefix, n = 1, config = {}) {
      const topic = `${prefix}-${++serial}`
      await driver.createTopics([{ topic, partitions: n, config: { 'retention.ms': '-1', ...config } }])
      return topic
    },
    async produce(topic, records) {
      producer ??= driver.producer({ compression: 'none', lingerMs: 0, batchSize: 131_072, idempotent: true, acks: -1 })
      const out = records.map<OutRecord>(({ key = null, value, partition, headers, time }) => ({
        topic,
        key,
        value,
        partition,
        headers: headers && Object.entries(headers),
        time: time ?? Date.now(),
      }))
      await (await producer).send(out)
    },
    async waitFor(topic, wanted, timeoutMs = 120_000) {
      for (const deadline = Date.now() + timeoutMs; ; await sleep(50)) {
        const there = await count(topic)
        if (there >= wanted) return
        if (Date.now() > deadline) throw new Error(`${topic}: ${there} records after ${timeoutMs} ms, waited for ${wanted}`)
      }
    },
    readAll: topic => readInOwnProcess(path, topic),
    async committed(group, topic) {
      const found = await driver.committed(group, await partitions(topic))
      return new Map([...found].map(([tp, { offset }]) => [Number(tp.slice(tp.lastIndexOf('/') + 1)), offset]))
    },
    async members(group) {
      const db = new DatabaseSync(path, { readOnly: true })
      try {
        const { count } = db.prepare('SELECT count(*) AS count FROM member m JOIN grp g ON g.id = m.grp WHERE g.name = ?').get(group) as {
          count: number
        }
        const moving = db
          .prepare('SELECT 1 FROM claim c JOIN grp g ON g.id = c.grp WHERE g.name = ? AND c.owner IS NOT c.target')
          .get(group)
        return { count, stable: moving === undefined }
      } finally {
        db.close()
      }
    },
    freeze: process => freezeBetweenWrites(process, path),
    close: () => driver.close(),
  }
}

async function readInOwnProcess(path: string, topic: string): Promise<ConsumedRecord[]> {
  const script = fileURLToPath(new URL('./read-embedded.ts', import.meta.url))
  const child = spawn(process.execPath, [script, path, topic], { stdio: ['ignore', 'pipe', 'pipe'] })
  const out: Buffer[] = []
  let problem = ''
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => (problem += chunk))
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
  if (code !== 0) throw new Error(`reading ${topic}: exit ${code}: ${problem}`)
  const bytes = (text: string | null) => (text === null ? null : Buffer.from(text, 'base64'))
  return Buffer.concat(out)
    .toString()
    .split('\n')
    .filter(Boolean)
    .map(line => {
      const record = JSON.parse(line) as Omit<ConsumedRecord, 'key' | 'value'> & { key: string | null; value: string | null }
      return { ...record, key: bytes(record.key), value: bytes(record.value) }
    })
}

function* pieces(records: readonly TestRecord[]): Generator<readonly TestRecord[]> {
  let from = 0
  let bytes = 0
  for (let i = 0; i < records.length; i++) {
    const size = 100 + (records[i].value?.length ?? 0)
    if (i > from && (bytes + size > 900_000 || i - from === 5_000)) {
      yield records.slice(from, i)
      from = i
      bytes = 0
    }
    bytes += size
  }
  if (from < records.length) yield records.slice(from)
}
