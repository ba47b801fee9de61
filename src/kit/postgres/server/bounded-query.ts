/**
 * A query for which PostgreSQL sends at most a given number of rows: the limit is part of the protocol's Execute message. The statement is
 * not changed, and no round trip is added. The server does not start parallel workers for such an execution.
 */
import pg from 'pg'
import type { Result } from '../driver.ts'

/** The members that `pg.Query` uses beyond its types. */
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

  /** Called by pg.Query after Bind. One row more than the limit distinguishes a longer result from one with exactly that many rows. */
  _getRows(connection: Connection): void {
    connection.execute({ portal: '', rows: this.maxRows + 1 })
    connection.sync()
  }

  /** Called by pg.Client instead of the end of the result. The sync that was already sent closes the portal. */
  handlePortalSuspended(): void {
    this.suspended = true
  }
}
