/** Helpers of the driver suite: a group member that checks the contract while it reads, and short helpers to write and read. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Header, LaneInfo, Message, Transaction, Transactor } from '../../src/contract/plugin.ts'
import {
  type ConsumedBatch,
  type Consumer,
  type ConsumerOptions,
  type Driver,
  type LogTransaction,
  type OutRecord,
  type ProducerOptions,
  type TopicPartition,
  tpKey,
} from '../../src/connectors/kafka/driver.ts'

/** How a child process makes the same driver: `module` is a file URL that exports `default (options) => Driver | Promise<Driver>`. */
export interface ChildDriver {
  readonly module: string
  readonly options: unknown
}

/** Drivers of one test, all on the same log; closed by `closeAll`. */
export class Drivers {
  private readonly make: () => Driver | Promise<Driver>
  private readonly open: Driver[] = []
  readonly members: Member[] = []

  constructor(make: () => Driver | Promise<Driver>) {
    this.make = make
  }

  async driver(): Promise<Driver> {
    const driver = await this.make()
    this.open.push(driver)
    return driver
  }

  async closeAll(): Promise<void> {
    for (const member of this.members.splice(0)) await member.close()
    for (const driver of this.open.splice(0)) await driver.close()
  }
}

/** Of a consumer; `topics` and `group` are the test's. */
export const consumerOptions: Omit<ConsumerOptions, 'topics' | 'group'> = {
  startAt: 'earliest',
  format: 'text',
  source: 'in',
  isolation: 'read_committed',
  sessionTimeoutMs: 10_000,
  maxBytes: 1024 * 1024,
  maxWaitMs: 50,
  onError: () => {},
}
export const producerOptions: ProducerOptions = { compression: 'none', lingerMs: 0, batchSize: 1000, idempotent: true, acks: -1 }

/** A name no other test or run uses. */
export const unique = (prefix: string): string => `${prefix}-${randomBytes(5).toString('hex')}`

export async function newTopic(driver: Driver, partitions = 1): Promise<string> {
  const topic = unique('conf')
  await driver.createTopics([{ topic, partitions, replication: 1 }])
  return topic
}

export const record = (topic: string, value: Buffer | string | null, more: Partial<OutRecord> = {}): OutRecord => ({
  topic,
  key: null,
  value,
  headers: undefined,
  time: 1_700_000_000_000,
  ...more,
})

export async function produce(driver: Driver, records: readonly OutRecord[]): Promise<void> {
  const producer = await driver.producer(producerOptions)
  await producer.send(records)
  await producer.close()
}

/**
 * Everything of a partition from `offset` on, by `Driver.read`. Committed records become visible shortly after `commit`
 * has resolved (a broker writes the markers then): `expect.poll`.
 */
export async function readAll(
  driver: Driver,
  tp: TopicPartition,
  offset = 0,
  isolation: 'read_committed' | 'read_uncommitted' = 'read_committed',
): Promise<Message[]> {
  const messages: Message[] = []
  const [end] = (await driver.offsets([tp], 'latest')).values()
  for (let at = offset; at < end; ) {
    const batch: ConsumedBatch = await driver.read(tp, at, { format: 'text', isolation })
    messages.push(...batch.messages)
    // An open transaction holds the readable end back.
    if (batch.nextOffset === at) break
    at = batch.nextOffset
  }
  return messages
}

export const values = (messages: readonly Message[]): unknown[] => messages.map(m => (m.payload === null ? null : m.payload.toString()))

export const laneOf = (topic: string, partition: number, group: string): LaneInfo => ({
  id: `${topic}/${partition}`,
  source: 'in',
  topic,
  partition,
  group,
})

export const begin = async (transactor: Transactor, lane: LaneInfo): Promise<Transaction & LogTransaction> =>
  (await transactor.begin(lane)) as Transaction & LogTransaction

