/** Resolves the database of a config, and keeps one shared driver per database in this process. */
import { type ConfigProblem, EnvironmentError, type Logger } from '../../contract/plugin.ts'
import { credentialsMistake } from '../text/secrets.ts'
import { suggest } from '../text/suggest.ts'
import { inStateDir } from '../state-dir.ts'
import { type DriverHandle, shareDrivers } from '../share-drivers.ts'
import tlsKeys from '../keys/tls.schema.json' with { type: 'json' }
import { validateTlsFiles, readTlsFiles } from '../keys/tls.ts'
import { withKeys } from '../keys/with-keys.ts'
import connection from './connection.schema.json' with { type: 'json' }
import type { Driver } from './driver.ts'

/** Keys of all plugins on PostgreSQL; `tls_mode` determines what is verified. */
export const connectionKeys = withKeys(connection, tlsKeys, ['tls_ca', 'tls_cert', 'tls_key', 'tls_key_password'])

/** Shared by all plugins on PostgreSQL; durations in ms, 0: no limit. */
export interface ConnectionConfig {
  readonly dsn: string
  readonly tls_mode: 'disable' | 'require' | 'verify-ca' | 'verify-full' | ''
  readonly tls_ca: string
  readonly tls_cert: string
  readonly tls_key: string
  readonly tls_key_password: string
  readonly application_name: string
  readonly pool_size: number
  readonly statement_timeout: number
  readonly lock_timeout: number
  readonly idle_in_transaction_timeout: number
}

/** For commands: the settings of the environment, as the schema of a pipeline would insert them. */
export const connectionFor = (dsn = process.env.PG_DSN_RW || 'pglite:', env = process.env): ConnectionConfig => ({
  dsn,
  tls_mode: (env.PG_SSL_MODE ?? '') as ConnectionConfig['tls_mode'],
  tls_ca: env.PG_SSL_CA ?? '',
  tls_cert: env.PG_SSL_CERT ?? '',
  tls_key: env.PG_SSL_KEY ?? '',
  tls_key_password: env.PG_SSL_KEY_PASSWORD ?? '',
  application_name: env.PG_APPLICATION_NAME || 'pipeline-runner',
  pool_size: 2,
  // A migration may take long.
  statement_timeout: 0,
  lock_timeout: 30_000,
  idle_in_transaction_timeout: 0,
})

export const isEmbedded = (dsn: string): boolean => dsn.startsWith('pglite:')
const embeddedPath = (dsn: string): string => dsn.slice('pglite:'.length) || inStateDir('pglite')

/** Equal for all uses of the same database with the same user; without the password. */
export function scopeOf({ dsn }: Pick<ConnectionConfig, 'dsn'>): string {
  if (isEmbedded(dsn)) return `pglite:${embeddedPath(dsn)}`
  const address = parse(dsn)
  return `postgres:${address?.shown ?? 'unknown'}`
}

/** Checks of the connection settings that the schema cannot express. */
export function validateConnection(c: ConnectionConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const mistake = dsnMistake(c.dsn)
  if (mistake !== undefined) problems.push({ path: ['dsn'], message: mistake })
  const tls = tlsMistake(c)
  if (tls !== undefined) problems.push({ path: ['dsn'], message: tls })
  return [...problems, ...validateTlsFiles(c)]
}

export type PostgresHandle = DriverHandle<Driver>
const share = shareDrivers<Driver>()

/**
 * @throws {EnvironmentError} for wrong credentials, TLS settings, a missing database or one that another process has open,
 * {ConnectionError} when the server does not answer now.
 */
export function connect(config: ConnectionConfig, log: Logger): Promise<PostgresHandle> {
  const key = isEmbedded(config.dsn) ? scopeOf(config) : JSON.stringify(settings(config))
  return share(key, () => open(config, log))
}

const settings = (c: ConnectionConfig): unknown[] => [
  c.dsn,
  c.tls_mode,
  c.tls_ca,
  c.tls_cert,
  c.tls_key,
  c.tls_key_password,
  c.application_name,
  c.pool_size,
  c.statement_timeout,
  c.lock_timeout,
  c.idle_in_transaction_timeout,
]

