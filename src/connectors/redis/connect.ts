/** One shared driver per Redis in this process. */
import { type Lease as SharedLease, shareDrivers } from '../../kit/share-drivers.ts'
import { tlsFile } from '../../kit/tls-file.ts'
import type { Driver } from './driver.ts'
import { type ConnectionConfig, parseUrl } from './url.ts'

export type RedisLease = SharedLease<Driver>
const share = shareDrivers<Driver>()

/** @throws {EnvironmentError} for wrong credentials, TLS settings or a file that cannot be opened, {ConnectionError} when nobody answers now */
export function connect(config: ConnectionConfig): Promise<RedisLease> {
  const { url, username, password, tls_ca, tls_cert, tls_key, tls_insecure_skip_verify, client_name } = config
  const key = JSON.stringify([url, username, password, tls_ca, tls_cert, tls_key, tls_insecure_skip_verify, client_name])
  return share(key, () => open(config))
}

async function open(config: ConnectionConfig): Promise<Driver> {
  const target = parseUrl(config.url)
  if (target.kind === 'embedded') {
    const { embeddedDriver } = await import('./embedded/driver.ts')
    return await embeddedDriver(target.path)
  }
  const { IoredisDriver } = await import('./client/driver.ts')
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
  return {
    ca: tlsFile(c, 'tls_ca'),
    cert: tlsFile(c, 'tls_cert'),
    key: tlsFile(c, 'tls_key'),
    rejectUnauthorized: !c.tls_insecure_skip_verify,
  }
}
