/** The two ends of `repartition`: the sink that writes the internal topic, and the source that reads it back. */
import type { KafkaSinkConfig, KafkaSourceConfig, RepartitionConfig } from '../../../generated/config-types.ts'
import {
  type Batch,
  BatchError,
  type CheckContext,
  type CheckResult,
  defineSink,
  defineSource,
  EnvironmentError,
  type LinkPlace,
  Message,
  type SinkPlugin,
  type SourceContext,
  type SourcePlugin,
} from '../../../contract/plugin.ts'
import { stateOwner } from '../../../kit/state-owner.ts'
import { connect, type ConnectionConfig, connectionKeys } from '../connect.ts'
import { tpOf } from '../driver.ts'
import kafkaSink from '../sink.ts'
import kafkaSource from '../source.ts'
import { linkRecords, messageOf } from './wire.ts'

/** Commands that list topics skip those of the runner, whose names begin with `__`. */
const linkTopic = ({ pipeline, version, group, step }: LinkPlace): string =>
  `__runner.${stateOwner(`${pipeline}.${version}`, group)}.${step}`.replace(/[^a-zA-Z0-9._-]/g, '_')

const connection = (config: ConnectionConfig): ConnectionConfig =>
  Object.fromEntries(
    Object.keys(connectionKeys.properties).map(key => [key, config[key as keyof ConnectionConfig]]),
  ) as unknown as ConnectionConfig

/** How the internal topic is created: without compaction, since every record counts. */
export const internalTopic = ({ partitions, replication, retention }: RepartitionConfig) => ({
  partitions,
  replication: replication < 1 ? undefined : replication,
  config: { 'cleanup.policy': 'delete', 'retention.ms': String(retention) },
})

export function linkSink(config: RepartitionConfig, at: LinkPlace): { plugin: SinkPlugin; config: KafkaSinkConfig } {
  const topic = linkTopic(at)
  const own: KafkaSinkConfig = {
    ...connection(config),
    topic,
    keep_partition: true,
    // A record with an old date would be deleted by the topic, one with a future date rejected.
    timestamp: 'now',
    keep_headers: true,
    compression: config.compression,
    linger_ms: 0,
    batch_size: 131_072,
    acks: 'all',
    idempotent: true,
    create_topics: false,
    partitions: config.partitions,
    replication: config.replication,
    on_too_large: 'fail',
  }
  const plugin = defineSink<KafkaSinkConfig>({
    ...kafkaSink,
    readsValue: false,
    check: (_, ctx) => checkTopic(config, topic, ctx),
    create(c, ctx) {
      const inner = kafkaSink.create(c, ctx)
      return {
        async open(signal) {
          await ensureTopic(config, topic, ctx.log)
          await inner.open?.(signal)
        },
        async write(messages, context) {
          const wire: Message[] = []
          /** Index of each record's message: a mark becomes several records. */
          const indexes: number[] = []
          const record = { lane: topic, source: at.step, format: 'bytes' as const }
          for (const [i, message] of messages.entries())
            for (const { partition, key, value, headers } of linkRecords(message, context.lane, config.partitions)) {
              indexes.push(i)
              wire.push(
                new Message(typeof value === 'string' ? Buffer.from(value) : value, key as string | null, 0, headers, -1, {
                  ...record,
                  partition,
                }),
              )
            }
          try {
            await inner.write(wire, context)
          } catch (error) {
            if (!(error instanceof BatchError)) throw error
            throw new BatchError(new Map([...error.failed].map(([n, cause]) => [indexes[n], cause])))
          }
        },
        healthy: () => inner.healthy?.() ?? true,
        close: async () => inner.close?.(),
      }
    },
  })
  return { plugin, config: own }
}

