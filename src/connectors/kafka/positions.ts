/** The position of a kafka source in each partition of its topics. Reads without joining the group. */
import type { KafkaSourceConfig } from '../../generated/config-types.ts'
import { EnvironmentError, type LanePosition, type CheckContext } from '../../contract/plugin.ts'
import { connect } from './connect.ts'
import { type Driver, type TopicPartition, tpKey } from './driver.ts'

export async function sourcePositions(config: KafkaSourceConfig, ctx: CheckContext): Promise<LanePosition[]> {
  const { driver, release } = await connect(config, ctx.log)
  try {
    return await positionsIn(driver, config.group ?? ctx.pipeline, config.topics, ctx.step, config.start_at)
  } finally {
    await release()
  }
}

/** @param source name of the step, '' outside a pipeline. @throws {EnvironmentError} for a topic that does not exist. */
export async function positionsIn(
  driver: Driver,
  group: string,
  topics: readonly string[],
  source: string,
  startAt: 'earliest' | 'latest',
): Promise<LanePosition[]> {
  const known = new Map((await driver.topics()).map(t => [t.name, t.partitions]))
  const partitions: TopicPartition[] = topics.flatMap(topic => {
    const count = known.get(topic)
    // In the embedded log, the first writer creates a topic.
    if (count === undefined && source !== '' && driver.scope.startsWith('embedded:')) return []
    if (count === undefined)
      throw new EnvironmentError(`topic ${topic} does not exist on ${driver.scope}; list the topics with runner topics list`)
    return Array.from({ length: count }, (_, partition) => ({ topic, partition }))
  })
  const [committed, first, end] = await Promise.all([
    driver.committed(group, partitions),
    driver.offsets(partitions, 'earliest'),
    driver.offsets(partitions, 'latest'),
  ])
  return partitions.map(tp => {
    const key = tpKey(tp)
    const [from, to] = [first.get(key) ?? 0, end.get(key) ?? 0]
    return {
      lane: { id: key, source, ...tp, group },
      committed: committed.get(key)?.offset,
      first: from,
      end: to,
      behind(position) {
        const at = typeof position === 'number' ? position : startAt === 'latest' ? to : from
        return Math.max(0, to - Math.max(at, from))
      },
    }
  })
}
