import type pg from 'pg'
import { type OpenTransaction, type Param, type QueryOptions, quoteName, type Result, type Session } from '../driver.ts'
import type { Runner } from './transaction.ts'

/** A separate connection, for locks and notifications that last as long as it does. */
export class ServerSession implements Session {
  private readonly client: pg.Client
  private readonly driver: Runner
  private readonly forget: () => void
  private readonly lost: ((error: Error) => void)[] = []
  private readonly listeners = new Map<string, ((payload: string) => void)[]>()
  private released = false
  private gone: Error | undefined

  constructor(client: pg.Client, driver: Runner, forget: () => void) {
    this.client = client
    this.driver = driver
    this.forget = forget
    const lose = (error: Error): void => {
      if (this.released || this.gone !== undefined) return
      this.gone = driver.failed(error)
      forget()
      for (const callback of this.lost) callback(this.gone)
    }
    client.on('error', lose)
    client.on('end', () => lose(new Error('the connection ended')))
    client.on('notification', ({ channel, payload }) => {
      for (const callback of this.listeners.get(channel) ?? []) callback(payload ?? '')
    })
  }

  query(sql: string, params: readonly Param[] = [], options?: QueryOptions): Promise<Result> {
    if (this.gone) return Promise.reject(this.gone)
    return this.driver.run(this.client, sql, params, options)
  }

  begin(): Promise<OpenTransaction> {
    // A session whose transaction cannot be rolled back is unusable: it is closed, and its user is notified.
    return this.driver.open(this.client, broken => void (broken && this.client.end().catch(() => {})))
  }

  async listen(channel: string, callback: (payload: string) => void): Promise<void> {
    const known = this.listeners.get(channel)
    if (known) known.push(callback)
    else {
      this.listeners.set(channel, [callback])
      await this.query(`listen ${quoteName(channel)}`)
    }
  }

  onLost(callback: (error: Error) => void): void {
    if (this.gone) callback(this.gone)
    else this.lost.push(callback)
  }

  async release(): Promise<void> {
    if (this.released) return
    this.released = true
    this.forget()
    await this.client.end().catch(() => {})
  }
}
