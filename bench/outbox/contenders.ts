/** Who publishes the outbox: the runner in both modes, and Debezium in Kafka Connect. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { KAFKA_VERSION } from '../../test/support/servers/java.ts'
import { freePorts } from '../../test/support/servers/ports.ts'
import { cache, root } from '../contenders/build.ts'
import type { Command } from '../lib/measure.ts'

export const DEBEZIUM_VERSION = '3.3.1.Final'

export interface PublisherRun {
  readonly brokers: string
  readonly dsn: string
  readonly topic: string
  /** Of its own, temporary. */
  readonly dir: string
}

export interface Publisher {
  readonly id: string
  readonly name: string
  readonly kind: 'ours' | 'peer'
  prepare?(): Promise<void>
  command(place: PublisherRun): Promise<Command>
}

const ours = (id: string, name: string, delivery: string, interval: string): Publisher => ({
  id,
  name,
  kind: 'ours',
  command: async place => ({
    argv: [
      process.execPath,
      join(root, 'bin/runner.js'),
      'run',
      join(root, 'bench/pipelines/outbox.yaml'),
      '--log-format',
      'json',
      '--set',
      `delivery=${delivery}`,
      '--set',
      `commit_interval=${interval}`,
    ],
    env: {
      KAFKA_BROKERS: place.brokers,
      PG_DSN_RW: place.dsn,
      OUTBOX_TOPIC: place.topic,
      KAFKA_COMPRESSION: 'none',
      KAFKA_METRICS_ENABLED: 'false',
      RUNNER_STATE_DIR: place.dir,
      NODE_ENV: 'production',
      // Young objects die young here: more room for them would only be more memory.
      NODE_OPTIONS: '--max-semi-space-size=8',
    },
  }),
})

const debezium: Publisher = {
  id: 'debezium',
  name: `Debezium ${DEBEZIUM_VERSION}, Connect standalone ${KAFKA_VERSION}, at least once`,
  kind: 'peer',
  prepare: jars,
  async command({ brokers, dsn, topic, dir }) {
    const { hostname, port, username, password, pathname } = new URL(dsn)
    const [rest] = await freePorts(1)
    const worker = properties({
      'bootstrap.servers': brokers,
      'key.converter': 'org.apache.kafka.connect.storage.StringConverter',
      'value.converter': 'org.apache.kafka.connect.storage.StringConverter',
      'offset.storage.file.filename': join(dir, 'offsets'),
      'offset.flush.interval.ms': 1000,
      listeners: `http://127.0.0.1:${rest}`,
      'plugin.discovery': 'only_scan',
    })
    const connector = properties({
      name: 'outbox',
      'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
      'database.hostname': hostname,
      'database.port': port,
      'database.user': username,
      'database.password': password,
      'database.dbname': pathname.slice(1),
      'topic.prefix': 'outbox',
      'table.include.list': 'public.outbox',
      'plugin.name': 'pgoutput',
      'snapshot.mode': 'no_data',
      'poll.interval.ms': 5,
      'tombstones.on.delete': 'false',
      'skipped.operations': 'u,d,t',
      transforms: 'outbox',
      'transforms.outbox.type': 'io.debezium.transforms.outbox.EventRouter',
      'transforms.outbox.table.field.event.id': 'id',
      'transforms.outbox.table.field.event.key': 'aggregate_id',
      'transforms.outbox.table.field.event.type': 'type',
      'transforms.outbox.table.field.event.payload': 'payload',
      'transforms.outbox.route.by.field': 'type',
      'transforms.outbox.route.topic.regex': '.*',
      'transforms.outbox.route.topic.replacement': topic,
    })
    writeFileSync(join(dir, 'worker.properties'), worker)
    writeFileSync(join(dir, 'connector.properties'), connector)
    writeFileSync(join(dir, 'simplelogger.properties'), 'org.slf4j.simpleLogger.defaultLogLevel=warn\n')
    // The JVM's own choice of collector and compiler: what Connect's start script would use.
    const jvm = ['-Xms256m', '-Xmx2g', '-XX:+UseG1GC', '-XX:MaxGCPauseMillis=20']
    return {
      argv: [
        'java',
        ...jvm,
        '-cp',
        `${dir}:${lib}/*`,
        'org.apache.kafka.connect.cli.ConnectStandalone',
        join(dir, 'worker.properties'),
        join(dir, 'connector.properties'),
      ],
    }
  },
}

export const publishers: Publisher[] = [
  ours('ours-alo', 'runner, at least once', 'at_least_once', '15ms'),
  ours('ours-eo', 'runner, exactly once', 'exactly_once', '20ms'),
  debezium,
]

const lib = join(cache, 'debezium', 'lib')
const properties = (of: Record<string, string | number>): string =>
  `${Object.entries(of)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n')}\n`

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>debezium-jars</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>io.debezium</groupId><artifactId>debezium-connector-postgres</artifactId><version>${DEBEZIUM_VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-json</artifactId><version>${KAFKA_VERSION}</version></dependency>
  </dependencies>
</project>
`

async function jars(): Promise<void> {
  if (existsSync(lib)) return
  const dir = join(cache, 'debezium')
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, 'pom.xml'), POM)
  const half = join(dir, 'half')
  rmSync(half, { recursive: true, force: true })
  execFileSync('mvn', ['-q', '-B', 'dependency:copy-dependencies', `-DoutputDirectory=${half}`], {
    cwd: dir,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  renameSync(half, lib)
}
