import { DLQ_HEADERS } from '../../kit/dead-letter/headers.ts'
import {
  BatchError,
  ConnectionError,
  type Context,
  DataError,
  defineSink,
  type Header,
  type Message,
  type Sink,
  type WriteContext,
} from '../../contract/plugin.ts'
import type { KafkaSinkConfig } from '../../generated/config-types.ts'
import { getter } from '../../kit/values/fields.ts'
import { validateConnection, connectionKeys, connect, isEmbedded, OnDemandTransactor, type KafkaHandle, scopeOf } from './connect.ts'
import { DateLimits } from './dates.ts'
import { type LogTransaction, type OutputWatch, type OutRecord, type Producer, TooLargeError } from './driver.ts'
import { readTopicDeadLetters } from './dead-letters.ts'
import { Meter } from './metrics.ts'
import { NewTopics } from './new-topics.ts'
import { header, recordMaker } from './out-record.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import schema from './sink.schema.json' with { type: 'json' }

export default defineSink<KafkaSinkConfig>({
  type: 'kafka',
  schema: withKeys(schema, connectionKeys),
  onRedelivery: 'appends',
  reason: 'a repeated write adds a second record; in a transaction of the same brokers it is written once',
  transactions: {
    scope: scopeOf,
    // For the checkpoint; outputs use the compression of their sink.
    create: (config, context) => new OnDemandTransactor(config, context, true),
  },
  readsValue: c => c.key !== undefined || c.topic_from?.startsWith('field:') === true || c.count_by !== undefined,
  validateConfig(c) {
    const problems = validateConnection(c)
    if (c.topic === undefined && c.topic_from === undefined) problems.push({ path: [], message: 'set topic or topic_from' })
    if (c.allowed_topics !== undefined && c.topic_from === undefined)
      problems.push({ path: ['allowed_topics'], message: 'works with topic_from; remove it' })
    if (c.topic !== undefined && c.topic_from !== undefined)
      problems.push({ path: ['topic_from'], message: 'set either topic or topic_from, not both' })
    if (c.partition !== undefined && c.keep_partition)
      problems.push({ path: ['keep_partition'], message: 'set either partition or keep_partition, not both' })
    if (c.idempotent && c.acks !== 'all') {
      problems.push({
        path: ['acks'],
        message: `an idempotent producer needs acks: all; with acks: ${c.acks} set idempotent: false`,
        suggestion: 'all',
      })
    }
    if (c.replication === 0) problems.push({ path: ['replication'], message: 'must be at least 1, or -1 for the default of the brokers' })
    return problems
  },
  preview: recordMaker,
  readDeadLetters: readTopicDeadLetters,
  check: async (config, ctx) => (await import('./check.ts')).checkSink(config, ctx),
  create: (config, ctx) => new KafkaSink(config, ctx),
})

/** Sizes to try for a record that is too large; the limit is that of the topic and applies after compression. */
const TRUNCATED_SIZES = [900_000, 90_000, 9_000, 900]

class KafkaSink implements Sink {
  private readonly config: KafkaSinkConfig
  private readonly ctx: Context
  private readonly meter: Meter
  private readonly record: (m: Message) => OutRecord
  private readonly typeOf: (value: unknown) => unknown
  private readonly exchangeOf: (value: unknown) => unknown
  private readonly truncates: boolean
  private readonly topics: NewTopics
  private readonly topicSet: ReadonlySet<string>
  private dates: DateLimits | undefined
  private handle: KafkaHandle | undefined
  private watch: OutputWatch | undefined
  private opening: Promise<Producer> | undefined
  private producer: Producer | undefined

  constructor(config: KafkaSinkConfig, ctx: Context) {
    this.config = config
    this.ctx = ctx
    this.meter = new Meter(ctx.metrics)
    this.record = recordMaker(config, () => ctx.clock.now())
    this.typeOf = labelGetter(config.count_by?.type)
    this.exchangeOf = labelGetter(config.count_by?.exchange)
    this.topics = new NewTopics(config, ctx.log)
    this.topicSet = new Set(config.topic === undefined ? [] : [config.topic])
    this.truncates = config.on_too_large === 'truncate' || ctx.dlq === true
  }

  async open(): Promise<void> {
    const { config, meter } = this
    this.handle ??= await connect(config, this.ctx.log)
    // The embedded log computes the age of a record from its time of writing, and accepts any date.
    if (!isEmbedded(config.brokers)) this.dates ??= new DateLimits(this.handle.driver, () => this.ctx.clock.now(), this.ctx.log, meter)
    if (config.topic === undefined) return
    meter.published(config.topic, '', '')
    meter.deliveryErrors(config.topic)
    meter.drops(config.topic)
    const { driver } = this.handle
    const existed = await this.topics.own(driver, config.topic)
    // From now on, not from the first write: a dead-letter queue may receive nothing for days.
    this.watch ??= driver.watchOutput?.(config.topic, existed)
    await this.dates?.know(this.topicSet)
  }

