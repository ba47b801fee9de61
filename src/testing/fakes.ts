/** Replaces the sources, sinks and dlq of a pipeline by in-memory ones; the transforms are unchanged. */
import {
  BatchError,
  defineSink,
  defineSource,
  type Format,
  type LaneInfo,
  Message,
  type SinkPlugin,
  type SourcePlugin,
} from '../contract/plugin.ts'
import type { Link, Pipeline, SinkStep, Step } from '../config/model.ts'
import { type BatchSplit, Feed, type FeedOptions, type FeedRecord } from './feed.ts'
import { fakeSourceContext } from './conformance/context.ts'
import { lineFormat, linesOf, readsLines } from './lines.ts'
import { answerer } from './stubs.ts'
import { isReplayable } from '../config/traits.ts'
import type { InputRecord, TestCase } from './model.ts'
import { bytes, plainPreview, type InMemorySinks, InMemoryTransaction, type Written, writtenOf } from './in-memory-sinks.ts'

/** In a test, rejections that a source reports to its senders are checked as dead letters. */
export function withRejectionSink(pipeline: Pipeline): Pipeline {
  if (pipeline.dlq || pipeline.sources.length === 0 || !pipeline.sources.every(reportsRejections)) return pipeline
  const plugin = defineSink({ type: 'senders', schema: {}, onRedelivery: 'appends', reason: 'a rejection is reported once', create: never })
  return { ...pipeline, dlq: { type: 'senders', name: 'senders', plugin, config: {}, at: pipeline.sources[0].at, secrets: [] } }
}

/** Depends on the config: an instance, which does no I/O before `open`, has `reject` or not. */
function reportsRejections({ plugin, config, name }: Step<SourcePlugin>): boolean {
  return plugin.create(config, fakeSourceContext(name)).reject !== undefined
}

const never = (): never => {
  throw new Error('only a stand-in')
}

export interface FakedPipeline {
  readonly pipeline: Pipeline
  readonly feeds: ReadonlyMap<string, Feed>
  laneOf(record: InputRecord): { step: Step<SourcePlugin>; feed: Feed; lane: string }
}

const SCOPE = 'test'

export function withFakes(pipeline: Pipeline, test: TestCase, sinks: InMemorySinks, cut: BatchSplit): FakedPipeline {
  const records = test.steps.flatMap(s => (s.kind === 'input' ? s.records : []))
  const sourceOf = (record: InputRecord): Step<SourcePlugin> =>
    record.source === undefined ? pipeline.sources[0] : pipeline.sources.find(s => s.name === record.source)!
  const feeds = new Map<string, Feed>()
  for (const step of pipeline.sources) {
    const lanes = new Map<string, LaneInfo>()
    for (const record of records) {
      if (sourceOf(record) !== step) continue
      const info = laneInfo(step, record)
      lanes.set(info.id, info)
    }
    if (lanes.size === 0) {
      const info = laneInfo(step, undefined)
      lanes.set(info.id, info)
    }
    feeds.set(
      step.name,
      new Feed({
        source: step.name,
        lanes: [...lanes.values()],
        format: formatOf(step),
        replayable: isReplayable(step),
        cut,
        lines: linesOfStep(step),
      }),
    )
  }
  const links = pipeline.links?.map(link => linkFor(link, pipeline, sinks, cut, feeds))
  return {
    pipeline: {
      ...pipeline,
      ...(links && { links }),
      transforms: pipeline.transforms.map(step => transformFor(step, test)),
      sources: pipeline.sources.map(step => ({ ...step, plugin: sourceFor(pipeline, step, feeds.get(step.name)!, sinks) })),
      sinks: pipeline.sinks.map(step => ({ ...step, plugin: sinkFor(step, sinks) })),
      dlq: pipeline.dlq && { ...pipeline.dlq, plugin: sinkFor(pipeline.dlq, sinks) },
    },
    feeds,
    laneOf: record => {
      const step = sourceOf(record)
      const feed = feeds.get(step.name)!
      const info = laneInfo(step, record)
      feed.addLane(info)
      return { step, feed, lane: info.id }
    },
  }
}

/** Keeps the records of a link in memory, in the partitions of its topic. */
function linkFor(link: Link, pipeline: Pipeline, sinks: InMemorySinks, cut: BatchSplit, feeds: Map<string, Feed>): Link {
  const { config, plugin } = pipeline.transforms[link.index]
  const { records, message } = plugin.link!
  const { partitions } = config as { partitions: number }
  const [topic] = (link.source.config as { topics: string[] }).topics
  const lanes = Array.from(
    { length: partitions },
    (_, partition): LaneInfo => ({ id: `${topic}/${partition}`, source: link.source.name, topic, partition, group: topic }),
  )
  const feed = new Feed({ source: link.source.name, lanes, format: 'bytes', replayable: true, cut })
  feeds.set(link.source.name, feed)
  const sink = defineSink({
    ...link.sink.plugin,
    transactions: { scope: () => SCOPE, create: () => sinks.transactor() },
    create: () => ({
      async write(messages, { lane, transaction }) {
        const made = messages.flatMap(m => records(m, lane, config))
        const push = (): void => {
          for (const { partition, key, value, headers } of made)
            feed.push(lanes[partition].id, { payload: bytes(value), key: bytes(key), headers, time: 0 })
          feed.flush()
        }
        if (transaction instanceof InMemoryTransaction) transaction.onCommit(push)
        else push()
      },
    }),
  })
  const source = defineSource({
    ...link.source.plugin,
    transactions: { scope: () => SCOPE, create: () => sinks.transactor() },
    create(_config, ctx) {
      const inner = feed.open(ctx)
      return {
        ...inner,
        async read(signal) {
          const batch = await inner.read(signal)
          const lane = lanes.find(l => l.id === batch?.lane)!
          return (
            batch && {
              ...batch,
              messages: batch.messages.map(m =>
                message({ partition: lane.partition!, key: m.keyBytes, value: m.payload, headers: m.headers ?? [] }, m.offset, lane),
              ),
            }
          )
        },
        finish() {
          feed.end()
          feed.flush()
        },
      }
    },
  })
  return { ...link, sink: { ...link.sink, plugin: sink }, source: { ...link.source, plugin: source } }
}

