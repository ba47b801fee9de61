/** Backfill (`--from`, `--to`) and `once`: reads a range of every partition without a group, commits nothing, and ends. */
import { type Batch, EnvironmentError, type Message, type Position, type Source, type SourceContext } from '../../contract/plugin.ts'
import type { KafkaSourceConfig } from '../../generated/config-types.ts'
import { connect, type KafkaHandle } from './connect.ts'
import { type ConsumedBatch, type Driver, type TopicPartition, tpKey } from './driver.ts'

interface Lane extends TopicPartition {
  from: number
  readonly to: number
  /** Offset at which reading continues. */
  next: number
  /** Fetched but not yet returned; the rest begins at `next`. */
  page: Message[]
  /** Offset after the page. */
  pageEnd: number
}

/** Pause before the next fetch when an open transaction holds records back, ms. */
const PAUSE = 100

export function rangeSource(
  config: KafkaSourceConfig,
  ctx: SourceContext,
  range: { readonly from?: number; readonly to?: number },
): Source {
  let handle: KafkaHandle | undefined
  let lanes: Lane[] = []
  let turn = 0
  let generations: Awaited<ReturnType<Driver['topicIds']>> = new Map()

  const lane = (id: string): Lane => lanes.find(l => tpKey(l) === id)!
  const start = (l: Lane, position: Position | undefined): void => {
    l.next = typeof position === 'number' ? position : l.from
    l.page = []
    l.pageEnd = l.next
  }
  const read = (l: Lane, offset: number): Promise<ConsumedBatch> =>
    handle!.driver.read(l, offset, {
      format: config.format,
      isolation: config.isolation_level,
      source: ctx.step,
      generation: generations.get(l.topic)?.id,
    })
  const fill = async (l: Lane): Promise<void> => {
    const { next } = l
    const batch = await read(l, next)
    // A seek happened in between.
    if (l.next !== next) return
    l.page = batch.messages.filter(m => m.offset < l.to)
    l.pageEnd = Math.min(batch.nextOffset, l.to)
  }

  return {
    async open() {
      handle ??= await connect(config, ctx.log)
      generations = await handle.driver.topicIds(config.topics)
      lanes = await bounds(handle.driver, config.topics, range)
      if (range.from !== undefined) await warnOfDeleted(handle.driver, lanes, range.from, ctx)
      if (config.last !== undefined) await Promise.all(lanes.map(l => keepLast(l, config.last!, read)))
      const partitions = (topic: string): number => lanes.filter(l => l.topic === topic).length
      const positions = await ctx.assign(
        lanes.map(l => ({ id: tpKey(l), source: ctx.step, topic: l.topic, partition: l.partition, lanes: partitions(l.topic) })),
      )
      for (const [id, position] of positions) start(lane(id), position)
    },

    async read(signal): Promise<Batch | null> {
      for (;;) {
        signal.throwIfAborted()
        const open = lanes.filter(l => l.next < l.to)
        if (open.length === 0) return null
        const l = open[turn++ % open.length]
        if (l.page.length === 0) await fill(l)
        signal.throwIfAborted()
        const messages = l.page.splice(0, config.max_poll_records)
        const position = l.page[0]?.offset ?? l.pageEnd
        if (position <= l.next) {
          if (messages.length === 0) await new Promise(resolve => setTimeout(resolve, PAUSE))
          continue
        }
        l.next = position
        return { lane: tpKey(l), messages, position, lag: l.to - position }
      }
    },

    async seek(id, position) {
      start(lane(id), position)
    },

    caughtUp: id => lane(id).next >= lane(id).to,
    healthy: () => handle !== undefined,

    async close() {
      await handle?.release()
    },
  }
}

/** A log that starts after offset 0 had older records; it is unknown whether some of them belong to the requested time. */
async function warnOfDeleted(driver: Driver, lanes: readonly Lane[], from: number, ctx: SourceContext): Promise<void> {
  const first = await driver.offsets(lanes, 'earliest')
  const cut = lanes.filter(l => l.from > 0 && l.from === first.get(tpKey(l)) && l.from < l.to).map(tpKey)
  if (cut.length === 0) return
  ctx.log.warn(
    { step: ctx.step, lanes: cut, from: new Date(from).toISOString() },
    `older records of ${cut.join(', ')} were deleted: if some of them belong to the range of --from, the first windows are incomplete; ` +
      'choose a later --from to be sure',
  )
}

async function bounds(driver: Driver, topics: readonly string[], range: { readonly from?: number; readonly to?: number }): Promise<Lane[]> {
  const known = new Map((await driver.topics()).map(t => [t.name, t.partitions]))
  const partitions: TopicPartition[] = []
  for (const topic of topics) {
    const count = known.get(topic)
    if (count === undefined) throw new EnvironmentError(`topic ${topic} does not exist on ${driver.scope}`)
    for (let partition = 0; partition < count; partition++) partitions.push({ topic, partition })
  }
  const end = await driver.offsets(partitions, 'latest')
  const first = await driver.offsets(partitions, range.from ?? 'earliest')
  const last = range.to === undefined ? end : await driver.offsets(partitions, range.to)
  return partitions.map(tp => {
    const from = first.get(tpKey(tp))!
    return { ...tp, from, next: from, page: [], pageEnd: from, to: Math.min(last.get(tpKey(tp))!, end.get(tpKey(tp))!) }
  })
}

/**
 * Moves the start of the lane to its last `count` records. Offsets are not sufficient: transactions leave markers, compaction leaves gaps.
 */
async function keepLast(l: Lane, count: number, read: (l: Lane, offset: number) => Promise<ConsumedBatch>): Promise<void> {
  for (let reach = count * 2 + 16; ; reach *= 4) {
    const start = Math.max(l.from, l.to - reach)
    const offsets: number[] = []
    for (let offset = start; offset < l.to; ) {
      const batch = await read(l, offset)
      for (const m of batch.messages) if (m.offset < l.to) offsets.push(m.offset)
      // An open transaction holds the rest back.
      if (batch.nextOffset <= offset) break
      offset = batch.nextOffset
    }
    if (offsets.length < count && start > l.from) continue
    l.from = offsets.at(-count) ?? offsets[0] ?? l.from
    return
  }
}
