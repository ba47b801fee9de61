/** The permissions of this login, as reported by the brokers. Read-only. */
import type { AclOperation } from '../../log-admin.ts'
import type { Cluster } from '../cluster.ts'
import { typeOf } from '../errors.ts'
import type { Broker } from '../internals.ts'
import { operationsOf } from './acls.ts'
import { ask, brokerError, Reader, send } from './ask.ts'

/** undefined: these brokers do not report it. */
export type Rights = ReadonlySet<AclOperation> | undefined

export interface TopicRights {
  /** `denied`: the user may not even see the name, so it is unknown whether it exists. */
  readonly found: 'yes' | 'no' | 'denied'
  readonly partitions: number
  readonly rights: Rights
}

const METADATA = 3
const DESCRIBE_GROUPS = 15
const UNKNOWN = 3
const TOPIC_DENIED = 29
const GROUP_DENIED = 30
/** The value if permissions were not requested or not returned. */
const NOT_REPORTED = -2_147_483_648

const supports = (broker: Broker, api: number, version: number): boolean => (broker.versions?.[api]?.maxVersion ?? 0) >= version
const rightsOf = (bits: number): Rights => (bits === NOT_REPORTED ? undefined : operationsOf(bits))

export async function topicRights(cluster: Cluster, topic: string): Promise<TopicRights> {
  const doing = `describe topic ${topic}`
  const told = await ask(
    cluster,
    doing,
    async broker => (supports(broker, METADATA, 8) ? await topicMetadata(broker, topic) : undefined),
    () => cluster.broker(),
  )
  if (told !== undefined) return told
  const { length } = await cluster.retry(doing, 0, () => cluster.partitions(topic, { refresh: true }))
  return { found: length > 0 ? 'yes' : 'no', partitions: length, rights: undefined }
}

function topicMetadata(broker: Broker, topic: string): Promise<TopicRights> {
  return send(broker, {
    apiKey: METADATA,
    apiVersion: 8,
    apiName: 'Metadata',
    // Creates nothing; returns the permissions on the topic, not on the cluster.
    body: encoder => encoder.writeInt32(1).writeString(topic).writeInt8(0).writeInt8(0).writeInt8(1),
    answer(payload) {
      const r = new Reader(payload)
      r.int32()
      r.list(() => [r.int32(), r.string(), r.int32(), r.string()])
      r.string()
      r.int32()
      const [found] = r.list(() => {
        const code = r.int16()
        r.string()
        r.int8()
        const partitions = r.list(() => {
          const ids = [r.int16(), r.int32(), r.int32(), r.int32()]
          for (let n = 0; n < 3; n++) r.list(() => r.int32())
          return ids
        })
        return { code, partitions: partitions.length, bits: r.int32() }
      })
      if (found.code === TOPIC_DENIED) return { found: 'denied', partitions: 0, rights: new Set<AclOperation>() }
      if (found.code === UNKNOWN) return { found: 'no', partitions: 0, rights: undefined }
      if (found.code !== 0 && found.partitions === 0) throw brokerError(found.code, null)
      return { found: 'yes', partitions: found.partitions, rights: rightsOf(found.bits) }
    },
  })
}

/** Of a group that may not exist. */
export function groupRights(cluster: Cluster, group: string): Promise<Rights> {
  return ask(
    cluster,
    `describe group ${group}`,
    async () => {
      try {
        const broker = await cluster.coordinator('group', group)
        return supports(broker, DESCRIBE_GROUPS, 3) ? await describeGroup(broker, group) : undefined
      } catch (error) {
        if (typeOf(error) === 'GROUP_AUTHORIZATION_FAILED') return new Set<AclOperation>()
        throw error
      }
    },
    () => cluster.broker(),
  )
}

function describeGroup(broker: Broker, group: string): Promise<Rights> {
  return send(broker, {
    apiKey: DESCRIBE_GROUPS,
    apiVersion: 3,
    apiName: 'DescribeGroups',
    body: encoder => encoder.writeInt32(1).writeString(group).writeInt8(1),
    answer(payload) {
      const r = new Reader(payload)
      r.int32()
      const [found] = r.list(() => {
        const code = r.int16()
        for (let n = 0; n < 4; n++) r.string()
        r.list(() => {
          for (let n = 0; n < 3; n++) r.string()
          r.skipBytes()
          r.skipBytes()
        })
        return { code, bits: r.int32() }
      })
      if (found.code === GROUP_DENIED) return new Set<AclOperation>()
      if (found.code !== 0) throw brokerError(found.code, null)
      return rightsOf(found.bits)
    },
  })
}

/** @returns whether the id may be used at all. Writing with it would fence its current user, so only its coordinator is looked up. */
export async function mayUseTransactionalId(cluster: Cluster, id: string): Promise<boolean> {
  try {
    await cluster.retry(
      `look up the coordinator of ${id}`,
      5000,
      () => cluster.coordinator('transaction', id),
      error => typeOf(error) === 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
    )
    return true
  } catch (error) {
    if (typeOf(error) === 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED') return false
    throw error
  }
}
