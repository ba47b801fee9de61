/** A sink's topic is monitored from `open` on, before its first record. Only a topic that existed can be deleted. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { Cluster } from '../../../src/connectors/kafka/client/cluster.ts'
import { WrittenTopics } from '../../../src/connectors/kafka/client/produce/written-topics.ts'
import { TopicWatch } from '../../../src/connectors/kafka/client/topic-watch.ts'
import type { Logger } from '../../../src/contract/plugin.ts'
import { brokers } from '../../support/brokers.ts'
import { createTopic, unique, withAdmin } from '../../support/kafka.ts'
import { testLog } from './make.ts'

let cluster: Cluster
let watch: TopicWatch
let lines: string[]
const log = Object.assign(Object.create(testLog) as Logger, {
  error: (_: unknown, text: string) => void lines.push(`error ${text}`),
  warn: (_: unknown, text: string) => void lines.push(`warn ${text}`),
})
const written = (): WrittenTopics => new WrittenTopics(watch, cluster, log)
const deleteTopic = (topic: string): Promise<void> => withAdmin(admin => admin.deleteTopics({ topics: [topic] }))
/** Waits until a check has read the metadata; each check is two requests, so timing has no effect. */
async function lookUntil(done: () => boolean): Promise<void> {
  do await watch.look()
  while (!done())
}

beforeAll(() => {
  cluster = new Cluster({ brokers: brokers().split(','), clientId: 'runner-test', log: testLog })
})
beforeEach(() => {
  watch = new TopicWatch(cluster)
  lines = []
})
afterAll(() => cluster.close())

test('a topic that never existed is not reported, before and after its creation; a deleted one is reported', async () => {
  const topic = unique('later')
  const outputs = written()
  outputs.add(topic, false)
  await lookUntil(() => watch.sight(topic) === 'missing')
  expect([outputs.problem(), watch.existed(topic)]).toEqual([undefined, false])
  await createTopic(topic)
  await lookUntil(() => watch.sight(topic) !== 'missing')
  expect([outputs.problem(), watch.existed(topic), lines]).toEqual([undefined, true, []])
  await deleteTopic(topic)
  await lookUntil(() => watch.sight(topic) === 'missing')
  expect(outputs.problem()).toBe(`topic ${topic} no longer exists; create it again`)
  expect(lines).toEqual([expect.stringContaining(`error topic ${topic} no longer exists`)])
  outputs.close()
  watch.close()
})

test('a topic that the broker creates at the first write is not reported before the next check', async () => {
  const topic = unique('created')
  const [sink, producer] = [written(), written()]
  sink.add(topic, false)
  await lookUntil(() => watch.sight(topic) === 'missing')
  // Now the producer found it.
  producer.add(topic)
  expect([sink.problem(), producer.problem(), lines]).toEqual([undefined, undefined, []])
  sink.close()
  producer.close()
  watch.close()
})

test('a topic that existed is reported before the first write; each change is logged once for all writers', async () => {
  const topic = await createTopic(unique('out'))
  const [sink, producer] = [written(), written()]
  sink.add(topic)
  producer.add(topic)
  await deleteTopic(topic)
  await lookUntil(() => watch.sight(topic) === 'missing')
  expect(sink.problem()).toBe(`topic ${topic} no longer exists; create it again`)
  expect(producer.problem()).toBe(sink.problem())
  expect(lines).toHaveLength(1)
  await createTopic(topic)
  await lookUntil(() => watch.sight(topic) !== 'missing')
  expect(sink.problem()).toBeUndefined()
  sink.close()
  producer.close()
  watch.close()
})
