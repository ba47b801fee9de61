/** The pairs of source and sink: how each is written in YAML, fed, and read by a client that is not ours. */
import { execFile } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import pg from 'pg'
import { schema } from '../../connectors/postgres/outbox/make.ts'
import { type Backend, embeddedBackend, kafkaBackend } from '../../e2e/lib/backend.ts'
import { createTopic } from '../../support/kafka.ts'
import { type ConsumedRecord, consumeAll, produceFile } from '../../support/kcat.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { unique } from '../../support/unique.ts'
import type { Peer, PeerName, Peers } from './peers.ts'
import { copies, judgeLatest, judgeLog, KEYS, type Numbered, type Seen, type Verdict } from './records.ts'

export type Delivery = 'exactly_once' | 'at_least_once'

interface Place {
  readonly peers: Peers
  /** The runner's directory. */
  readonly cwd: string
  /** The pipeline's and the group's name; also part of topics, tables, keys. */
  readonly name: string
  readonly backends: Map<string, Backend>
}

/** One end of an open pair: its YAML, with the variables that it needs. */
interface End {
  readonly yaml: string
  readonly env?: Record<string, string>
  close?(): Promise<void>
}
interface OpenSource extends End {
  /** In order; resolves when the records are safe. */
  write(records: readonly Numbered[]): Promise<void>
  /** What is in the source, by another client. */
  fed?(): Promise<string[]>
}
interface OpenSink extends End {
  read(): Promise<Seen[]>
}

interface Source {
  readonly peer?: PeerName
  /** Several processes can share it. */
  readonly shared: boolean
  open(place: Place): Promise<OpenSource>
}
interface Sink {
  readonly peer?: PeerName
  readonly latest?: boolean
  /** It can't show a second write of the same record. */
  readonly upserts?: boolean
  open(place: Place): Promise<OpenSink>
}

const PARTITIONS = 4
const json = (records: readonly Numbered[]): string[] => records.map(record => JSON.stringify(record))
const lines = (text: string): string[] => text.split('\n').filter(line => line !== '')

async function backendOf({ peers, cwd, backends }: Place, kind: 'kafka' | 'embedded'): Promise<Backend> {
  const made = backends.get(kind) ?? (kind === 'kafka' ? await kafkaBackend((await peers.kafka()).direct) : embeddedBackend(cwd))
  backends.set(kind, made)
  return made
}

const topicSource = (kind: 'kafka' | 'embedded'): Source => ({
  ...(kind === 'kafka' && { peer: 'kafka' }),
  shared: true,
  async open(place) {
    const backend = await backendOf(place, kind)
    const topic = await backend.topic('in', PARTITIONS)
    return {
      yaml: `kafka: { topics: [${topic}], group: ${place.name}, session_timeout: 6s }`,
      write: records =>
        backend.produce(
          topic,
          json(records).map((value, i) => ({ key: records[i].key, value })),
        ),
      fed: async () => (await backend.readAll(topic)).map(r => String(r.value)),
    }
  },
})

const topicSink = (kind: 'kafka' | 'embedded'): Sink => ({
  ...(kind === 'kafka' && { peer: 'kafka' }),
  async open(place) {
    const backend = await backendOf(place, kind)
    const topic = await backend.topic('out', PARTITIONS)
    return {
      yaml: `kafka: { topic: ${topic} }`,
      read: async () => (await backend.readAll(topic)).map((r: ConsumedRecord) => ({ text: String(r.value), key: String(r.key) })),
    }
  },
})

/** Three brokers: fed by kcat, which knows how to leave a frozen one. */
const clusterSource: Source = {
  shared: true,
  async open({ peers, name, cwd }): Promise<OpenSource> {
    const { direct } = await peers.cluster()
    const topic = await createTopic(`${name}-in`, { partitions: PARTITIONS, replicas: 3, brokers: direct })
    const path = join(cwd, 'feed')
    return {
      yaml: `kafka: { topics: [${topic}], group: ${name}, session_timeout: 6s }`,
      async write(records) {
        writeFileSync(
          path,
          json(records)
            .map((value, i) => `${records[i].key}\t${value}\n`)
            .join(''),
        )
        await produceFile(topic, path, { keyDelimiter: '\t', idempotent: true, brokers: (await peers.cluster()).direct })
      },
      fed: async () => (await consumeAll(topic, { brokers: (await peers.cluster()).direct })).map(r => String(r.value)),
    }
  },
}

