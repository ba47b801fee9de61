import type pg from 'pg'
import { UnknownOutcomeError } from '../../../contract/plugin.ts'
import type { OpenTransaction, Param, QueryOptions, Result } from '../driver.ts'
import { isConnectionLoss } from '../errors.ts'

/** The part of the driver that its transactions and sessions use. */
export interface Runner {
  run(client: pg.ClientBase, sql: string, params: readonly Param[], options?: QueryOptions): Promise<Result>
  /** Starts a transaction; `release` is called once, when it has ended. */
  open(client: pg.ClientBase, release: (broken: boolean) => void): Promise<OpenTransaction>
  /** The error in the terms of the contract; the driver records a lost connection. */
  failed(error: unknown): Error
}

export class ServerTransaction implements OpenTransaction {
  private readonly client: pg.ClientBase
  private readonly driver: Runner
  private readonly release: (broken: boolean) => void
  private broken = false
  private ended = false

  constructor(client: pg.ClientBase, driver: Runner, release: (broken: boolean) => void) {
    this.client = client
    this.driver = driver
    this.release = release
  }

  async query(sql: string, params: readonly Param[] = [], options?: QueryOptions): Promise<Result> {
    if (this.ended) throw new Error('the transaction has ended')
    try {
      return await this.driver.run(this.client, sql, params, options)
    } catch (error) {
      this.broken ||= isBroken(error)
      throw error
    }
  }

  async script(sql: string): Promise<void> {
    try {
      await this.client.query(sql)
    } catch (error) {
      this.broken ||= isBroken(error)
      throw this.driver.failed(error)
    }
  }

  async commit(): Promise<void> {
    if (this.ended) throw new Error('the transaction has ended')
    this.ended = true
    try {
      const { command } = await this.client.query('commit')
      this.release(false)
      // A transaction in which a statement failed is rolled back; the response to COMMIT shows this without an error.
      if (command !== 'COMMIT') throw new Error(`the transaction was rolled back: one of its statements had failed`)
    } catch (error) {
      if ((error as Error).message.startsWith('the transaction was rolled back')) throw error
      this.release(true)
      const cause = this.driver.failed(error)
      if (!isConnectionLoss(error)) throw cause
      throw new UnknownOutcomeError(`the connection was lost during COMMIT: ${cause.message}`, error)
    }
  }

  async rollback(): Promise<void> {
    if (this.ended) return
    this.ended = true
    if (!this.broken) {
      try {
        await this.client.query('rollback')
        this.release(false)
        return
      } catch {
        // Closing it rolls back as well.
      }
    }
    this.release(true)
  }
}

/** The connection must not be used again. */
export const isBroken = (error: unknown): boolean => {
  const cause = (error as { cause?: unknown }).cause ?? error
  return isConnectionLoss(cause) || /cached plan|26000/.test(`${(cause as Error).message} ${(cause as { code?: string }).code}`)
}
