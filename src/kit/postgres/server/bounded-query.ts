/**
 * A query for which PostgreSQL sends at most a given number of rows: the limit is part of the protocol's Execute message. The statement is
 * not changed, and no round trip is added. The server does not start parallel workers for such an execution.
 */
import pg from 'pg'
import { limits } from '../../limits.ts'
import type { Result } from '../driver.ts'

/** The members that `pg.Query` uses beyond its types. */
interface Connection {
  execute(options: { portal: string; rows: number }): void
  sync(): void
}

/** Members of `pg.Query` that are not in its types. */
interface Rows {
  readonly _result: { rows: unknown[] }
  handleDataRow(row: { readonly length: number }): void
}
const { handleDataRow } = pg.Query.prototype as unknown as Rows

export class BoundedQuery extends pg.Query {
  private readonly maxRows: number
  private readonly answer: Promise<pg.QueryResult>
  private more: Result['more'] = false
  private bytes = 0

  constructor(config: pg.QueryConfig, maxRows: number) {
    let settle!: (error: Error | null, result: pg.QueryResult) => void
    const answer = new Promise<pg.QueryResult>((resolve, reject) => {
      settle = (error, result) => (error ? reject(error) : resolve(result))
    })
    super({ ...config, queryMode: 'extended', callback: settle } as pg.QueryConfig)
    this.answer = answer
    this.maxRows = maxRows
  }

  async run(client: pg.ClientBase): Promise<{ result: pg.QueryResult; more: Result['more'] }> {
    client.query(this)
    const result = await this.answer
    return { result, more: this.more }
  }

  /** Called by pg.Query after Bind. One row more than the limit distinguishes a longer result from one with exactly that many rows. */
  _getRows(connection: Connection): void {
    connection.execute({ portal: '', rows: this.maxRows + 1 })
    connection.sync()
  }

  /** Called by pg.Client for each row. The rest is received and dropped: a closed connection would lose its transaction. */
  handleDataRow(row: { readonly length: number }): void {
    this.bytes += row.length
    if (this.bytes > limits().input) {
      this.more = 'bytes'
      ;(this as unknown as Rows)._result.rows = []
    } else handleDataRow.call(this as unknown as Rows, row)
  }

  /** Called by pg.Client instead of the end of the result. The sync that was already sent closes the portal. */
  handlePortalSuspended(): void {
    this.more ||= true
  }
}
