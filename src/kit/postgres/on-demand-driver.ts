/** A driver for transforms, which have no `open`: connected at its first use. */
import type { Logger } from '../../contract/plugin.ts'
import { type ConnectionConfig, connect, type PostgresHandle } from './connect.ts'
import type { Driver } from './driver.ts'

export class OnDemandDriver {
  private readonly config: ConnectionConfig
  private readonly log: Logger
  private opening: Promise<PostgresHandle> | undefined
  private closed = false

  constructor(config: ConnectionConfig, log: Logger) {
    this.config = config
    this.log = log
  }

  /** @throws {ConnectionError} when the server is unavailable; the next call retries. */
  async driver(): Promise<Driver> {
    if (this.closed) throw new Error('the transform is closed')
    if (this.opening === undefined) {
      this.opening = connect(this.config, this.log)
      this.opening.catch(() => (this.opening = undefined))
    }
    return (await this.opening).driver
  }

  async close(): Promise<void> {
    this.closed = true
    const handle = await this.opening?.catch(() => undefined)
    await handle?.release()
  }
}
