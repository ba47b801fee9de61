/** A Kafka broker of a test's own: started from jars on this machine, which tests can kill, freeze and restart. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { classArchive, kafkaJars, keepFile } from './java.ts'
import { freePorts } from './ports.ts'
import { ServerProcess } from './process.ts'
import { brokerReady } from './ready.ts'

export interface KafkaOptions {
  /** Port of the clients' listener; default: a free one. */
  port?: number
  /** The advertised port, if a proxy is in front of the broker; default: `port`. */
  advertisedPort?: number
  /** Kept when given; otherwise a temporary directory that goes with the broker. */
  dataDir?: string
  /** Broker settings over the defaults below. */
  properties?: Record<string, string | number>
  /** Release of Apache Kafka; default: what all tests run on. */
  version?: string
  /** Brokers of one cluster have the same; default: a cluster of its own. */
  clusterId?: string
  /** Folder with classes that the settings name. */
  classes?: string
  /** JVM flags; the default starts fast and stays small. */
  jvm?: readonly string[]
  say?: (line: string) => void
}

export interface KafkaServer {
  /** `127.0.0.1:PORT` as clients see it. */
  readonly brokers: string
  readonly port: number
  /** Of the running broker process; 0 while it is down. */
  readonly pid: number
  /** Ends it for good and removes its temporary data. */
  stop(): Promise<void>
  /** SIGKILL, as in a crash. The data is kept; `restart` starts it again. */
  kill(): Promise<void>
  /** Starts it again on the same port and data, after an orderly shutdown when it was still running. */
  restart(): Promise<void>
  /** SIGSTOP: the process exists but does not respond. */
  pause(): void
  resume(): void
}

const START_TIMEOUT = 90_000
const SMALL_JVM = ['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']

export async function startKafka(options: KafkaOptions = {}): Promise<KafkaServer> {
  const lib = await kafkaJars(options.say ?? (line => process.stderr.write(`${line}\n`)), options.version)
  // Another process may take a free port between our look and the broker's bind.
  for (let attempt = 1; ; attempt++) {
    const broker = new Broker(lib, options, await freePorts(2))
    try {
      await broker.format()
      await broker.start()
      return broker
    } catch (error) {
      await broker.stop()
      if (attempt === 3 || options.port !== undefined || !/already in use/.test((error as Error).message)) throw error
    }
  }
}

class Broker implements KafkaServer {
  readonly brokers: string
  readonly port: number
  private readonly lib: string
  private readonly jvm: readonly string[]
  private readonly classes: string | undefined
  private readonly dir: string
  private readonly clusterId: string
  private readonly nodeId: string | number
  private readonly temporary: boolean
  private readonly process: ServerProcess

  constructor(lib: string, options: KafkaOptions, [free, controller]: number[]) {
    this.lib = lib
    this.jvm = options.jvm ?? SMALL_JVM
    this.classes = options.classes
    this.port = options.port ?? free
    this.brokers = `127.0.0.1:${options.advertisedPort ?? this.port}`
    this.clusterId = options.clusterId ?? newId()
    this.nodeId = options.properties?.['node.id'] ?? 1
    this.temporary = options.dataDir === undefined
    if (options.dataDir !== undefined) mkdirSync(options.dataDir, { recursive: true })
    this.dir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'kafka-'))
    this.process = new ServerProcess({ name: 'Kafka', log: join(this.dir, 'broker.log'), dir: this.temporary ? this.dir : undefined })
    const settings = { ...defaults(this.port, controller, this.brokers, join(this.dir, 'data')), ...options.properties }
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}`)
    writeFileSync(this.settings, `${lines.join('\n')}\n`)
  }

  get pid(): number {
    return this.process.pid
  }

  private get settings(): string {
    return join(this.dir, 'server.properties')
  }

  /**
   * A directory from an earlier broker keeps its cluster id and data. Kafka's own command writes two files: which node of which
   * cluster this is, and the features of the release. The second is the same for every broker, so that one JVM makes it once.
   */
  async format(): Promise<void> {
    const data = join(this.dir, 'data')
    const meta = join(data, 'meta.properties')
    if (existsSync(meta)) return
    const features = join(data, 'bootstrap.checkpoint')
    const kept = `${this.lib}.features`
    if (existsSync(kept)) {
      mkdirSync(data, { recursive: true })
      copyFileSync(kept, features)
      const ids = [`node.id=${this.nodeId}`, `directory.id=${newId()}`, `cluster.id=${this.clusterId}`]
      writeFileSync(meta, ['version=1', ...ids, ''].join('\n'))
      return
    }
    const flags = [...SMALL_JVM, '-cp', `${this.lib}/*`]
    // Joined: an id may begin with a dash.
    await promisify(execFile)('java', [
      ...flags,
      'kafka.tools.StorageTool',
      'format',
      `--cluster-id=${this.clusterId}`,
      '-c',
      this.settings,
    ])
    await keepFile(kept, path => copyFileSync(features, path))
  }

  async start(): Promise<void> {
    const archive = classArchive(this.lib)
    const path = this.classes === undefined ? `${this.lib}/*` : `${this.lib}/*:${this.classes}`
    await this.process.start('java', [...this.jvm, ...archive.flags, '-cp', path, 'kafka.Kafka', this.settings])
    await brokerReady(this.port, START_TIMEOUT, () => this.process.ended)
    // The archive of all brokers has no other classes.
    if (this.classes === undefined) await archive.make(this.pid)
  }

  async stop(): Promise<void> {
    // Temporary data needs no orderly shutdown, kept data does.
    await this.process.end(this.temporary ? 'SIGKILL' : 'SIGTERM')
    if (this.temporary) rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 })
  }

  async kill(): Promise<void> {
    await this.process.end('SIGKILL')
  }

  async restart(): Promise<void> {
    await this.process.end('SIGTERM')
    await this.start()
  }

  pause(): void {
    this.process.signal('SIGSTOP')
  }

  resume(): void {
    this.process.signal('SIGCONT')
  }
}

const newId = (): string => randomBytes(16).toString('base64url')

function defaults(port: number, controller: number, advertised: string, data: string): Record<string, string | number> {
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
    'advertised.listeners': `PLAINTEXT://${advertised}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    'log.dirs': data,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 4,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 4,
    'group.initial.rebalance.delay.ms': 0,
    // 128 MB by default, which a start fills with zeros.
    'log.cleaner.dedupe.buffer.size': 2_097_152,
    // The controller rejects a killed broker until its old session has expired: 9 s by default.
    'broker.session.timeout.ms': 3000,
    'broker.heartbeat.interval.ms': 500,
    // Test records carry timestamps of any year: nothing may be cleaned up under a test.
    'log.retention.ms': -1,
    'log.message.timestamp.after.max.ms': '9223372036854775807',
  }
}
