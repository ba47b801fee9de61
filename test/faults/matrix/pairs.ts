/** The pairs of source and sink: how each is written in YAML, fed, and read by a client that is not ours. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import pg from 'pg'
import { schema } from '../../connectors/postgres/outbox/make.ts'
import { type Backend, embeddedBackend, kafkaBackend } from '../../e2e/lib/backend.ts'
import { createTopic } from '../../support/kafka.ts'
import { type ConsumedRecord, consumeAll, produceFile } from '../../support/kcat.ts'
import { type Runner, tempDir } from '../../support/runner.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { unique } from '../../support/unique.ts'
import type { OpenSink, OpenSource, Place, Sink, Source, Written } from './ends.ts'
import { FEEDS } from './feeds.ts'
import { databaseOf, psql, redisCli, rows } from './look.ts'
import type { PeerName, Peers } from './peers.ts'
import { RECEIVERS } from './receivers.ts'
import { copies, judgeLatest, judgeLog, KEYS, type Numbered, type Seen, type Verdict } from './records.ts'

/** `at_most_once`: what `explain` prints, not a setting. */
export type Delivery = 'exactly_once' | 'at_least_once' | 'at_most_once'

/** What is between the two: state that a lost or doubled record would show in. */
interface Middle {
  /** Of the source. */
  readonly source?: string
  readonly transforms: string
  /** What is written for these records, in its order. */
  wrap(records: readonly Numbered[]): Written[]
  /** The records in an output, each as it was made. */
  unwrap(output: Record<string, unknown>): Numbered[]
}
const PARTITIONS = 4
const json = (records: readonly Numbered[]): string[] => records.map(record => JSON.stringify(record))

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
      put: written =>
        backend.produce(
          topic,
          written.map(({ key, value }) => ({ key, value: JSON.stringify(value) })),
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

const clusterTopic = async ({ peers, name }: Place, what: string, replicas: number): Promise<string> =>
  await createTopic(`${name}-${what}`, {
    partitions: PARTITIONS,
    replicas,
    brokers: (await peers.cluster()).direct,
    ...(replicas === 1 && { config: { 'min.insync.replicas': '1' } }),
  })

/** Three brokers: fed by kcat, which knows how to leave a frozen one. */
const clusterSource = (replicas: number): Source => ({
  shared: true,
  async open(place): Promise<OpenSource> {
    const { peers, name, cwd } = place
    const topic = await clusterTopic(place, 'in', replicas)
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
})

const clusterSink = (replicas: number): Sink => ({
  async open(place) {
    const { peers } = place
    const topic = await clusterTopic(place, 'out', replicas)
    return {
      yaml: `kafka: { topic: ${topic} }`,
      async read() {
        const records = await consumeAll(topic, { brokers: (await peers.cluster()).direct })
        return records.map(r => ({ text: String(r.value), key: String(r.key) }))
      },
    }
  },
})

const SOURCES = {
  kafka_cluster: clusterSource(3),
  kafka_lone: clusterSource(1),
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
  ...FEEDS,
  postgres: {
    peer: 'postgres',
    shared: false,
    async open(place) {
      const { dsn, through } = await databaseOf(place)
      await psql(dsn, 'CREATE TABLE feed (id int PRIMARY KEY, key text, n int, sum text)')
      return {
        yaml: `postgres: { dsn: "${through}", table: feed, cursor: id, key: key, mode: poll, interval: 200ms }`,
        async write(records) {
          const client = new pg.Client({ connectionString: dsn })
          await client.connect()
          try {
            await client.query('INSERT INTO feed SELECT * FROM unnest($1::int[], $2::text[], $3::int[], $4::text[])', [
              records.map(r => r.id),
              records.map(r => r.key),
              records.map(r => r.n),
              records.map(r => r.sum),
            ])
          } finally {
            await client.end()
          }
        },
      }
    },
  },
  file: {
    shared: false,
    async open() {
      // Not on the disk of the runner, which may be full.
      const path = join(tempDir(), 'in.jsonl')
      writeFileSync(path, '')
      return {
        yaml: `file: { path: ${path}, follow: true }`,
        write: async records => appendFileSync(path, `${json(records).join('\n')}\n`),
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
  kafka_cluster: clusterSink(3),
  kafka_lone: clusterSink(1),
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
  ...RECEIVERS,
} satisfies Record<string, Sink>

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
const plain = ({ id, key, n, sum }: Record<string, unknown>): Numbered => ({ id, key, n, sum }) as Numbered
const WRONG = 'wrong'

/** A new one for each open pair: it remembers what it has written. */
const MIDDLES = {
  /** Each record is written again with the next piece, and one old one with it: none may come through twice. */
  dedupe(): Middle {
    const before: Numbered[] = []
    return {
      transforms: '  - dedupe: { key: id, ttl: 1h }',
      wrap(records) {
        const again = before.slice(-records.length)
        if (before.length > 0) again.push(before[Math.floor(before.length / 2)])
        before.push(...records)
        return [...again, ...records].map(record => ({ key: record.key, value: record }))
      },
      unwrap: output => [plain(output)],
    }
  },
  /** Each record is in one window. */
  window(): Middle {
    return {
      source: 'keyed_by: record.key',
      transforms:
        '  - window: { size: 1s, by: record.key, allowed_lateness: 10s, idle_timeout: 1s, aggregates: { records: { collect: record } } }',
      wrap: records => records.map(record => ({ key: record.key, value: { record } })),
      unwrap: ({ records }) => (Array.isArray(records) ? records.map(plain) : []),
    }
  },
  /** A table record per key comes first, and a new version of it with every tenth piece. Each record has to meet the version before it. */
  join_latest(): Middle {
    const versions = new Map<number, number>()
    let pieces = 0
    let version = 0
    return {
      transforms: '  - join_latest: { table: "table == true", key: key, as: joined }',
      wrap(records) {
        const table: Written[] = []
        if (pieces++ % 10 === 0) {
          version++
          for (let i = 0; i < KEYS; i++) table.push({ key: `k${i}`, value: { table: true, key: `k${i}`, version } })
        }
        for (const { id } of records) versions.set(id, version)
        return [...table, ...records.map(record => ({ key: record.key, value: { ...record, table: false } }))]
      },
      unwrap(output) {
        const { joined } = output
        const record = plain(output)
        const met = isRecord(joined) && joined.key === record.key && joined.version === versions.get(record.id)
        return [met ? record : { ...record, sum: WRONG }]
      },
    }
  },
}

export interface OpenPair {
  readonly yaml: string
  readonly env: Record<string, string | undefined>
  write(records: readonly Numbered[]): Promise<void>
  read(): Promise<Seen[]>
  fed(): Promise<string[]>
  /** Records that the promise of the pair leaves out, of those that are missing. */
  missed(made: readonly Numbered[], seen: readonly Seen[]): Set<number>
  /** The process reads what is written. */
  readonly attach: ((runner: Runner) => void) | undefined
  close(): Promise<void>
}

export class Pair {
  readonly source: keyof typeof SOURCES
  readonly sink: keyof typeof SINKS
  readonly delivery: Delivery
  /** The step between them. */
  readonly middle: keyof typeof MIDDLES | undefined

  constructor(source: keyof typeof SOURCES, sink: keyof typeof SINKS, delivery: Delivery, middle?: keyof typeof MIDDLES) {
    this.source = source
    this.sink = sink
    this.delivery = delivery
    this.middle = middle
  }

  get name(): string {
    if (this.lone) return 'kafka → kafka, 3 brokers, 1 replica'
    if (this.cluster) return 'kafka → kafka, 3 brokers'
    if (this.middle) return `${this.source} → ${this.middle} → ${this.sink}`
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
    return [...new Set([this.from.peer, this.to.peer, this.to.also].filter(name => name !== undefined))]
  }

  /** While this one is away, nothing can be fed. */
  get fedBy(): PeerName | undefined {
    return this.from.goesOn === true ? undefined : this.from.peer
  }

  /** On three brokers. */
  get cluster(): boolean {
    return this.source === 'kafka_cluster' || this.lone
  }

  /** On three brokers, each partition of the input and the output on one of them only. */
  get lone(): boolean {
    return this.source === 'kafka_lone'
  }

  /** A broker of a release line is part of it. */
  get onKafka(): boolean {
    return this.cluster || this.peers.includes('kafka')
  }

  get shared(): boolean {
    return this.from.shared && this.sink !== 'file' && this.to.single !== true
  }

  /** Records in each piece of the feed: the http sink sends them one by one. */
  get rate(): number {
    return this.sink === 'http' ? 2 : (this.to.rate ?? 10)
  }

  /** A second write of the same record leaves no trace in the sink. */
  get upserts(): boolean {
    return this.to.upserts === true
  }

  get latest(): boolean {
    return this.to.latest === true
  }

  /** @param missed the promise of the pair leaves these out */
  judge(made: readonly Numbered[], seen: readonly Seen[], fed: readonly string[], missed: ReadonlySet<number>): Verdict {
    if (this.latest) return judgeLatest(made, seen)
    const verdict = judgeLog(made, seen, copies(fed))
    return { ...verdict, lost: verdict.lost - missed.size, missed: missed.size }
  }

  async open(peers: Peers, cwd: string): Promise<OpenPair> {
    const place: Place = { peers, cwd, name: unique('f'), backends: new Map() }
    const source: OpenSource = await this.from.open(place)
    const sink: OpenSink = await this.to.open(place)
    const middle = this.middle && MIDDLES[this.middle]()
    const yaml = [
      `name: ${place.name}`,
      'sources:',
      `  - ${source.yaml}`,
      ...(middle?.source ? [`    ${middle.source}`] : []),
      ...(middle || source.steps ? ['transforms:'] : []),
      ...(source.steps ? [source.steps] : []),
      ...(middle ? [middle.transforms] : []),
      'sinks:',
      `  - ${sink.yaml}`,
      `delivery: ${this.delivery === EO ? EO : ALO}`,
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
      // A feed repeats nothing: its records go through the step as they are.
      write: records => (middle && source.put ? source.put(middle.wrap(records)) : source.write(records)),
      async read() {
        const seen = await sink.read()
        if (!middle) return seen
        return seen.flatMap(({ text, key }) =>
          middle.unwrap(JSON.parse(text) as Record<string, unknown>).map(record => ({ text: JSON.stringify(record), key })),
        )
      },
      // Behind a step with state a copy in the source is not one that the sink may have.
      fed: async () => (middle ? [] : ((await source.fed?.()) ?? [])),
      missed: (made, seen) => new Set([...(source.missed?.(made, seen) ?? []), ...(sink.missed?.(made, seen) ?? [])]),
      attach: source.attach && (runner => source.attach!(runner)),
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
const AMO = 'at_most_once'
export const PAIRS: readonly Pair[] = [
  new Pair('kafka', 'kafka', EO),
  new Pair('kafka_cluster', 'kafka_cluster', EO),
  new Pair('kafka_lone', 'kafka_lone', EO),
  new Pair('kafka', 'kafka', EO, 'dedupe'),
  new Pair('kafka', 'kafka', EO, 'window'),
  new Pair('kafka', 'kafka', EO, 'join_latest'),
  new Pair('kafka', 'postgres', EO),
  new Pair('postgres_outbox', 'kafka', EO),
  new Pair('embedded', 'embedded', EO),
  new Pair('file', 'postgres', EO),
  new Pair('kafka', 'kafka', ALO),
  new Pair('kafka_cluster', 'kafka_cluster', ALO),
  new Pair('kafka_lone', 'kafka_lone', ALO),
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
  new Pair('postgres', 'postgres', EO),
  new Pair('postgres', 'kafka', ALO),
  new Pair('kafka', 'google_sheets', ALO),
  new Pair('websocket', 'kafka', AMO),
  new Pair('websocket', 'kafka', AMO, 'dedupe'),
  new Pair('redis_pubsub', 'kafka', AMO),
  new Pair('stdin', 'kafka', AMO),
  new Pair('kafka', 'websocket_server', AMO),
]
