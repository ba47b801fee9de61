/** One shared driver per Redis in this process. */
import { readFileSync } from 'node:fs'
import { EnvironmentError } from '../../plugin.ts'
import type { Driver } from './driver.ts'
import { type ConnectionConfig, parseUrl } from './url.ts'

interface Shared {
  readonly driver: Driver
  users: number
}
const shared = new Map<string, Promise<Shared>>()

/** A driver in use; `release` closes it when nobody else in the process uses it. */
export interface Lease {
  readonly driver: Driver
  release(): Promise<void>
}

/** @throws {EnvironmentError} for wrong credentials, TLS settings or a file that cannot be opened, {ConnectionError} when nobody answers now */
export async function connect(config: ConnectionConfig): Promise<Lease> {
  const { url, username, password, tls_ca, tls_cert, tls_key, tls_insecure_skip_verify, client_name } = config
  const key = JSON.stringify([url, username, password, tls_ca, tls_cert, tls_key, tls_insecure_skip_verify, client_name])
  let entry = shared.get(key)
  if (entry === undefined) {
    entry = open(config).then(driver => ({ driver, users: 0 }))
    shared.set(key, entry)
    entry.catch(() => shared.delete(key))
  }
  const use = await entry
  use.users++
  let released = false
  return {
    driver: use.driver,
    async release() {
      if (released) return
      released = true
      if (--use.users > 0) return
      if (shared.get(key) === entry) shared.delete(key)
      await use.driver.close()
    },
  }
}

async function open(config: ConnectionConfig): Promise<Driver> {
  const target = parseUrl(config.url)
  if (target.kind === 'embedded') {
    const { embeddedDriver } = await import('./embedded/driver.ts')
    return await embeddedDriver(target.path)
  }
  const { IoredisDriver } = await import('./ioredis/driver.ts')
  const driver = new IoredisDriver({
    ...target,
    username: config.username || target.username,
    password: config.password || target.password,
    tls: target.tls ? tlsOptions(config) : undefined,
    clientName: config.client_name,
  })
  try {
    await driver.connect()
  } catch (error) {
    await driver.close()
    throw error
  }
  return driver
}

function tlsOptions(c: ConnectionConfig): object {
  const file = (property: string, path: string): Buffer | undefined => {
    if (path === '') return undefined
    try {
      return readFileSync(path)
    } catch (error) {
      throw new EnvironmentError(`cannot read ${property}: ${(error as Error).message}`, error)
    }
  }
  return {
    ca: file('tls_ca', c.tls_ca),
    cert: file('tls_cert', c.tls_cert),
    key: file('tls_key', c.tls_key),
    rejectUnauthorized: !c.tls_insecure_skip_verify,
  }
}
