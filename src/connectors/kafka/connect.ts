/** Resolves the log of a config, and keeps one shared driver per log in this process. */
import {
  type ConfigProblem,
  type Checkpoint,
  type CheckpointDelta,
  type Context,
  type LaneInfo,
  type Logger,
  type Position,
  type StoredLane,
  type Transaction,
  type Transactor,
} from '../../contract/plugin.ts'
import type { KafkaSourceConfig } from '../../generated/config-types.ts'
import { type DriverHandle, shareDrivers } from '../../kit/share-drivers.ts'
import { fetchMistake } from '../../kit/http/url.ts'
import tlsKeys from '../../kit/keys/tls.schema.json' with { type: 'json' }
import { validateTlsFiles, readTlsFiles } from '../../kit/keys/tls.ts'
import { stateOwner } from '../../kit/state-owner.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import type { Driver, ProducerOptions } from './driver.ts'
import type { ClusterOptions } from './client/connections.ts'
import { inStateDir } from '../../kit/state-dir.ts'
import connection from './connection.schema.json' with { type: 'json' }

/** The settings that source and sink share. */
export const connectionKeys = withKeys(connection, tlsKeys)
export type ConnectionConfig = Pick<KafkaSourceConfig, keyof typeof connectionKeys.properties>

export const isEmbedded = (brokers: string): boolean => /^embedded(:|$)/.test(brokers)
export const embeddedPath = (brokers: string): string => brokers.slice('embedded:'.length) || inStateDir('log.db')
const addresses = (brokers: string): string[] =>
  brokers
    .split(',')
    .map(b => b.trim())
    .filter(b => b !== '')
    .sort()

/** Equal for a source and a sink on the same log. */
export const scopeOf = ({ brokers }: Pick<ConnectionConfig, 'brokers'>): string =>
  isEmbedded(brokers) ? `embedded:${embeddedPath(brokers)}` : `kafka:${addresses(brokers).join(',')}`

/** As set, or as in the names of Amazon's brokers; an empty text: unknown. */
export const awsRegion = (c: Pick<ConnectionConfig, 'brokers' | 'sasl_aws_region'>): string =>
  c.sasl_aws_region || (/\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com/.exec(c.brokers)?.[1] ?? '')

/** Checks of the connection settings that the schema cannot express. */
export function validateConnection(c: ConnectionConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const add = (property: string, message: string, suggestion?: string): void =>
    void problems.push({ path: [property], message, suggestion })
  if (isEmbedded(c.brokers)) return problems
  if (addresses(c.brokers).length === 0) add('brokers', 'must contain a broker address, for example localhost:9092')
  for (const address of addresses(c.brokers)) {
    const port = Number(address.slice(address.lastIndexOf(':') + 1))
    const valid = /^(\[[0-9a-fA-F:.]+\]|[^\s:/]+):[0-9]{1,5}$/.test(address) && port > 0 && port < 65536
    if (!valid)
      add(
        'brokers',
        `"${address}" is not a broker address; write host:port, several separated by commas, or embedded`,
        /^[\w.-]+$/.test(address) ? `${address}:9092` : undefined,
      )
  }
  if (c.security_protocol.startsWith('SASL')) {
    if (c.sasl_mechanism === 'AWS_MSK_IAM') {
      if (c.security_protocol !== 'SASL_SSL')
        add('security_protocol', 'must be SASL_SSL: Amazon MSK accepts IAM logins over TLS only', 'SASL_SSL')
      if (awsRegion(c) === '')
        add('sasl_aws_region', 'must be set for AWS_MSK_IAM: the broker addresses do not contain the region, for example eu-west-1')
      if ((c.sasl_username === '') !== (c.sasl_password === ''))
        add(
          c.sasl_username === '' ? 'sasl_username' : 'sasl_password',
          'set access key (sasl_username) and secret key (sasl_password), or neither',
        )
    } else if (c.sasl_mechanism !== 'OAUTHBEARER') {
      if (c.sasl_username === '') add('sasl_username', `must be set for ${c.sasl_mechanism}`)
      if (c.sasl_password === '') add('sasl_password', `must be set for ${c.sasl_mechanism}`)
    } else if (c.sasl_oauth_token === '' && c.sasl_oauth_token_url === '') {
      add('sasl_mechanism', 'OAUTHBEARER needs sasl_oauth_token or sasl_oauth_token_url')
    }
    const mistake = c.sasl_oauth_token_url === '' ? undefined : fetchMistake(c.sasl_oauth_token_url)
    if (mistake !== undefined)
      add('sasl_oauth_token_url', `${mistake}, for example https://auth.example.com/token; set sasl_username and sasl_password for a login`)
  }
  return [...problems, ...validateTlsFiles(c)]
}

export type KafkaHandle = DriverHandle<Driver>
const share = shareDrivers<Driver>()

/**
 * @throws {EnvironmentError} for wrong credentials, TLS settings or a file that cannot be opened,
 * {ConnectionError} when no broker answers now.
 */
