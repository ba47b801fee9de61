/** Settings of connections that several components share. Passwords are not copied: they belong into variables. */
import { type Draft, variablesIn } from './draft.ts'
import type { Note, Part } from './foreign.ts'

export type Config = Record<string, unknown>

/** Without keys that have no value. */
export const given = (config: Config): Config =>
  Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0)))

/** A literal becomes the default of the variable that the runner reads, so that another environment needs no change of the file. */
export function setting(value: string | undefined, variable: string, draft: Draft): string | undefined {
  if (value === undefined || value === '') return undefined
  return /\$\{/.test(value) ? (variablesIn(value, draft) as string) : `\${${variable}:-${value}}`
}

/** A password: kept as a variable of the old file, or named by the variable that the runner reads anyway. */
export function secret(part: Part, key: string, variable: string, draft: Draft): string | undefined {
  const value = part.text(key)
  if (value === undefined || value === '') return undefined
  if (/^\$\{\w+\}$/.test(value)) return variablesIn(value, draft) as string
  draft.variables.add(variable)
  return `\${${variable}}`
}

/** A password or token that is written in an address, a DSN or a message. One from a variable without a default is none. */
export function hasSecret(text: string): boolean {
  const bare = text.replaceAll(/\$\{\w+\}/g, '')
  return /\/\/[^/@\s]*:[^@\s]+@/.test(bare) || /(?:^|[?&;\s])[\w-]*(?:pass|pwd|secret|token|key|auth|sig)[\w-]*=[^&;\s]/i.test(bare)
}

/** Without a password in it. */
export function address(value: string | undefined, variable: string, draft: Draft): string | undefined {
  if (value === undefined) return undefined
  if (!hasSecret(value)) return setting(value, variable, draft)
  draft.variables.add(variable)
  return `\${${variable}}`
}

const DURATION = /^(\d+)(ms|s|m|h|d)$/

/** A duration with one unit; others, such as 1m30s, in seconds. */
export function duration(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  if (DURATION.test(value)) return value
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
  const parts = [...value.matchAll(/(\d+)(ms|s|m|h)/g)]
  if (parts.length === 0 || parts.map(([all]) => all).join('') !== value) return undefined
  const ms = parts.reduce((sum, [, n, unit]) => sum + Number(n) * units[unit], 0)
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`
}

const MECHANISMS: Readonly<Record<string, string>> = {
  PLAIN: 'PLAIN',
  'SCRAM-SHA-256': 'SCRAM-SHA-256',
  'SCRAM-SHA-512': 'SCRAM-SHA-512',
  OAUTHBEARER: 'OAUTHBEARER',
  AWS_MSK_IAM: 'AWS_MSK_IAM',
}

const TLS_FILES = 'has no translation: see tls_ca, tls_cert and tls_key'
const UNLIKE_TLS = Object.fromEntries(
  ['root_cas_file', 'client_certs', 'ca_file', 'crt_file', 'key_file', 'key_pass'].map(key => [key, TLS_FILES]),
)

/** @param sasl where the login is */
export function kafkaSecurity(
  settings: Part,
  sasl: Part | undefined,
  keys: { mechanism: string; user: string; password: string },
  draft: Draft,
  notes: Note[],
): Config {
  const tls = settings.take('enabled') === true
  if (tls) notes.push(...settings.rest(UNLIKE_TLS))
  const named = sasl?.text(keys.mechanism)?.toUpperCase()
  const mechanism = named === undefined || named === 'NONE' ? undefined : MECHANISMS[named]
  const user = sasl?.text(keys.user)
  const password = mechanism && sasl && secret(sasl, keys.password, 'KAFKA_SASL_PASSWORD', draft)
  if (sasl && named !== undefined && named !== 'NONE' && !mechanism)
    notes.push({
      line: sasl.lineOf(keys.mechanism),
      what: `${keys.mechanism}: ${named}`,
      reason: 'has no translation: the connection has no login',
    })
  else if (sasl && mechanism) notes.push(...sasl.rest())
  return given({
    security_protocol: mechanism ? (tls ? 'SASL_SSL' : 'SASL_PLAINTEXT') : tls ? 'SSL' : undefined,
    sasl_mechanism: mechanism,
    sasl_username: mechanism ? setting(user, 'KAFKA_SASL_USERNAME', draft) : undefined,
    sasl_password: password,
  })
}