/** Waits for a condition that has no event. @throws after `ms`, with the condition. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, ms = 90_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain for: ${what}`)
    await sleep(10)
  }
}

export interface MemberOptions extends Partial<ConsumerOptions> {
  readonly topics: readonly string[]
  readonly group: string
  /** Offsets to start from; may take its time. */
  onAssigned?(partitions: readonly TopicPartition[], member: Member): Promise<Map<string, number>>
  onRevoked?(partitions: readonly TopicPartition[], member: Member): Promise<void>
}

/** A consumer that polls all the time and notes every breach of the contract in `breaches`. */
export class Member {
  readonly consumer: Consumer
  readonly received: Message[] = []
  readonly breaches: string[] = []
  /** Partitions whose `assigned` has resolved and whose `revoked` has not begun. */
  readonly owned = new Set<string>()
  /** `assigned`, `revoking`, `revoked`, `lost`, each followed by the partitions. */
  readonly events: string[] = []
  private readonly deliverable = new Set<string>()
  private readonly next = new Map<string, number>()
  private readonly stop = new AbortController()
  private loop: Promise<void> = Promise.resolve()
  private closed = false

  constructor(driver: Driver, options: MemberOptions) {
    const { onAssigned: _, onRevoked: __, ...rest } = options
    this.consumer = driver.consumer({ ...consumerOptions, ...rest })
  }

  static async join(drivers: Drivers, driver: Driver, options: MemberOptions): Promise<Member> {
    const member = new Member(driver, options)
    drivers.members.push(member)
    await member.consumer.open({
      assigned: async partitions => {
        const offsets = (await options.onAssigned?.(partitions, member)) ?? new Map<string, number>()
        for (const key of partitions.map(tpKey)) {
          if (member.owned.has(key)) member.breaches.push(`${key} assigned twice`)
          member.owned.add(key)
          member.deliverable.add(key)
          member.next.delete(key)
        }
        member.events.push(`assigned ${partitions.map(tpKey).join()}`)
        return offsets
      },
      revoked: async partitions => {
        for (const key of partitions.map(tpKey)) {
          if (!member.owned.delete(key)) member.breaches.push(`${key} revoked without being assigned`)
        }
        member.events.push(`revoking ${partitions.map(tpKey).join()}`)
        await options.onRevoked?.(partitions, member)
        for (const key of partitions.map(tpKey)) member.deliverable.delete(key)
        member.events.push(`revoked ${partitions.map(tpKey).join()}`)
      },
      lost: partitions => {
        for (const key of partitions.map(tpKey)) {
          member.owned.delete(key)
          member.deliverable.delete(key)
        }
        member.events.push(`lost ${partitions.map(tpKey).join()}`)
      },
    })
    member.loop = member.run()
    return member
  }

  private async run(): Promise<void> {
    const { signal } = this.stop
    try {
      while (!signal.aborted) this.take(await this.consumer.poll(signal))
    } catch (error) {
      if (!signal.aborted) this.breaches.push(`poll threw ${(error as Error).stack}`)
    }
  }

  private take(batch: ConsumedBatch): void {
    const key = tpKey(batch)
    if (!this.deliverable.has(key)) this.breaches.push(`${key} delivered while it is not assigned`)
    const from = this.next.get(key) ?? -1
    for (const m of batch.messages) {
      if (m.offset < from) this.breaches.push(`${key}: offset ${m.offset} after ${from - 1}`)
      this.received.push(m)
    }
    const last = batch.messages.at(-1)
    if (last && last.offset >= batch.nextOffset) this.breaches.push(`${key}: nextOffset ${batch.nextOffset} after offset ${last.offset}`)
    if (batch.endOffset < batch.nextOffset) this.breaches.push(`${key}: endOffset ${batch.endOffset} before nextOffset ${batch.nextOffset}`)
    this.next.set(key, batch.nextOffset)
  }

  /** Seek as the runtime does; the next batch may then begin anywhere. */
  async seek(tp: TopicPartition, offset: number | undefined): Promise<void> {
    this.next.delete(tpKey(tp))
    await this.consumer.seek(tp, offset)
    this.next.delete(tpKey(tp))
  }

  get values(): unknown[] {
    return values(this.received)
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.stop.abort(new Error('the test is over'))
    await this.loop
    await this.consumer.close()
  }
}

export type { Header }
