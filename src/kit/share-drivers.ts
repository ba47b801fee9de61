/** One driver per peer in this process, for all steps with the same settings. */

/** A driver in use; `release` closes it when it is the last user in the process. */
export interface DriverHandle<Driver> {
  readonly driver: Driver
  release(): Promise<void>
}

interface Shared<Driver> {
  readonly driver: Promise<Driver>
  users: number
}

/**
 * Returns handles by key: the first user of a key opens its driver, the last one closes it. A driver that is being closed is awaited before
 * it is opened again: a database in this process can be open only once.
 */
export function shareDrivers<Driver extends { close(): Promise<void> }>(): (
  key: string,
  open: () => Promise<Driver>,
) => Promise<DriverHandle<Driver>> {
  const shared = new Map<string, Shared<Driver>>()
  const closing = new Map<string, Promise<void>>()

  const close = async (key: string, driver: Driver): Promise<void> => {
    const closed = driver.close()
    const over = closed
      .catch(() => {})
      .then(() => {
        if (closing.get(key) === over) closing.delete(key)
      })
    closing.set(key, over)
    await closed
  }

  return async (key, open) => {
    let entry = shared.get(key)
    if (entry === undefined) {
      entry = { driver: (closing.get(key) ?? Promise.resolve()).then(open), users: 0 }
      shared.set(key, entry)
    }
    const use = entry
    // Counted before it is open, so that a release meanwhile does not count it as unused.
    use.users++
    const driver = await use.driver.catch((error: unknown) => {
      if (shared.get(key) === use) shared.delete(key)
      throw error
    })
    let released = false
    return {
      driver,
      async release() {
        if (released) return
        released = true
        if (--use.users > 0) return
        shared.delete(key)
        await close(key, driver)
      },
    }
  }
}