/** A step that queries another system gets the stubs of the test. */
function transformFor<S extends Pipeline['transforms'][number]>(step: S, test: TestCase): S {
  const { plugin } = step
  const stubs = test.stubs.get(step.name)
  if (!plugin.stubbed || !stubs) return step
  return { ...step, plugin: { ...plugin, create: (config, ctx) => plugin.stubbed!(config, ctx, answerer(stubs.list)) } }
}

const linesOfStep = (step: Step): FeedOptions['lines'] => (readsLines(step) ? (step.type === 'file' ? 'file' : 'stream') : undefined)

/** The format of a source; all others (`jsonl`, `csv`) have JSON values. */
function formatOf(step: Step): Format {
  if (readsLines(step)) return lineFormat(step, undefined) === 'text' ? 'text' : 'json'
  const { format } = (step.config ?? {}) as { format?: string }
  return format === 'text' || format === 'bytes' ? format : 'json'
}

type Made = Pick<FeedRecord, 'payload' | 'message' | 'stop'>

/** The records that the source would read: one for a value, all records of bytes. */
export function recordsOf(step: Step, format: Format, { payload, text, raw }: InputRecord, time: number): Made[] {
  if (raw && payload && readsLines(step))
    return linesOf(step, payload, raw.file, time).map(({ message, stop }) => ({ payload: message?.payload ?? null, message, stop }))
  if (raw?.file !== undefined && payload) return payloadLines(payload).map(line => ({ payload: line }))
  if (payload && !raw && readsLines(step) && lineFormat(step, undefined) === 'csv')
    return [{ payload, message: new Message(JSON.parse(payload.toString()), undefined, time) }]
  return [{ payload: format === 'text' ? (text ?? payload) : payload }]
}

/** One payload per line, for a source that reads no files. */
function payloadLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = []
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(10, start)
    const end = newline < 0 ? bytes.length : newline
    if (end > start) lines.push(bytes.subarray(start, end))
    start = end + 1
  }
  return lines
}

/** Named as by the source: `<topic>/<partition>` with topics, otherwise the name of the lane. */
function laneInfo(step: Step, record: InputRecord | undefined): LaneInfo {
  const { topics, topic: single, group, path } = (step.config ?? {}) as { topics?: string[]; topic?: string; group?: string; path?: string }
  const topic = record?.topic ?? topics?.[0] ?? single
  const partition = record?.partition ?? 0
  if (topic === undefined || record?.lane !== undefined) return { id: record?.lane ?? path ?? step.name, source: step.name }
  return { id: `${topic}/${partition}`, source: step.name, topic, partition, ...(group !== undefined && { group }) }
}

/** Keeps the properties that define delivery: whether it can be read again, and whether its position is part of transactions. */
function sourceFor(pipeline: Pipeline, step: Step<SourcePlugin>, feed: Feed, sinks: InMemorySinks): SourcePlugin {
  const { reason, transactions } = step.plugin
  const replayable = isReplayable(step)
  return defineSource({
    type: step.type,
    schema: step.plugin.schema,
    replayable,
    reason,
    lanes: step.plugin.lanes,
    transactions:
      transactions || (replayable && pipeline.delivery === 'exactly_once')
        ? { scope: () => SCOPE, create: () => sinks.transactor() }
        : undefined,
    create: (_config, ctx) => feed.open(ctx),
  }) as SourcePlugin
}

function sinkFor(step: SinkStep | Step<SinkPlugin>, sinks: InMemorySinks): SinkPlugin {
  const { onRedelivery, reason, readsValue } = step.plugin
  const preview = step.plugin.preview?.(step.config) ?? plainPreview
  return defineSink({
    type: step.type,
    schema: step.plugin.schema,
    onRedelivery,
    reason,
    readsValue,
    transactions: { scope: () => SCOPE },
    create: () => ({
      async write(messages, { lane, transaction }) {
        const records: Written[] = []
        const failed = new Map<number, Error>()
        messages.forEach((m, i) => {
          try {
            records.push(writtenOf(m, preview(m), lane.id))
          } catch (error) {
            failed.set(i, error as Error)
          }
        })
        if (transaction instanceof InMemoryTransaction) transaction.stage(step.name, records)
        else sinks.write(step.name, records)
        if (failed.size > 0) throw new BatchError(failed)
      },
    }),
  }) as SinkPlugin
}