const clusterSink: Sink = {
  async open({ peers, name }) {
    const topic = await createTopic(`${name}-out`, { partitions: PARTITIONS, replicas: 3, brokers: (await peers.cluster()).direct })
    return {
      yaml: `kafka: { topic: ${topic} }`,
      async read() {
        const records = await consumeAll(topic, { brokers: (await peers.cluster()).direct })
        return records.map(r => ({ text: String(r.value), key: String(r.key) }))
      },
    }
  },
}

const SOURCES = {
  kafka_cluster: clusterSource,
  kafka: topicSource('kafka'),
  embedded: topicSource('embedded'),
  redis_stream: {
    peer: 'redis',
    shared: true,
    async open({ peers, name }) {
      const peer = await peers.redis()
      const client = new Redis(peer.direct, { lazyConnect: true, maxRetriesPerRequest: null })
      client.on('error', () => {})
      await client.connect()
      return {
        yaml: `redis: { url: "redis://${peer.address}", streams: ["${name}:in"], group: ${name}, consumer: "c\${INSTANCE}", field: v, key_field: k, claim_idle: 3s }`,
        async write(records) {
          const pipeline = client.pipeline()
          for (const [i, value] of json(records).entries()) pipeline.xadd(`${name}:in`, '*', 'k', records[i].key, 'v', value)
          for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error
        },
        close: async () => client.disconnect(),
      }
    },
  },
  postgres_outbox: {
    peer: 'postgres',
    shared: true,
    async open(place) {
      const { dsn, through } = await databaseOf(place)
      await psql(dsn, schema)
      // A connection each time: the server may be restarted in between.
      const write = async (records: readonly Numbered[]): Promise<void> => {
        const client = new pg.Client({ connectionString: dsn })
        await client.connect()
        try {
          await client.query('INSERT INTO outbox (aggregate_id, type, payload) SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[])', [
            records.map(r => r.key),
            records.map(() => 'Numbered'),
            json(records),
          ])
          await client.query('NOTIFY outbox')
        } finally {
          await client.end()
        }
      }
      return {
        yaml: `postgres_outbox: { dsn: "${through}", table: outbox, buckets: 4, poll_interval: 500ms, lease: 3s, lease_interval: 200ms }`,
        write,
      }
    },
  },
  file: {
    shared: false,
    async open({ cwd }) {
      writeFileSync(join(cwd, 'in.jsonl'), '')
      return {
        yaml: 'file: { path: in.jsonl, follow: true }',
        write: async records => appendFileSync(join(cwd, 'in.jsonl'), `${json(records).join('\n')}\n`),
      }
    },
  },
  http: {
    shared: false,
    async open() {
      const [port] = await freePorts(1)
      // A sender as the guide to webhooks wants it: what got no 2xx is sent again under the same key.
      const write = async (records: readonly Numbered[]): Promise<void> => {
        for (const deadline = Date.now() + 90_000; ; await sleep(50)) {
          const status = await fetch(`http://127.0.0.1:${port}/in`, {
            method: 'POST',
            headers: { 'content-type': 'application/json', 'idempotency-key': `r${records[0].id}` },
            body: `[${json(records).join()}]`,
            signal: AbortSignal.timeout(15_000),
          }).then(
            async answer => (await answer.arrayBuffer(), answer.status),
            () => 0,
          )
          if (status >= 200 && status < 300) return
          if (Date.now() > deadline) throw new Error(`no 2xx from the http source within 90 s, last status ${status}`)
        }
      }
      return { yaml: `http: { port: ${port}, path: /in, key: key, idempotency_key: {} }`, write }
    },
  },
} satisfies Record<string, Source>

