import {
  type Batch,
  defineSource,
  EnvironmentError,
  type Gap,
  type LaneInfo,
  type LaneOrigin,
  type Source,
  type SourceContext,
} from '../../contract/plugin.ts'
import { stateOwner } from '../../kit/state-owner.ts'
import { validateConnection, connectionKeys, connect, OnDemandTransactor, type KafkaHandle, scopeOf } from './connect.ts'
import { type ConsumedBatch, type Consumer, type TopicPartition, tpKey, tpOf } from './driver.ts'
import { Meter } from './metrics.ts'
import { rangeSource } from './range.ts'
import type { KafkaSinkConfig, KafkaSourceConfig } from '../../generated/config-types.ts'
import kafkaSink from './sink.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import schema from './source.schema.json' with { type: 'json' }

export default defineSource<KafkaSourceConfig>({
  type: 'kafka',
  schema: withKeys(schema, connectionKeys),
  replayable: true,
  ranged: true,
  lanes: 'by_key',
  shares: true,
  oneShot: config => config.once,
  leased: config => !config.once,
  reason: 'a topic can be read again from any offset, and the group stores its position',
  transactions: {
    scope: scopeOf,
    create: (config, context) => new OnDemandTransactor(config, context),
  },
  writeBack: config => ({ plugin: kafkaSink, config: backTo(config) }),
  validateConfig(config) {
    const problems = validateConnection(config)
    if (config.session_timeout < 1000) problems.push({ path: ['session_timeout'], message: 'must be at least 1s to allow heartbeats' })
    if (config.last !== undefined && !config.once)
      problems.push({
        path: ['last'],
        message: 'needs once: true, because a group continues from its own position',
        suggestion: 'once: true',
      })
    return problems
  },
  positions: async (config, ctx) => (await import('./positions.ts')).sourcePositions(config, ctx),
  check: async (config, ctx) => (await import('./check.ts')).checkSource(config, ctx),
  create: (config, ctx) => (ctx.range || config.once ? rangeSource(config, ctx, ctx.range ?? {}) : groupSource(config, ctx)),
})