async function open(config: ConnectionConfig, log: Logger): Promise<Driver> {
  if (isEmbedded(config.dsn)) {
    const { openPglite } = await import('./pglite/driver.ts')
    return openPglite(embeddedPath(config.dsn))
  }
  const { openServer } = await import('./server/driver.ts')
  const mistake = dsnMistake(config.dsn)
  if (mistake !== undefined) throw new EnvironmentError(`the DSN ${mistake}`)
  const address = parse(config.dsn)!
  const tls = tlsMistake(config)
  if (tls !== undefined) throw new EnvironmentError(`the connection to ${address.shown} ${tls}`)
  return openServer(
    {
      dsn: address.dsn,
      place: address.shown,
      options: address.options,
      ssl: tlsOptions(config, config.tls_mode || address.sslMode),
      applicationName: config.application_name,
      poolSize: config.pool_size,
      statementTimeout: config.statement_timeout,
      lockTimeout: config.lock_timeout,
      idleInTransactionTimeout: config.idle_in_transaction_timeout,
    },
    log,
  )
}

interface Address {
  /** Without the settings that are passed to the client separately: TLS and options. */
  readonly dsn: string
  /** `user@host:port/database`: for messages and scopes. */
  readonly shown: string
  readonly options: string
  readonly sslMode: string
}

function dsnMistake(dsn: string): string | undefined {
  if (isEmbedded(dsn)) return undefined
  const mistake = credentialsMistake(dsn)
  if (mistake !== undefined) return mistake
  return parse(dsn) ? undefined : 'must be a PostgreSQL address: write postgres://user:password@host:5432/database, or pglite:'
}

function parse(dsn: string): Address | undefined {
  if (!/^postgres(ql)?:\/\//.test(dsn) || !URL.canParse(dsn)) return undefined
  const url = new URL(dsn)
  const options = url.searchParams.get('options') ?? ''
  const sslMode = url.searchParams.get('sslmode') ?? ''
  for (const name of ['options', 'sslmode', 'ssl', 'uselibpqcompat', 'channel_binding']) url.searchParams.delete(name)
  const host = url.hostname || url.searchParams.get('host') || 'localhost'
  const user = url.username === '' ? '' : `${decodeURIComponent(url.username)}@`
  const shown = `${user}${host}:${url.port || '5432'}${decodeURIComponent(url.pathname) || '/'}${options === '' ? '' : ` ${options}`}`
  return { dsn: url.href, shown, options, sslMode }
}

/** The modes of libpq, without `allow` and `prefer`: plain text only if the file asks for it. */
const SSL_MODES = ['verify-full', 'verify-ca', 'require', 'disable']

/** A setting that requests TLS must never result in a plain connection. */
function tlsMistake({ dsn, tls_mode }: ConnectionConfig): string | undefined {
  if (isEmbedded(dsn) || !URL.canParse(dsn)) return undefined
  const { searchParams } = new URL(dsn)
  for (const mode of [tls_mode, searchParams.get('sslmode') ?? '']) {
    if (mode === '' || SSL_MODES.includes(mode)) continue
    if (mode === 'prefer' || mode === 'allow') {
      // The setting of the file applies then.
      if (tls_mode !== '') continue
      return `has sslmode=${mode}, which may send passwords and data in plain text; write sslmode=verify-full (with tls_ca, if the CA is your own), or sslmode=disable for plain text`
    }
    const near = suggest(mode, SSL_MODES)
    return `has sslmode=${mode}, but the modes are ${SSL_MODES.join(', ')}${near === undefined ? '' : `; did you mean ${near}?`}`
  }
  const ssl = searchParams.get('ssl') ?? 'false'
  if (!['false', '0'].includes(ssl))
    return `has ssl=${ssl}; write sslmode=require, or sslmode=verify-full, which also checks the identity of the server`
  return undefined
}

/** As libpq: `require` encrypts but trusts any server, unless a CA is set. */
function tlsOptions(c: ConnectionConfig, mode: string): object | false {
  if (mode === '' ? c.tls_ca === '' : !['require', 'verify-ca', 'verify-full'].includes(mode)) return false
  return {
    ...readTlsFiles(c),
    rejectUnauthorized: mode !== 'require' || c.tls_ca !== '',
    ...(mode === 'verify-full' || mode === '' ? {} : { checkServerIdentity: () => undefined }),
  }
}
