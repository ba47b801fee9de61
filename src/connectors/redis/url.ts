/** Parses the URL of a Redis. */
import type { ConfigProblem } from '../../contract/plugin.ts'
import type { RedisSourceConfig } from '../../generated/config-types.ts'
import tlsKeys from '../../kit/keys/tls.schema.json' with { type: 'json' }
import { validateTlsFiles } from '../../kit/keys/tls.ts'
import { type TlsAdvice, TLS_KEYS } from '../../kit/tls-failure.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import { credentialsMistake } from '../../kit/text/secrets.ts'
import { inStateDir } from '../../kit/state-dir.ts'
import connection from './connection.schema.json' with { type: 'json' }

/** The settings that source and sink share. */
export const connectionKeys = withKeys(connection, tlsKeys)
export type ConnectionConfig = Pick<RedisSourceConfig, keyof typeof connectionKeys.properties>

export const TLS_ADVICE: TlsAdvice = { ...TLS_KEYS, host: 'url', plain: 'write redis:// in url', tls: 'write rediss:// in url' }

export interface Target {
  readonly kind: 'embedded' | 'single' | 'sentinel' | 'cluster'
  /** Of the embedded file. */
  readonly path: string
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  readonly tls: boolean
  readonly username: string
  readonly password: string
  readonly db: number
  /** Of the master that the sentinels monitor. */
  readonly master: string
}

const SCHEME = /^(rediss?)(\+sentinel|\+cluster)?:\/\//
const NONE = { path: '', hosts: [], tls: false, username: '', password: '', db: 0, master: '' }

/** @throws {Error} with the problem of the URL */
export function parseUrl(url: string): Target {
  if (/^embedded(:|$)/.test(url)) return { ...NONE, kind: 'embedded', path: url.slice('embedded:'.length) || inStateDir('redis.db') }
  const scheme = SCHEME.exec(url)
  if (scheme === null)
    throw new Error('must start with redis://, rediss://, redis+sentinel:// or redis+cluster://, or be the word embedded')
  const mistake = credentialsMistake(url)
  if (mistake !== undefined) throw new Error(mistake)
  const [rest] = url.slice(scheme[0].length).split('?')
  const slash = rest.indexOf('/')
  const authority = slash === -1 ? rest : rest.slice(0, slash)
  const path =
    slash === -1
      ? []
      : rest
          .slice(slash + 1)
          .split('/')
          .filter(p => p !== '')
  const at = authority.lastIndexOf('@')
  const [username, ...password] = at === -1 ? [''] : authority.slice(0, at).split(':')
  const kind = scheme[2] === '+sentinel' ? 'sentinel' : scheme[2] === '+cluster' ? 'cluster' : 'single'
  const hosts = authority
    .slice(at + 1)
    .split(',')
    .filter(h => h !== '')
    .map(h => hostOf(h, kind === 'sentinel' ? 26_379 : 6379))
  if (hosts.length === 0) throw new Error('must contain a host, for example redis://localhost:6379')
  if (kind === 'single' && hosts.length > 1)
    throw new Error('must contain one host only; for several hosts use redis+sentinel:// or redis+cluster://')
  const master = kind === 'sentinel' ? path.shift() : ''
  if (master === undefined) throw new Error('must contain the name of the master, for example redis+sentinel://host:26379/mymaster/0')
  if (path.length > 1 || !/^\d{0,5}$/.test(path[0] ?? ''))
    throw new Error('must end with the host, or with the number of a database: redis://localhost:6379/0')
  if (kind === 'cluster' && path.length > 0) throw new Error('must not contain a database number, because a cluster has only one database')
  return {
    kind,
    path: '',
    hosts,
    tls: scheme[1] === 'rediss',
    username: decodeURIComponent(username),
    password: decodeURIComponent(password.join(':')),
    db: Number(path[0] ?? 0),
    master,
  }
}

function hostOf(text: string, standard: number): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+))(?::(\d{1,5}))?$/.exec(text)
  const port = Number(match?.[3] ?? standard)
  if (match === null || port < 1 || port > 65_535) throw new Error('must contain host:port, with a port from 1 to 65535')
  return { host: match[1] ?? match[2], port }
}

/** Without secrets, for messages and scopes. */
export function nameOf(target: Target): string {
  if (target.kind === 'embedded') return `embedded:${target.path}`
  const hosts = target.hosts
    .map(h => `${h.host}:${h.port}`)
    .toSorted()
    .join(',')
  return `redis:${hosts}${target.master && `/${target.master}`}/${target.db}`
}

export const scopeOf = (config: Pick<ConnectionConfig, 'url'>): string => nameOf(parseUrl(config.url))

/** Checks of the connection settings that the schema cannot express. */
export function validateConnection(c: ConnectionConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  let target: Target | undefined
  try {
    target = parseUrl(c.url)
  } catch (error) {
    const suggestion = /^[\w.-]+(:\d+)?$/.test(c.url) ? `redis://${c.url}` : undefined
    problems.push({ path: ['url'], message: (error as Error).message, suggestion })
  }
  problems.push(...validateTlsFiles(c))
  if (target !== undefined && target.kind !== 'embedded' && !target.tls && (c.tls_ca !== '' || c.tls_cert !== ''))
    problems.push({ path: ['url'], message: 'must start with rediss:// because TLS settings are given' })
  return problems
}
