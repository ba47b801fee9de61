/**
 * Replaces internal topics by memory for backfills and dry runs, which commit nothing. The messages that a step passes on (`repartition`)
 * are in the same partitions and as the same records as in its topic.
 */
import { BatchError, defineSink, defineSource, type LaneInfo, type LinkRecord, type Message } from '../contract/plugin.ts'
import type { Link, Pipeline } from '../config/model.ts'

/** Maximum number of waiting records; at this number the writing part waits. */
const ROOM = 50_000
/** Maximum number of records per batch. */
const BATCH = 1000

export function withMemoryLinks(pipeline: Pipeline): Pipeline {
  return pipeline.links ? { ...pipeline, links: pipeline.links.map(link => inMemory(link, pipeline)) } : pipeline
}

class Channel {
  /** Waiting records by partition. */
  readonly waiting: LinkRecord[][]
  private size = 0
  private readonly wakers = new Set<() => void>()

  constructor(partitions: number) {
    this.waiting = Array.from({ length: partitions }, () => [])
  }

  get full(): boolean {
    return this.size >= ROOM
  }

  push(records: readonly LinkRecord[]): void {
    for (const record of records) this.waiting[record.partition].push(record)
    this.size += records.length
    this.wake()
  }

  take(partition: number): LinkRecord[] {
    const taken = this.waiting[partition].splice(0, BATCH)
    this.size -= taken.length
    this.wake()
    return taken
  }

  wake(): void {
    for (const waker of this.wakers) waker()
    this.wakers.clear()
  }

  /** Resolves at the next change. */
  async changed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.wakers.add(resolve)
    signal.addEventListener('abort', resolve as () => void, { once: true })
    await promise
    this.wakers.delete(resolve)
    signal.removeEventListener('abort', resolve as () => void)
    signal.throwIfAborted()
  }
}

function inMemory(link: Link, pipeline: Pipeline): Link {
  const { config, plugin } = pipeline.transforms[link.index]
  const { records, message } = plugin.link!
  const { partitions } = config as { partitions: number }
  const [topic] = (link.source.config as { topics: string[] }).topics
  const channel = new Channel(partitions)
  const lanes = channel.waiting.map(
    (_, partition): LaneInfo => ({ id: `${topic}/${partition}`, source: link.source.name, topic, partition, group: topic }),
  )
  const sink = defineSink({
    ...link.sink.plugin,
    transactions: undefined,
    create: () => ({
      async write(messages, { lane, signal }) {
        const made: LinkRecord[] = []
        const failed = new Map<number, Error>()
        for (const [i, m] of messages.entries()) {
          try {
            made.push(...records(m, lane, config))
          } catch (error) {
            failed.set(i, error as Error)
          }
        }
        while (channel.full) await channel.changed(signal)
        channel.push(made)
        if (failed.size > 0) throw new BatchError(failed)
      },
    }),
  })
  const source = defineSource({
    ...link.source.plugin,
    transactions: undefined,
    create(_config, ctx) {
      const next = lanes.map(() => 0)
      let turn = 0
      let finished = false
      return {
        open: async () => void (await ctx.assign(lanes)),
        async read(signal) {
          for (;;) {
            signal.throwIfAborted()
            for (let i = 0; i < lanes.length; i++) {
              const partition = turn++ % lanes.length
              const taken = channel.take(partition)
              if (taken.length === 0) continue
              const lane = lanes[partition]
              const messages = taken.map((record): Message => message(record, next[partition]++, lane))
              return { lane: lane.id, messages, position: next[partition] }
            }
            if (finished) return null
            await channel.changed(signal)
          }
        },
        caughtUp: id => channel.waiting[lanes.findIndex(l => l.id === id)].length === 0,
        finish() {
          finished = true
          channel.wake()
        },
      }
    },
  })
  return { ...link, sink: { ...link.sink, plugin: sink }, source: { ...link.source, plugin: source } }
}
