/**
 * A worker process for the driver suite: copies a topic to another, partition by partition, exactly once, with nothing but the
 * driver contract. Its state counts the records copied per partition. Runs until it gets `stop` by IPC or is killed.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConsumedBatch, type Driver, type LogTransaction, type TopicPartition, tpKey } from '../../src/connectors/kafka/driver.ts'
import { FencedError, type LaneInfo, PipelineError, type Transaction } from '../../src/contract/plugin.ts'

export interface ChildTask {
  readonly module: string
  readonly options: unknown
  readonly input: string
  readonly output: string
  readonly group: string
  /** Transactor id. */
  readonly id: string
  readonly maxBytes: number
  readonly sessionTimeoutMs: number
  /** Longest wait, ms, between the outputs of a transaction and its commit: as long as a real runtime's sinks may take. */
  readonly holdMs: number
}

interface Lane {
  readonly info: LaneInfo
  copied: number
  busy: Promise<void>
}

const task = JSON.parse(process.argv[2]) as ChildTask
const { default: make } = (await import(task.module)) as { default(options: unknown): Driver | Promise<Driver> }
const driver = await make(task.options)
const transactor = driver.transactor({
  id: task.id,
  producer: { compression: 'none', lingerMs: 0, batchSize: 1000, idempotent: true, acks: -1 },
})
const lanes = new Map<string, Lane>()
const stop = new AbortController()
process.on('message', () => stop.abort())

const consumer = driver.consumer({
  topics: [task.input],
  group: task.group,
  startAt: 'earliest',
  format: 'bytes',
  source: 'in',
  isolation: 'read_committed',
  sessionTimeoutMs: task.sessionTimeoutMs,
  maxBytes: task.maxBytes,
  maxWaitMs: 50,
  onError: () => {},
})
await consumer.open({
  async assigned(partitions) {
    const offsets = new Map<string, number>()
    for (const tp of partitions) {
      const lane: Lane = { info: { id: tpKey(tp), source: 'in', ...tp, group: task.group }, copied: 0, busy: Promise.resolve() }
      const position = await claim(lane)
      if (position !== undefined) offsets.set(tpKey(tp), position)
      lanes.set(tpKey(tp), lane)
    }
    return offsets
  },
  async revoked(partitions) {
    for (const key of partitions.map(tpKey)) {
      const lane = lanes.get(key)
      if (!lane) continue
      await lane.busy
      lanes.delete(key)
      await transactor.release(lane.info)
    }
  },
  lost(partitions) {
    for (const key of partitions.map(tpKey)) lanes.delete(key)
  },
})
process.send?.('ready')

try {
  while (!stop.signal.aborted) {
    const batch = await consumer.poll(stop.signal)
    const lane = lanes.get(tpKey(batch))
    if (!lane) continue
    // Waits per batch, so that one copy at a time is under way per process: the simplest runtime there is.
    lane.busy = copy(lane, batch)
    await lane.busy
  }
} catch (error) {
  if (!stop.signal.aborted) throw error
}
await consumer.close()
await transactor.close()
await driver.close()
process.disconnect?.()

async function claim(lane: Lane): Promise<number | undefined> {
  const checkpoint = await transactor.claim(lane.info)
  lane.copied = checkpoint ? Number(checkpoint.state[0]?.[2] ?? 0) : 0
  return checkpoint?.position as number | undefined
}

async function copy(lane: Lane, batch: ConsumedBatch): Promise<void> {
  try {
    const transaction = (await transactor.begin(lane.info)) as Transaction & LogTransaction
    const { partition } = batch
    const records = batch.messages.map(m => ({
      topic: task.output,
      partition,
      key: m.keyBytes,
      value: m.payload,
      headers: m.headers,
      time: m.time,
    }))
    await transaction.send(records)
    await sleep(Math.random() * task.holdMs)
    const copied = lane.copied + records.length
    await transaction.commit({ position: batch.nextOffset, state: [['copied', 'n', String(copied)]] })
    lane.copied = copied
  } catch (error) {
    if (!(error instanceof PipelineError) || !(error.retryable || error instanceof FencedError)) throw error
    await rewind(lane, batch)
  }
}

/** Only the checkpoint shows the outcome of the transaction. */
async function rewind(lane: Lane, tp: TopicPartition): Promise<void> {
  if (lanes.get(tpKey(tp)) !== lane) return
  for (;;) {
    try {
      const position = await claim(lane)
      if (lanes.get(tpKey(tp)) === lane) await consumer.seek(tp, position)
      return
    } catch (error) {
      if (!(error instanceof PipelineError && error.retryable)) throw error
      await sleep(50)
    }
  }
}
