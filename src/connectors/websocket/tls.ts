/** TLS options out of the config, for the socket and for snapshots alike. */
import { readFileSync } from 'node:fs'
import { EnvironmentError } from '../../plugin.ts'

export interface TlsConfig {
  readonly ssl_ca: string
  readonly ssl_cert: string
  readonly ssl_key: string
  readonly ssl_key_password: string
  readonly ssl_insecure_skip_verify: boolean
}
export interface TlsOptions {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
  readonly passphrase?: string
  readonly rejectUnauthorized?: boolean
}

/** @throws {EnvironmentError} for a file that cannot be read */
export function tlsOptions(c: TlsConfig): TlsOptions {
  const file = (name: 'ssl_ca' | 'ssl_cert' | 'ssl_key'): Buffer | undefined => {
    if (c[name] === '') return undefined
    try {
      return readFileSync(c[name])
    } catch (error) {
      throw new EnvironmentError(`${name}: cannot read ${c[name]}: ${(error as Error).message}`, error)
    }
  }
  return {
    ca: file('ssl_ca'),
    cert: file('ssl_cert'),
    key: file('ssl_key'),
    ...(c.ssl_key_password === '' ? {} : { passphrase: c.ssl_key_password }),
    ...(c.ssl_insecure_skip_verify ? { rejectUnauthorized: false } : {}),
  }
}
