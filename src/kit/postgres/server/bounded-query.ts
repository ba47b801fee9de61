/**
 * A query of which PostgreSQL sends no more than a number of rows: the limit is a part of the protocol's Execute message. Nothing is added
 * to the statement, and no round trip to the exchange. The server does not start parallel workers for such an execution.
 */
import pg from 'pg'
import type { Result } from '../driver.ts'

/** What `pg.Query` calls and has, beside what its types say. */
interface Connection {
  execute(options: { portal: string; rows: number }): void
  sync(): void
}

export class BoundedQuery extends pg.Query {
  private readonly maxRows: number
  private readonly answer: Promise<pg.QueryResult>
  private suspended = false

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
    return { result, more: this.suspended }
  }

  /** Called by pg.Query after Bind. One row beyond the limit tells a result of exactly so many rows from a longer one. */
  _getRows(connection: Connection): void {
    connection.execute({ portal: '', rows: this.maxRows + 1 })
    connection.sync()
  }

  /** Called by pg.Client instead of the end of the result. The sync that was sent closes the portal. */
  handlePortalSuspended(): void {
    this.suspended = true
  }
}
