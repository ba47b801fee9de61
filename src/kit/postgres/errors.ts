/** The meaning of PostgreSQL errors for the runner: one table, by SQLSTATE. */
import { ConnectionError, DataError, EnvironmentError, PipelineError } from '../../contract/plugin.ts'
import { type TlsAdvice, TLS_KEYS, tlsError, tlsFailure } from '../tls-failure.ts'
import { systemReason } from '../system-error.ts'

export const TLS_ADVICE: TlsAdvice = {
  ...TLS_KEYS,
  host: 'dsn',
  plain: 'set tls_mode: disable for plain text',
  tls: 'set tls_mode: verify-full',
}

type Kind = 'retry' | 'data' | 'environment'

/** The longest prefix wins. Entries that a retry does not fix contain a fix. */
const TABLE: readonly (readonly [prefix: string, kind: Kind, advice?: string])[] = [
  // The connection, and servers that start or stop.
  ['08', 'retry'],
  ['57P', 'retry'],
  ['57014', 'retry'], // canceled: statement_timeout
  ['53', 'retry'], // disk full, out of memory, too many connections
  ['58', 'retry'], // the system of the server: I/O errors
  ['XX', 'retry'], // internal error
  // Conflicts with other transactions.
  ['40', 'retry'], // serialization failure, deadlock
  ['55', 'retry'], // lock timeout, object in use
  ['25006', 'retry'], // read-only: a standby, until it is promoted or the DSN's host points elsewhere
  ['25P02', 'retry'], // an earlier statement of the transaction failed; its own error says why
  ['25P03', 'retry'], // idle_in_transaction_session_timeout
  ['25P04', 'retry'], // transaction_timeout
  // The record's content.
  ['22', 'data'],
  ['23', 'data'],
  ['P0', 'data'], // RAISE EXCEPTION, ASSERT, SELECT INTO STRICT, and user-defined codes beside them
  ['44', 'data'], // WITH CHECK OPTION
  ['21000', 'data'], // a subquery found more than one row; ON CONFLICT hits a row twice
  ['54', 'data'], // index row too large…
  // The environment: a retry does not help.
  ['28', 'environment', "check the user and the password in the DSN, and the server's pg_hba.conf"],
  ['3D000', 'environment', 'create the database, or correct its name in the DSN'],
  ['42501', 'environment', 'grant the permission to the user of the DSN'],
  ['42P01', 'environment', 'create the table (`runner sql apply`), or correct its name'],
  ['42703', 'environment', 'correct the name of the column, or add the column'],
  ['42P10', 'environment', 'an upsert needs a unique index or primary key on exactly its key columns'],
  ['3F000', 'environment', 'create the schema, or correct its name'],
  ['42883', 'environment', 'correct the name or the types of its arguments, or create the function'],
  ['42', 'environment', 'correct the SQL'],
  ['0A', 'environment', 'the server does not support it'],
  ['P0000', 'environment', 'correct the PL/pgSQL code'],
]

/**
 * Classes that PostgreSQL uses itself. Any other comes from a user's `RAISE … USING ERRCODE`: a trigger or function that rejects the
 * record.
 */
const OWN = new Set(
  '00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 F0 HV P0 XX'.split(
    ' ',
  ),
)

/** SQLSTATE of an error that a server sent; undefined: the server sent none. */
function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && (error as { severity?: unknown }).severity !== undefined
    ? code
    : undefined
}

/** The connection was lost, or never opened: the outcome of its statement is unknown. */
export function isConnectionLoss(error: unknown): boolean {
  const state = sqlState(error)
  return state === undefined || /^(08|57P0|25P03|25P04|58|XX)/.test(state)
}

/** @returns one of the runner's errors; its cause is the client's. */
export function classify(error: unknown, place: string): PipelineError {
  if (error instanceof PipelineError) return error
  const state = sqlState(error)
  const e = error as Error & { detail?: string; column?: string; where?: string; code?: unknown; errors?: Error[] }
  if (state === undefined) {
    const tls = tlsFailure(error, TLS_ADVICE)
    if (tls !== undefined) return tlsError(place, tls, error)
    // Impossible names, and logins: a retry does not help.
    const text = systemReason(error) ?? (e.message || e.errors?.map(x => x.message).join(', ') || String(e.code ?? error))
    const lasting = /SASL|password must be a string|no password|unsupported|Invalid URL/i.test(text)
    if (lasting) return new EnvironmentError(`${place}: ${text}`, error)
    return new ConnectionError(`${place}: ${text}`, error)
  }
  // A prepared statement whose table was altered: the connection is thrown away, and a new one knows the new table.
  if (state === '26000' || (state === '0A000' && /cached plan/.test(e.message))) return new ConnectionError(`${place}: ${e.message}`, error)
  let found: (typeof TABLE)[number] | undefined
  for (const entry of TABLE) if (state.startsWith(entry[0]) && entry[0].length > (found?.[0].length ?? 0)) found = entry
  const detail = e.detail === undefined ? '' : ` (${e.detail})`
  const text = `${e.message}${detail} [${state}]`
  if (found?.[1] === 'retry') return new ConnectionError(`${place}: ${text}`, error)
  if (state === '28000' && /no encryption|SSL off/.test(e.message))
    return tlsError(place, { what: `${text}: the server requires TLS for this login`, fix: TLS_ADVICE.tls, lasting: true }, error)
  if (state.startsWith('28') && /client certificate/.test(e.message))
    return tlsError(place, { what: text, fix: TLS_ADVICE.clientCertificate, lasting: true }, error)
  if (found?.[1] === 'data' || !OWN.has(state.slice(0, 2))) return new DataError(text, error)
  return new EnvironmentError(`${place}: ${text}${found?.[2] === undefined ? '' : `; ${found[2]}`}`, error)
}
