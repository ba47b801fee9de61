/**
 * The interface of the runner to a PostgreSQL database. It has two implementations: `pg` for servers and PGlite, which is PostgreSQL in
 * this process. `connect` shares one driver per database.
 */

/** Sent as text; PostgreSQL converts it to the type that the statement needs. A list becomes an array, a Buffer a bytea. */
export type Param = string | number | bigint | boolean | Buffer | null | undefined | readonly Param[]

/**
 * boolean, int2, int4 and floats that JavaScript prints with the same text as JavaScript values, bytea as a Buffer, lists of the built-in
 * types as lists, and everything else as PostgreSQL's exact text: int8, numeric, json, timestamps (ISO style, in UTC), uuid, and floats
 * such as `-0`, `1e+17` and `NaN`.
 */
export type Value = string | number | boolean | Buffer | null | Value[]
export type Row = Record<string, Value>

export interface Field {
  readonly name: string
  /** OID of its type. */
  readonly type: number
}

export interface Result {
  readonly rows: Row[]
  /** Rows read, or inserted, updated or deleted. */
  readonly rowCount: number
  readonly fields: readonly Field[]
  /** The result has more rows than `maxRows`, or its rows more bytes than `limits.input`; it is not complete. */
  readonly more: boolean | 'bytes'
}

export interface QueryOptions {
  /** Parse it once per connection. */
  readonly prepare?: boolean
  /** Read at most this many rows, and at most `limits.input` bytes of them. */
  readonly maxRows?: number
}

export interface Queryable {
  /**
   * One statement.
   * @throws the result of `classify` for the server's error, see errors.ts
   */
  query(sql: string, params?: readonly Param[], options?: QueryOptions): Promise<Result>
}

/** An open transaction on its own connection. Queries of one transaction run one after the other, in the order of the calls. */
export interface OpenTransaction extends Queryable {
  /** Several statements in one text, without parameters. */
  script(sql: string): Promise<void>
  /**
   * @throws {UnknownOutcomeError} when the connection was lost during COMMIT: the transaction may be committed or not.
   * Any other error: it is not committed.
   */
  commit(): Promise<void>
  /** Never throws: a connection that cannot roll back is closed, which rolls back. */
  rollback(): Promise<void>
}

/** A separate connection for the caller, for features that need one: LISTEN, session advisory locks, SET. */
export interface Session extends Queryable {
  begin(): Promise<OpenTransaction>
  /** `channel` is taken literally. Resolves when no notification sent from now on can be missed. */
  listen(channel: string, callback: (payload: string) => void): Promise<void>
  /** Called once when the connection ends without `release`: its locks are released and its notifications are missed. */
  onLost(callback: (error: Error) => void): void
  /** Ends the connection, and its locks with it. */
  release(): Promise<void>
}

export interface Driver extends Queryable {
  /**
   * In this process: one backend, on which the transactions of all users run one after the other, and session locks exclude no other user
   * in it.
   */
  readonly embedded: boolean
  begin(): Promise<OpenTransaction>
  /** Commits when `work` resolves, rolls back when it throws. */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>
  /** Several statements in one text, without parameters: migrations. */
  script(sql: string): Promise<void>
  session(): Promise<Session>
  /** A text after a connection failed or the server stopped responding, until a connection works again. */
  healthy(): boolean | string
  close(): Promise<void>
}

/** `name`, quoted where it has to be: `public.Table` is two names and becomes `"public"."Table"`. */
export const quoteTable = (name: string): string => name.split('.').map(quoteName).join('.')
export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`

export async function inTransaction<T>(begin: () => Promise<OpenTransaction>, work: (tx: Queryable) => Promise<T>): Promise<T> {
  const tx = await begin()
  let result: T
  try {
    result = await work(tx)
  } catch (error) {
    await tx.rollback()
    throw error
  }
  await tx.commit()
  return result
}
