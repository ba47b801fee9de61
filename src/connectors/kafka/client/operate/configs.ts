/** Reads and changes settings of topics, and deletes topics. */
import { EnvironmentError } from '../../../../contract/plugin.ts'
import type { TopicSetting } from '../../log-admin.ts'
import { unknownTopic } from '../topics-and-offsets.ts'
import type { Cluster } from '../cluster.ts'
import { typeOf } from '../errors.ts'
import type { Broker } from '../internals.ts'
import { sleep } from '../wait.ts'
import { ask, brokerError, Reader, send } from './ask.ts'

const TOPIC = 2
/** The source of a setting: the topic itself. */
const OWN = 1
const SET = 0
const REMOVE = 1
const INCREMENTAL_ALTER_CONFIGS = 44

export async function describeConfigs(cluster: Cluster, topics: readonly string[]): Promise<Map<string, Map<string, TopicSetting>>> {
  if (topics.length === 0) return new Map()
  const resources = topics.map(name => ({ type: TOPIC, name, configNames: [] }))
  const answer = await ask(cluster, 'read the settings of topics', async broker => {
    try {
      return await broker.describeConfigs({ resources, includeSynonyms: false })
    } catch (error) {
      if (typeOf(error) !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error
      for (const topic of topics)
        if ((await cluster.partitions(topic, { refresh: true })).length === 0) throw unknownTopic(topic, cluster.options.brokers)
      throw error
    }
  })
  return new Map(
    (answer.resources as any[]).map(r => [
      r.resourceName as string,
      new Map(
        (r.configEntries as any[]).map(e => [e.configName as string, { value: e.configValue ?? '', own: e.configSource === OWN }] as const),
      ),
    ]),
  )
}

/** Resolves when the brokers return the new settings: they respond before they have received them from the controller. */
export async function alterConfigs(cluster: Cluster, topic: string, changes: Readonly<Record<string, string | null>>): Promise<void> {
  const doing = `change the settings of topic ${topic}`
  await ask(cluster, doing, async broker => {
    try {
      await incrementally(broker, topic, changes)
    } catch (error) {
      const type = typeOf(error)
      if (type === 'INVALID_CONFIG' || type === 'INVALID_REQUEST')
        throw new EnvironmentError(`cannot ${doing}: ${(error as Error).message}`, error)
      if (type === 'UNKNOWN_TOPIC_OR_PARTITION') throw unknownTopic(topic, cluster.options.brokers)
      throw error
    }
  })
  // Bounded, because a broker may return a value in another form than it was set.
  for (let n = 0; n < 40 && !(await told(cluster, topic, changes)); n++) await sleep(50)
}

async function told(cluster: Cluster, topic: string, changes: Readonly<Record<string, string | null>>): Promise<boolean> {
  const settings = (await describeConfigs(cluster, [topic])).get(topic)
  return Object.entries(changes).every(([name, value]) => {
    const now = settings?.get(name)
    return value === null ? !now?.own : now?.own === true && now.value === value
  })
}

/** kafkajs has only AlterConfigs, which resets every setting that is not in the request. */
function incrementally(broker: Broker, topic: string, changes: Readonly<Record<string, string | null>>): Promise<void> {
  return send(broker, {
    apiKey: INCREMENTAL_ALTER_CONFIGS,
    apiVersion: 0,
    apiName: 'IncrementalAlterConfigs',
    body(encoder) {
      encoder.writeInt32(1).writeInt8(TOPIC).writeString(topic).writeInt32(Object.keys(changes).length)
      for (const [name, value] of Object.entries(changes))
        encoder
          .writeString(name)
          .writeInt8(value === null ? REMOVE : SET)
          .writeString(value)
      return encoder.writeInt8(0)
    },
    answer(payload) {
      const reader = new Reader(payload)
      reader.int32()
      for (const [code, message] of reader.list(() => {
        const result = [reader.int16(), reader.string()] as const
        reader.int8()
        reader.string()
        return result
      }))
        if (code !== 0) throw brokerError(code, message)
    },
  })
}

/** Resolves when none of the brokers asked knows them any more. */
export async function deleteTopics(cluster: Cluster, topics: readonly string[]): Promise<void> {
  for (const topic of topics) {
    await ask(cluster, `delete topic ${topic}`, async controller => {
      try {
        await controller.deleteTopics({ topics: [topic], timeout: 15_000 })
      } catch (error) {
        if (typeOf(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return
        if (typeOf(error) === 'TOPIC_DELETION_DISABLED')
          throw new EnvironmentError(`cannot delete topic ${topic}: the brokers have delete.topic.enable=false`, error)
        throw error
      }
    })
    for (let n = 0; n < 200 && (await cluster.partitions(topic, { refresh: true })).length > 0; n++) await sleep(50)
    cluster.stale([topic])
  }
}
