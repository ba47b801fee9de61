/** A dlq that is a topic, on real brokers or in the embedded log. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { KafkaSinkConfig } from '../../generated/config-types.ts'
import { EnvironmentError, type DeadLetterReader, type Logger } from '../../contract/plugin.ts'
import { connect } from './connect.ts'
import { tpKey } from './driver.ts'

/** Waits for a fetch that brought nothing although there is something, ms. */
const PAUSE = 100
const MAX_READS = 50

export async function readTopicDeadLetters(config: KafkaSinkConfig, { log }: { readonly log: Logger }): Promise<DeadLetterReader> {
  const { topic } = config
  if (topic === undefined) throw new EnvironmentError(`each message determines its topic (${config.topic_from}): select one with --topic`)
  const handle = await connect(config, log)
  const { driver } = handle
  let ends = new Map<string, number>()
  return {
    what: `topic ${topic} on ${driver.scope}`,

    async lanes() {
      const count = (await driver.topics()).find(t => t.name === topic)?.partitions ?? 0
      const partitions = Array.from({ length: count }, (_, partition) => ({ topic, partition }))
      ends = await driver.offsets(partitions, 'latest')
      const first = await driver.offsets(partitions, 'earliest')
      return partitions.map(tp => ({
        id: tpKey(tp),
        partition: tp.partition,
        from: first.get(tpKey(tp)) ?? 0,
        to: ends.get(tpKey(tp)) ?? 0,
      }))
    },

    async read({ id, partition }, offset) {
      const to = ends.get(id) ?? 0
      for (let tries = 0; offset < to && tries < MAX_READS; tries++) {
        const batch = await driver.read({ topic, partition }, offset, { format: 'bytes', isolation: 'read_committed', source: 'dlq' })
        const messages = batch.messages.filter(m => m.offset < to)
        if (batch.nextOffset > offset) return { messages, next: Math.min(batch.nextOffset, to), end: batch.nextOffset >= to }
        await sleep(PAUSE)
      }
      return { messages: [], next: offset, end: true }
    },

    close: () => handle.release(),
  }
}