  async write(messages: readonly Message[], context: WriteContext): Promise<void> {
    let records: OutRecord[] = []
    /** Index of each record's message; undefined while they are the same. */
    let indexes: number[] | undefined
    const failed = new Map<number, Error>()
    for (let i = 0; i < messages.length; i++) {
      try {
        records.push(this.record(messages[i]))
        indexes?.push(i)
      } catch (error) {
        indexes ??= Array.from({ length: i }, (_, n) => n)
        failed.set(
          i,
          error instanceof DataError ? error : new DataError(`the message cannot be written: ${(error as Error).message}`, error),
        )
      }
    }
    if (this.config.topic === undefined && this.handle !== undefined) await this.topics.named(this.handle.driver, records)
    ;({ records, indexes } = await this.rejectByDate(records, indexes, failed))
    const transaction = context.transaction as LogTransaction | undefined
    const send = transaction
      ? (list: readonly OutRecord[]) => transaction.send(list, { compression: this.config.compression })
      : await this.sender()
    try {
      if (records.length > 0) await send(records)
    } catch (error) {
      if (!(error instanceof BatchError)) {
        this.countErrors(records)
        throw error
      }
      for (const [n, cause] of error.failed) {
        const reason = cause instanceof TooLargeError && this.truncates ? await this.sendTruncated(records[n], send) : cause
        if (reason === undefined) continue
        failed.set(indexes === undefined ? n : indexes[n], reason)
        this.meter.deliveryErrors(records[n].topic).inc()
      }
    }
    this.count(messages, records, indexes, failed)
    if (failed.size > 0) throw new BatchError(failed)
  }

  /**
   * Removes records that the topic would reject because of their date. @returns the rest, with the index of each record's message as
   * `write` keeps it.
   */
  private async rejectByDate(
    records: OutRecord[],
    indexes: number[] | undefined,
    failed: Map<number, Error>,
  ): Promise<{ records: OutRecord[]; indexes: number[] | undefined }> {
    const { dates, config } = this
    if (dates === undefined) return { records, indexes }
    const asked = dates.know(config.topic === undefined ? new Set(records.map(r => r.topic)) : this.topicSet)
    if (asked) await asked
    const problems = dates.problems(records)
    if (problems === undefined) return { records, indexes }
    const messageOf = indexes ?? records.map((_, n) => n)
    for (const [n, problem] of problems) failed.set(messageOf[n], problem)
    const accepted = (_: unknown, n: number): boolean => !problems.has(n)
    return { records: records.filter(accepted), indexes: messageOf.filter(accepted) }
  }

  healthy(): boolean | string {
    return this.handle === undefined ? 'not connected' : (this.watch?.problem() ?? this.producer?.healthy?.() ?? true)
  }

  async close(): Promise<void> {
    this.watch?.close()
    await this.producer?.close()
    await this.handle?.release()
  }

  private async sender(): Promise<(records: readonly OutRecord[]) => Promise<void>> {
    const { config } = this
    if (this.handle === undefined) throw new ConnectionError('the sink is not open')
    this.opening ??= this.handle.driver.producer({
      compression: config.compression,
      lingerMs: config.linger_ms,
      batchSize: config.batch_size,
      idempotent: config.idempotent,
      acks: config.acks === 'all' ? -1 : config.acks === '1' ? 1 : 0,
    })
    try {
      const producer = (this.producer = await this.opening)
      return records => producer.send(records)
    } catch (error) {
      this.opening = undefined
      throw error
    }
  }

  /** @returns why not even the truncated record can be written. */
  private async sendTruncated(record: OutRecord, send: (records: readonly OutRecord[]) => Promise<void>): Promise<Error | undefined> {
    const value = typeof record.value === 'string' ? Buffer.from(record.value) : (record.value ?? Buffer.alloc(0))
    let last: Error = new TooLargeError('the record has no payload to truncate')
    for (const size of TRUNCATED_SIZES) {
      if (size >= value.length) continue
      const headers: Header[] = [
        ...(record.headers ?? []),
        [DLQ_HEADERS.truncated, 'true'],
        [DLQ_HEADERS.originalSize, String(value.length)],
      ]
      try {
        await send([{ ...record, value: value.subarray(0, size), headers }])
        return undefined
      } catch (error) {
        const cause = error instanceof BatchError ? error.failed.get(0) : undefined
        if (!(cause instanceof TooLargeError)) throw cause ?? error
        last = cause
      }
    }
    return last
  }

  private count(
    messages: readonly Message[],
    records: readonly OutRecord[],
    indexes: number[] | undefined,
    failed: ReadonlyMap<number, Error>,
  ): void {
    const { meter, config } = this
    if (config.count_by === undefined && config.topic !== undefined && failed.size === 0)
      meter.published(config.topic, '', '').inc(records.length)
    else {
      records.forEach((record, n) => {
        const i = indexes === undefined ? n : indexes[n]
        if (failed.has(i)) return
        const value = config.count_by === undefined ? undefined : messages[i].value
        meter.published(record.topic, label(this.typeOf(value)), label(this.exchangeOf(value))).inc()
      })
    }
    if (this.ctx.dlq !== true) return
    for (const record of records) {
      if (record.headers === undefined) continue
      const error = header(record.headers, DLQ_HEADERS.errorType)
      if (error !== undefined) meter.deadLetters(record.topic, header(record.headers, DLQ_HEADERS.topic) ?? '', error).inc()
    }
  }

  private countErrors(records: readonly OutRecord[]): void {
    for (const record of records) this.meter.deliveryErrors(record.topic).inc()
  }
}

const labelGetter = (path: string | undefined): ((value: unknown) => unknown) => (path === undefined ? () => undefined : getter(path))
const label = (value: unknown): string => (typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '')
