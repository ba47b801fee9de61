/** Which Redis a URL means. */
import type { ConfigProblem } from '../../contract/plugin.ts'
import type { RedisSourceConfig } from '../../generated/config-types.ts'
import tlsKeys from '../../kit/keys/tls.schema.json' with { type: 'json' }
import { validateTlsFiles } from '../../kit/keys/tls.ts'
import { type TlsAdvice, TLS_KEYS } from '../../kit/tls-failure.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import { inStateDir } from '../../kit/state-dir.ts'
import connection from './connection.schema.json' with { type: 'json' }

/** What source and sink have in common. */
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
  /** Of the master that the sentinels watch. */
  readonly master: string
}

const SCHEME = /^(rediss?)(\+sentinel|\+cluster)?:\/\//
const NONE = { path: '', hosts: [], tls: false, username: '', password: '', db: 0, master: '' }

/** @throws {Error} with what is wrong about it */
export function parseUrl(url: string): Target {
  if (/^embedded(:|$)/.test(url)) return { ...NONE, kind: 'embedded', path: url.slice('embedded:'.length) || inStateDir('redis.db') }
  const scheme = SCHEME.exec(url)
  if (scheme === null) throw new Error('starts with redis://, rediss://, redis+sentinel:// or redis+cluster://, or is the word embedded')
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
  if (hosts.length === 0) throw new Error('names no host')
  if (kind === 'single' && hosts.length > 1) throw new Error('names several hosts; redis+sentinel:// and redis+cluster:// do')
  const master = kind === 'sentinel' ? path.shift() : ''
  if (master === undefined) throw new Error("needs the master's name: redis+sentinel://host:26379/mymaster/0")
  if (path.length > 1 || !/^\d{0,5}$/.test(path[0] ?? ''))
    throw new Error(`has "/${path.join('/')}" where the number of a database may stand`)
  if (kind === 'cluster' && path.length > 0) throw new Error('names a database, and a cluster has only one')
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
  if (match === null || port < 1 || port > 65_535) throw new Error(`has "${text}" where host:port should stand`)
  return { host: match[1] ?? match[2], port }
}

/** Without secrets: for messages and scopes. */
export function nameOf(target: Target): string {
  if (target.kind === 'embedded') return `embedded:${target.path}`
  const hosts = target.hosts
    .map(h => `${h.host}:${h.port}`)
    .toSorted()
    .join(',')
  return `redis:${hosts}${target.master && `/${target.master}`}/${target.db}`
}

export const scopeOf = (config: Pick<ConnectionConfig, 'url'>): string => nameOf(parseUrl(config.url))

/** What the schema cannot say about the connection settings. */
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
    problems.push({ path: ['url'], message: 'has no TLS, and there are TLS settings; rediss:// has it' })
  return problems
}
