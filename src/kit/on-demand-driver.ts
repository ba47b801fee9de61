/** A driver for transforms that need their peer only when records arrive: connected at its first use. */
import type { DriverHandle } from './share-drivers.ts'

/** Connects at the first call of `driver`, and again after a failure. */
export class OnDemandDriver<Driver> {
  private readonly connect: () => Promise<DriverHandle<Driver>>
  private opening: Promise<DriverHandle<Driver>> | undefined
  private closed = false

  constructor(connect: () => Promise<DriverHandle<Driver>>) {
    this.connect = connect
  }

  /** @throws {ConnectionError} when the server is unavailable; the next call retries. */
  async driver(): Promise<Driver> {
    if (this.closed) throw new Error('the transform is closed')
    if (this.opening === undefined) {
      this.opening = this.connect()
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