export function connect(config: ConnectionConfig, log: Logger): Promise<KafkaHandle> {
  const key = JSON.stringify([scopeOf(config), isEmbedded(config.brokers) ? null : settings(config)])
  return share(key, () => open(config, log))
}

/** Everything except the brokers, which the scope lists in one order. */
const settings = (c: ConnectionConfig): unknown[] =>
  Object.keys(connectionKeys.properties).map(key => key !== 'brokers' && c[key as keyof ConnectionConfig])

async function open(config: ConnectionConfig, log: Logger): Promise<Driver> {
  if (isEmbedded(config.brokers)) {
    const { embeddedDriver } = await import('./embedded/driver.ts')
    return embeddedDriver({ path: embeddedPath(config.brokers) })
  }
  const { KafkaDriver } = await import('./client/driver.ts')
  const driver = new KafkaDriver(scopeOf(config), await clusterOptions(config, log))
  try {
    await driver.connect()
  } catch (error) {
    await driver.close()
    throw error
  }
  return driver
}

/** @throws {EnvironmentError} for a file that cannot be read. */
export async function clusterOptions(config: ConnectionConfig, log: Logger): Promise<ClusterOptions> {
  const { saslOptions } = await import('./client/sasl.ts')
  return {
    brokers: addresses(config.brokers),
    clientId: config.client_id,
    ssl: config.security_protocol.endsWith('SSL')
      ? { ...readTlsFiles(config), rejectUnauthorized: !config.tls_insecure_skip_verify }
      : undefined,
    sasl: config.security_protocol.startsWith('SASL') ? saslOptions(config) : undefined,
    log,
  }
}

/** How checkpoints are compressed; outputs use the compression of their sink. */
const CHECKPOINTS: ProducerOptions = { compression: 'zstd', lingerMs: 0, batchSize: 131_072, idempotent: true, acks: -1 }

/**
 * Connects on the first claim, because `create` of a plugin may not connect. Of a `foreign` lane, which belongs to another system, this log
 * has only the id.
 */
export class OnDemandTransactor implements Transactor {
  private readonly config: ConnectionConfig
  private readonly context: Context
  private readonly foreign: boolean
  private readonly id: string
  private opening: Promise<KafkaHandle> | undefined
  /** By owner: sources of several groups may share one log. */
  private readonly transactors = new Map<string, Transactor>()

  constructor(config: ConnectionConfig, context: Context, foreign = false) {
    this.config = config
    this.foreign = foreign
    this.context = context
    this.id = `${context.pipeline}.${context.version}`
  }

  private own(lane: LaneInfo): LaneInfo {
    return this.foreign ? { id: lane.id, source: lane.source } : lane
  }

  async claim(lane: LaneInfo): Promise<Checkpoint | undefined> {
    return (await this.of(lane)).claim(this.own(lane))
  }
  async begin(lane: LaneInfo): Promise<Transaction> {
    return (await this.of(lane)).begin(this.own(lane))
  }
  async save(lane: LaneInfo, delta: CheckpointDelta): Promise<void> {
    return (await this.of(lane)).save(this.own(lane), delta)
  }
  async release(lane: LaneInfo): Promise<void> {
    if (this.opening !== undefined) await (await this.of(lane)).release(this.own(lane))
  }
  async peek(lane: LaneInfo): Promise<Checkpoint | undefined> {
    return (await this.of(lane)).peek?.(this.own(lane))
  }
  healthy(): boolean | string {
    for (const transactor of this.transactors.values()) {
      const health = transactor.healthy?.() ?? true
      if (health !== true) return health
    }
    return true
  }
  async close(): Promise<void> {
    const { opening } = this
    this.opening = undefined
    if (opening === undefined) return
    const handle = await opening
    for (const transactor of this.transactors.values()) await transactor.close()
    this.transactors.clear()
    await handle.release()
  }

  async former(lane: LaneInfo, at: Position): Promise<{ position?: Position; checkpoint?: Checkpoint }> {
    if (stateOwner(this.id, lane.group) === this.id) return {}
    const transactor = await this.of({ ...lane, group: undefined })
    const mine = this.own(lane)
    const position = (await transactor.peek?.(mine))?.position
    if (position !== at) return { position }
    const checkpoint = await transactor.claim(mine)
    await transactor.release(mine)
    // A member that wrote between the read and the claim was alive: then the state that was read is outdated.
    return checkpoint?.position === at ? { position, checkpoint } : { position: checkpoint?.position }
  }

  async list(): Promise<StoredLane[]> {
    return (await (await this.of({ id: '', source: '' })).list?.()) ?? []
  }
  async remove(owner: string): Promise<void> {
    await (await this.of({ id: '', source: '' })).remove?.(owner)
  }

  private async of(lane: LaneInfo): Promise<Transactor> {
    if (this.opening === undefined) {
      this.opening = connect(this.config, this.context.log)
      this.opening.catch(() => {
        this.opening = undefined
      })
    }
    const handle = await this.opening
    const id = stateOwner(this.id, lane.group)
    let transactor = this.transactors.get(id)
    if (transactor === undefined) this.transactors.set(id, (transactor = handle.driver.transactor({ id, producer: CHECKPOINTS })))
    return transactor
  }
}