async function checkTopic(config: RepartitionConfig, topic: string, { log }: CheckContext): Promise<CheckResult[]> {
  const what = `topic ${topic}`
  try {
    const { driver, release } = await connect(config, log)
    try {
      const found = (await driver.topics()).find(t => t.name === topic)
      if (found === undefined) return [{ what, ok: true, detail: `created at the first run, with ${config.partitions} partitions` }]
      return [
        {
          what,
          ok: found.partitions === config.partitions,
          detail: `${found.partitions} partitions`,
          fix: `write partitions: ${found.partitions}, or raise version`,
        },
      ]
    } finally {
      await release()
    }
  } catch (error) {
    return [{ what, ok: false, detail: (error as Error).message }]
  }
}

/** @throws {EnvironmentError} when the topic has another number of partitions: keys would be separated from their state */
async function ensureTopic(config: RepartitionConfig, topic: string, log: SourceContext['log']): Promise<void> {
  const { driver, release } = await connect(config, log)
  try {
    const found = (await driver.topics()).find(t => t.name === topic)
    if (found === undefined) await driver.createTopics([{ topic, ...internalTopic(config) }])
    else if (found.partitions !== config.partitions)
      throw new EnvironmentError(
        `the internal topic ${topic} has ${found.partitions} partitions, but the file sets ${config.partitions}: keys would be separated from their state. ` +
          `Write partitions: ${found.partitions}, or raise version`,
      )
  } finally {
    await release()
  }
}

export function linkSource(config: RepartitionConfig, at: LinkPlace): { plugin: SourcePlugin; config: KafkaSourceConfig } {
  const topic = linkTopic(at)
  const own: KafkaSourceConfig = {
    ...connection(config),
    topics: [topic],
    group: topic,
    start_at: 'earliest',
    format: 'bytes',
    isolation_level: 'read_committed',
    missing_offsets: 'auto',
    session_timeout: 30_000,
    max_poll_records: 10_000,
    max_bytes: 8 * 1024 * 1024,
    fetch_max_wait: 500,
    once: false,
  }
  const plugin = defineSource<KafkaSourceConfig>({
    ...kafkaSource,
    ranged: false,
    create: readLink,
  })
  return { plugin, config: own }
}

/** After `finish`, how often the log is checked until it is empty, ms. */
const LOOK = 100

function readLink(config: KafkaSourceConfig, ctx: SourceContext): ReturnType<SourcePlugin['create']> {
  const lanes = new Set<string>()
  const inner = kafkaSource.create(config, {
    ...ctx,
    assign: async (infos, originOf) => {
      for (const { id } of infos) lanes.add(id)
      return ctx.assign(infos, originOf)
    },
    revoke: async ids => {
      for (const id of ids) lanes.delete(id)
      return ctx.revoke(ids)
    },
    lose: ids => {
      for (const id of ids) lanes.delete(id)
      ctx.lose(ids)
    },
  })
  const finishing = new AbortController()
  let finishedAt = 0
  const unpack = (batch: Batch): Batch => {
    const lane = { id: batch.lane, source: ctx.step, ...tpOf(batch.lane) }
    return { ...batch, messages: batch.messages.map(m => unpacked(m, lane)) }
  }
  const isThrough = (id: string): boolean => {
    const caughtUp = inner.caughtUp!(id)
    return caughtUp === true || (typeof caughtUp === 'number' && caughtUp >= finishedAt)
  }
  return {
    ...inner,
    finish() {
      finishedAt = ctx.clock.monotonic()
      finishing.abort()
    },
    async read(signal) {
      for (;;) {
        const until = finishing.signal.aborted ? AbortSignal.timeout(LOOK) : finishing.signal
        try {
          return unpack((await inner.read(AbortSignal.any([signal, until])))!)
        } catch (error) {
          if (signal.aborted || !until.aborted) throw error
          if (lanes.size > 0 && [...lanes].every(isThrough)) return null
        }
      }
    },
  }
}

function unpacked(record: Message, lane: { id: string; source: string; topic: string; partition: number }): Message {
  if (record.failure) return record
  const { offset, keyBytes: key, payload: value, headers = [] } = record
  return messageOf({ partition: lane.partition, key, value, headers }, offset, lane)
}