function groupSource(config: KafkaSourceConfig, ctx: SourceContext): Source {
  const group = config.group ?? ctx.pipeline
  const meter = new Meter(ctx.metrics)
  let handle: KafkaHandle | undefined
  let consumer: Consumer | undefined
  /** Rest of a polled batch with more than `max_poll_records`. */
  let rest: ConsumedBatch | undefined

  const owner = stateOwner(`${ctx.pipeline}.${ctx.version}`, group)
  const originOf = async (lane: LaneInfo): Promise<LaneOrigin> => {
    const tp = tpOf(lane.id)
    const key = tpKey(tp)
    const { driver } = handle!
    const [ids, start, end, initial, remembered] = await Promise.all([
      driver.topicIds([tp.topic]),
      driver.offsets([tp], 'earliest'),
      // The end of the committed records: reading uncommitted records goes further.
      config.isolation_level === 'read_committed' ? driver.offsets([tp], 'latest') : new Map<string, number>(),
      driver.offsets([tp], config.start_at),
      driver.committed(group, [tp]),
    ])
    const topic = ids.get(tp.topic)
    const offset = remembered.get(key)
    return {
      id: topic?.id,
      lanes: topic?.partitions,
      start: start.get(key),
      end: end.get(key),
      initial: initial.get(key),
      remembered: offset && { owner: offset.metadata, position: offset.offset },
    }
  }
  const laneOf = (tp: TopicPartition) => ({ id: tpKey(tp), source: ctx.step, topic: tp.topic, partition: tp.partition, group })
  const forget = (lanes: readonly string[]): void => {
    if (rest !== undefined && lanes.includes(tpKey(rest))) rest = undefined
  }

  /** Topics whose offsets have holes by design, or whose settings cannot be read. Others are asked again: they may be compacted by then. */
  const holey = new Set<string>()
  /** Undefined: compaction explains it, or the settings cannot be read. */
  const gapOf = async ({ topic, partition, nextOffset, messages }: ConsumedBatch, lost: number): Promise<Gap | undefined> => {
    if (config.missing_offsets === 'expected' || holey.has(topic)) return undefined
    try {
      const settings = (await handle!.driver.admin.configs([topic])).get(topic)
      if (settings?.get('cleanup.policy')?.value?.includes('compact') !== false) holey.add(topic)
    } catch (error) {
      holey.add(topic)
      ctx.log.warn(
        { topic, error: (error as Error).message },
        'offsets are missing, and it is unknown whether the topic is compacted: its settings cannot be read',
      )
    }
    if (holey.has(topic)) return undefined
    const end = messages[0]?.offset ?? nextOffset
    return {
      lost,
      reason:
        `the log of ${topic}/${partition} has no records at ${lost} offsets before ${end}, and the topic is not compacted: its log is damaged, ` +
        'or it was compacted before (then set missing_offsets: expected of the source)',
    }
  }

  return {
    async open() {
      for (const topic of config.topics) meter.errors(topic)
      handle ??= await connect(config, ctx.log)
      await consumer?.close()
      consumer = handle.driver.consumer({
        topics: config.topics,
        group,
        startAt: config.start_at,
        format: config.format,
        source: ctx.step,
        isolation: config.isolation_level,
        sessionTimeoutMs: config.session_timeout,
        maxBytes: config.max_bytes,
        maxWaitMs: config.fetch_max_wait,
        live: ctx.live,
        onError(error) {
          for (const topic of config.topics) meter.errors(topic).inc()
          ctx.log.warn({ step: ctx.step, error: error.message }, 'Kafka consumer: retrying')
        },
        onLost(lane, from, to) {
          ctx.log.warn(
            { lane, position: from, start: to, lost: to - from },
            `the records of ${lane} from ${from} to ${to - 1} were deleted before they were read (retention); reading continues at ${to}`,
          )
        },
      })
      await consumer.open({
        async assigned(partitions) {
          const positions = await ctx.assign(partitions.map(laneOf), originOf)
          const offsets = new Map<string, number>()
          for (const [lane, position] of positions) {
            if (position === undefined) continue
            if (typeof position !== 'number')
              throw new EnvironmentError(`the checkpoint of ${lane} must be an offset, not ${JSON.stringify(position)}`)
            offsets.set(lane, position)
          }
          return offsets
        },
        async revoked(partitions) {
          const lanes = partitions.map(tpKey)
          forget(lanes)
          await ctx.revoke(lanes)
        },
        lost(partitions) {
          const lanes = partitions.map(tpKey)
          forget(lanes)
          ctx.lose(lanes)
        },
      })
    },

    commitNotifyInterval: 1000,

    async read(signal): Promise<Batch> {
      const batch = rest ?? (await consumer!.poll(signal))
      rest = undefined
      const piece = cut(batch, config.max_poll_records)
      if (piece !== batch) rest = { ...batch, missing: undefined, messages: batch.messages.slice(config.max_poll_records) }
      const read = { lane: tpKey(batch), messages: piece.messages, position: piece.nextOffset, lag: piece.endOffset - piece.nextOffset }
      return piece.missing === undefined ? read : { ...read, gap: await gapOf(piece, piece.missing) }
    },

    async seek(lane, position) {
      forget([lane])
      await consumer!.seek(tpOf(lane), position as number | undefined)
    },

    async commit(lane, position) {
      const tp = tpOf(lane)
      await consumer!.commit([{ ...tp, offset: position as number, metadata: owner }])
      meter.commits(tp.topic).inc()
    },

    caughtUp: lane => (rest === undefined || tpKey(rest) !== lane) && consumer!.caughtUp(tpOf(lane)),
    holds: lane => consumer?.holds?.(tpOf(lane)) ?? consumer !== undefined,
    healthy: () => consumer?.healthy() ?? false,

    async close() {
      await consumer?.close()
      await handle?.release()
    },
  }
}

/** The first `records` of a batch; the batch itself when it has no more. */
export function cut(batch: ConsumedBatch, records: number): ConsumedBatch {
  if (batch.messages.length <= records) return batch
  return { ...batch, messages: batch.messages.slice(0, records), nextOffset: batch.messages[records].offset }
}

/** Unchanged records: own key, own headers, own time. */
function backTo(config: KafkaSourceConfig): KafkaSinkConfig {
  return {
    ...config,
    topic_from: 'source',
    keep_partition: false,
    timestamp: 'event',
    keep_headers: true,
    compression: 'zstd',
    linger_ms: 10,
    batch_size: 131_072,
    acks: 'all',
    idempotent: true,
    create_topics: false,
    partitions: 1,
    replication: -1,
    on_too_large: 'fail',
  }
}
