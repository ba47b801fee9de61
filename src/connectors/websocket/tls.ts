/** TLS options out of the config, for the socket and for snapshots alike. */
import { tlsFile } from '../../kit/tls-file.ts'

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
  return {
    ca: tlsFile(c, 'ssl_ca'),
    cert: tlsFile(c, 'ssl_cert'),
    key: tlsFile(c, 'ssl_key'),
    ...(c.ssl_key_password === '' ? {} : { passphrase: c.ssl_key_password }),
    ...(c.ssl_insecure_skip_verify ? { rejectUnauthorized: false } : {}),
  }
}