const SINKS = {
  kafka_cluster: clusterSink,
  kafka: topicSink('kafka'),
  embedded: topicSink('embedded'),
  postgres: {
    peer: 'postgres',
    async open(place) {
      const { dsn, through } = await databaseOf(place)
      await psql(dsn, 'CREATE TABLE seen (at bigint GENERATED ALWAYS AS IDENTITY, id int, key text, n int, sum text)')
      return {
        yaml: `postgres: { dsn: "${through}", table: seen, columns: [id, key, n, sum] }`,
        read: () => rows(dsn, 'SELECT id, key, n, sum FROM seen ORDER BY at'),
      }
    },
  },
  postgres_upsert: {
    peer: 'postgres',
    upserts: true,
    async open(place) {
      const { dsn, through } = await databaseOf(place)
      await psql(dsn, 'CREATE TABLE kept (at bigint GENERATED ALWAYS AS IDENTITY, id int PRIMARY KEY, key text, n int, sum text)')
      return {
        yaml: `postgres: { dsn: "${through}", table: kept, columns: [id, key, n, sum], key: [id] }`,
        read: () => rows(dsn, 'SELECT id, key, n, sum FROM kept ORDER BY at'),
      }
    },
  },
  redis_stream: {
    peer: 'redis',
    async open({ peers, name }) {
      const peer = await peers.redis()
      return {
        yaml: `redis: { url: "redis://${peer.address}", stream: "${name}:out" }`,
        async read() {
          const entries = JSON.parse(await redisCli(peer, ['XRANGE', `${name}:out`, '-', '+'])) as [string, string[]][]
          return entries.map(([, fields]) => ({ text: fields[fields.indexOf('value') + 1], key: '' }))
        },
      }
    },
  },
  redis_string: {
    peer: 'redis',
    latest: true,
    upserts: true,
    async open({ peers, name }) {
      const peer = await peers.redis()
      const keys = Array.from({ length: KEYS }, (_, i) => `k${i}`)
      return {
        yaml: `redis: { url: "redis://${peer.address}", string: "${name}:<@key>" }`,
        async read() {
          const values = JSON.parse(await redisCli(peer, ['MGET', ...keys.map(key => `${name}:${key}`)])) as (string | null)[]
          return values.flatMap((text, i) => (text === null ? [] : [{ text, key: keys[i] }]))
        },
      }
    },
  },
  file: {
    async open({ cwd }) {
      const path = join(cwd, 'out.jsonl')
      // A last line that is not complete does not count: the next run removes it.
      return {
        yaml: 'file: { path: out.jsonl }',
        read: async () =>
          existsSync(path)
            ? readFileSync(path, 'utf8')
                .split('\n')
                .slice(0, -1)
                .map(text => ({ text, key: '' }))
            : [],
      }
    },
  },
  http: {
    peer: 'http',
    async open({ peers, name }) {
      const peer = await peers.http()
      return {
        yaml: `http: { url: "http://${peer.address}/${name}", timeout: 5s }`,
        read: async () =>
          peer.delivered.filter(({ path }) => path === `/${name}`).map(({ body, idempotencyKey }) => ({ text: body, key: idempotencyKey })),
      }
    },
  },
} satisfies Record<string, Sink>

export interface OpenPair {
  readonly yaml: string
  readonly env: Record<string, string | undefined>
  write(records: readonly Numbered[]): Promise<void>
  read(): Promise<Seen[]>
  fed(): Promise<string[]>
  close(): Promise<void>
}

export class Pair {
  readonly source: keyof typeof SOURCES
  readonly sink: keyof typeof SINKS
  readonly delivery: Delivery

  constructor(source: keyof typeof SOURCES, sink: keyof typeof SINKS, delivery: Delivery) {
    this.source = source
    this.sink = sink
    this.delivery = delivery
  }

  get name(): string {
    if (this.cluster) return 'kafka → kafka, 3 brokers'
    return `${this.source} → ${this.sink}`.replaceAll('_', ' ')
  }

  private get from(): Source {
    return SOURCES[this.source]
  }

  private get to(): Sink {
    return SINKS[this.sink]
  }

  /** The servers that it touches. */
  get peers(): PeerName[] {
    return [...new Set([this.from.peer, this.to.peer].filter(name => name !== undefined))]
  }

  /** While this one is away, nothing can be fed. */
  get fedBy(): PeerName | undefined {
    return this.from.peer
  }

