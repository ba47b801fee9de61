/** One shared driver per Redis in this process. */
import { type DriverHandle, shareDrivers } from '../../kit/share-drivers.ts'
import { readTlsFiles } from '../../kit/keys/tls.ts'
import type { Driver } from './driver.ts'
import { type ConnectionConfig, connectionKeys, parseUrl } from './url.ts'

export type RedisHandle = DriverHandle<Driver>
const share = shareDrivers<Driver>()

/**
 * @throws {EnvironmentError} for wrong credentials, TLS settings or a file that cannot be opened, {ConnectionError} when there is no answer
 */
export function connect(config: ConnectionConfig): Promise<RedisHandle> {
  const key = JSON.stringify(Object.keys(connectionKeys.properties).map(name => config[name as keyof ConnectionConfig]))
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
    tls: target.tls ? { ...readTlsFiles(config), rejectUnauthorized: !config.tls_insecure_skip_verify } : undefined,
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
