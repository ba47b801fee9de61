/**
 * Brokers of the release line 4.3 can end a transaction without the marker of a partition that has no leader (docs/guarantees.md). Brokers
 * do not report their release. The newest `metadata.version` that they support shows the release line.
 */
import type { Cluster } from '../cluster.ts'
import type { Broker } from '../internals.ts'
import { Reader, send } from '../operate/ask.ts'

const API_VERSIONS = 18
const FLEXIBLE = 3
/** 4.3-IV0. Brokers of 4.2 support up to 29. */
const LINE_4_3 = 30
const FEATURE = 'metadata.version'

/** The newest `metadata.version` that the broker supports; undefined: it reports none (before 3.3, or with ZooKeeper). */
export async function metadataLevel(broker: Broker): Promise<number | undefined> {
  if ((broker.versions?.[API_VERSIONS]?.maxVersion ?? 0) < FLEXIBLE) return undefined
  return await send(broker, {
    apiKey: API_VERSIONS,
    apiVersion: FLEXIBLE,
    apiName: 'ApiVersions',
    // Tagged fields of the header, the names of the client, tagged fields of the body.
    body: encoder => encoder.writeInt8(0).writeBuffer(compact('pipeline-runner')).writeBuffer(compact('1')).writeInt8(0),
    answer: levelIn,
  })
}

const compact = (text: string): Buffer => Buffer.concat([Buffer.from([text.length + 1]), Buffer.from(text)])

/** Of a response of version 3. */
export function levelIn(payload: Buffer): number | undefined {
  const r = new Reader(payload)
  if (r.int16() !== 0) return undefined
  r.compactList(() => {
    for (let n = 0; n < 3; n++) r.int16()
    r.tagged()
  })
  r.int32()
  let level: number | undefined
  r.tagged((tag, field) => {
    // Supported features.
    if (tag !== 0) return
    field.compactList(() => {
      const name = field.compactString()
      field.int16()
      const max = field.int16()
      field.tagged()
      if (name === FEATURE) level = max
    })
  })
  return level
}

/**
 * With a single broker, transactions and partitions are away at the same time, and the error does not occur.
 * @param topics that transactions write to
 * @returns the topics with a partition on one broker only, if the brokers are of this release line
 */
export async function exposedTopics(cluster: Cluster, topics: readonly string[]): Promise<string[]> {
  const exposed: string[] = []
  for (const topic of topics) if ((await cluster.partitions(topic)).some(p => p.replicas === 1)) exposed.push(topic)
  if (exposed.length === 0 || cluster.advertised.length < 2) return []
  return (await metadataLevel(await cluster.broker())) === LINE_4_3 ? exposed : []
}

export const lostMarkers = (topics: readonly string[]): string =>
  `${topics.join(', ')} ${topics.length === 1 ? 'has' : 'have'} one replica, and the brokers are of the release line 4.3. Kafka 4.3.0 and 4.3.1 can ` +
  'show aborted records, or lose committed ones, if the only broker of a partition stops during a transaction; whether these brokers ' +
  'have a later patch release cannot be determined'