  /** On three brokers. */
  get cluster(): boolean {
    return this.source === 'kafka_cluster'
  }

  /** A broker of a release line is part of it. */
  get onKafka(): boolean {
    return this.cluster || this.peers.includes('kafka')
  }

  get shared(): boolean {
    return this.from.shared && this.sink !== 'file'
  }

  /** Records in each piece of the feed: the http sink sends them one by one. */
  get rate(): number {
    return this.sink === 'http' ? 2 : 10
  }

  /** A second write of the same record leaves no trace in the sink. */
  get upserts(): boolean {
    return this.to.upserts === true
  }

  get latest(): boolean {
    return this.to.latest === true
  }

  judge(made: readonly Numbered[], seen: readonly Seen[], fed: readonly string[]): Verdict {
    return this.latest ? judgeLatest(made, seen) : judgeLog(made, seen, copies(fed))
  }

  async open(peers: Peers, cwd: string): Promise<OpenPair> {
    const place: Place = { peers, cwd, name: unique('f'), backends: new Map() }
    const source: OpenSource = await this.from.open(place)
    const sink: OpenSink = await this.to.open(place)
    const yaml = [
      `name: ${place.name}`,
      'sources:',
      `  - ${source.yaml}`,
      'sinks:',
      `  - ${sink.yaml}`,
      `delivery: ${this.delivery}`,
      'metrics: { port: "${PORT}" }',
      '',
    ]
    const kafka = async (): Promise<string> => {
      if (this.cluster) return (await peers.cluster()).address
      return this.peers.includes('kafka') ? (await peers.kafka()).address : `embedded:${join(cwd, '.runner', 'log.db')}`
    }
    return {
      yaml: yaml.join('\n'),
      env: { KAFKA_BROKERS: await kafka() },
      write: records => source.write(records),
      read: () => sink.read(),
      fed: async () => (await source.fed?.()) ?? [],
      async close() {
        await source.close?.()
        await sink.close?.()
        for (const backend of place.backends.values()) await backend.close()
      },
    }
  }
}

const EO = 'exactly_once'
const ALO = 'at_least_once'
export const PAIRS: readonly Pair[] = [
  new Pair('kafka', 'kafka', EO),
  new Pair('kafka_cluster', 'kafka_cluster', EO),
  new Pair('kafka', 'postgres', EO),
  new Pair('postgres_outbox', 'kafka', EO),
  new Pair('embedded', 'embedded', EO),
  new Pair('file', 'postgres', EO),
  new Pair('kafka', 'kafka', ALO),
  new Pair('kafka_cluster', 'kafka_cluster', ALO),
  new Pair('kafka', 'postgres_upsert', ALO),
  new Pair('kafka', 'redis_stream', ALO),
  new Pair('kafka', 'redis_string', ALO),
  new Pair('kafka', 'http', ALO),
  new Pair('kafka', 'file', ALO),
  new Pair('redis_stream', 'kafka', ALO),
  new Pair('postgres_outbox', 'kafka', ALO),
  new Pair('http', 'kafka', ALO),
  new Pair('http', 'postgres_upsert', ALO),
  new Pair('embedded', 'embedded', ALO),
  new Pair('file', 'file', ALO),
]

/** A database for the pair: its DSN, and the one that goes through the proxy. */
async function databaseOf({ peers, name }: Place): Promise<{ dsn: string; through: string }> {
  const peer = await peers.postgres()
  const dsn = await peer.server.database(name)
  const through = new URL(dsn)
  through.port = String(peer.port)
  return { dsn, through: through.href }
}

async function psql(dsn: string, text: string): Promise<string> {
  const args = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', dsn, '-c', text]
  return (await promisify(execFile)('psql', args, { maxBuffer: 256 * 1024 * 1024 })).stdout
}

const rows = async (dsn: string, select: string): Promise<Seen[]> =>
  lines(await psql(dsn, `SELECT row_to_json(r) FROM (${select}) r`)).map(text => ({ text, key: '' }))

async function redisCli(peer: Peer, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('redis-cli', ['-u', peer.direct, '--json', ...args], { maxBuffer: 256 * 1024 * 1024 })
  return stdout
}
