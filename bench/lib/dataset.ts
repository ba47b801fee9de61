/** The same input for everyone, and what must come out of it. */
import { Kafka, logLevel, Partitioners } from 'kafkajs'
import { cleanTicks } from '../../examples/data/make-ticks.mjs'
import { goldenBars } from '../../test/support/golden-bars.ts'
import type { Producer as LogProducer } from '../../src/connectors/kafka/driver.ts'

export interface Tick {
  symbol: string
  price: number
  volume: number
  ts: number
}

/** Far enough ahead to close every bar; its own bar is not in any expected output. */
const CLOSING_MS = 10 * 60_000

export class Dataset {
  readonly count: number
  /** Prices and volumes of more digits than a double holds. */
  readonly digits: boolean
  private expected: string[] | undefined

  constructor(count: number, digits = false) {
    this.count = count
    this.digits = digits
  }

  *lines(): Generator<string> {
    let n = 0
    for (const line of cleanTicks(this.count)) yield this.digits ? longer(line, n++) : line
  }

  /** The ticks, then one more that closes the last bar. */
  *records(): Generator<{ value: string; time: number }> {
    let last = ''
    for (const value of this.lines()) {
      last = value
      yield { value, time: timeOf(value) }
    }
    const time = timeOf(last) + CLOSING_MS
    yield { value: last.replace(/"ts":\d+/, `"ts":${time}`), time }
  }

  *ticks(): Generator<Tick> {
    for (const line of cleanTicks(this.count)) yield JSON.parse(line) as Tick
  }

  /** The bars' exact lines, computed without the runner's code. */
  bars(): string[] {
    this.expected ??= goldenBars([...this.ticks()], { interval: 60_000, label: '1m', lateness: 2_000 }).lines
    return this.expected
  }

  /** How many bars, without computing them. */
  get barCount(): number {
    return Math.ceil((this.count * 10) / 60_000)
  }
}

/** All records go to partition 0, with the tick's time as their timestamp, uncompressed. */
export async function loadKafka(brokers: string, topic: string, data: Dataset): Promise<void> {
  const kafka = new Kafka({ clientId: 'bench', brokers: [brokers], logLevel: logLevel.NOTHING })
  await createTopic(brokers, topic)
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (const records of chunks(data.records(), 5_000)) {
    await producer.send({
      topic,
      messages: records.map(({ value, time }) => ({ key: 'BTCUSDT', value, timestamp: String(time), partition: 0 })),
    })
  }
  await producer.disconnect()
}

export async function loadLog(producer: LogProducer, topic: string, data: Dataset): Promise<void> {
  for (const records of chunks(data.records(), 5_000)) {
    await producer.send(records.map(({ value, time }) => ({ topic, key: 'BTCUSDT', value, headers: undefined, time, partition: 0 })))
  }
}

export async function createTopic(brokers: string, topic: string): Promise<void> {
  await withAdmin(brokers, admin =>
    admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: 1 }], waitForLeaders: true }),
  )
}

export async function deleteTopics(brokers: string, prefix: string): Promise<void> {
  await withAdmin(brokers, async admin => {
    const topics = (await admin.listTopics()).filter(topic => topic.startsWith(prefix))
    if (topics.length > 0) await admin.deleteTopics({ topics })
  })
}

async function withAdmin<T>(brokers: string, work: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
  const admin = new Kafka({ clientId: 'bench', brokers: [brokers], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

function* chunks<T>(all: Iterable<T>, size: number): Generator<T[]> {
  let chunk: T[] = []
  for (const each of all) {
    chunk.push(each)
    if (chunk.length < size) continue
    yield chunk
    chunk = []
  }
  if (chunk.length > 0) yield chunk
}

/** Twelve more digits behind the price and the volume, and no zero at the end. */
const longer = (line: string, n: number): string =>
  line.replace(/"(price|volume)":(\d+)(?:\.(\d+))?/g, (_, name: string, whole: string, fraction = '') => {
    const more = String(n).padStart(11, '0')
    return `"${name}":${whole}.${fraction}${more}7`
  })

const timeOf = (line: string): number => Number(/"ts":(\d+)/.exec(line)![1])
