/** TLS options from the config, for the socket and for snapshots. */
import { readTlsFiles, type TlsFiles } from '../../kit/keys/tls.ts'

export type TlsOptions = ReturnType<typeof readTlsFiles> & { readonly rejectUnauthorized?: boolean }

/** @throws {EnvironmentError} for a file that cannot be read */
export const tlsOptions = (c: TlsFiles & { readonly tls_insecure_skip_verify: boolean }): TlsOptions => ({
  ...readTlsFiles(c),
  ...(c.tls_insecure_skip_verify ? { rejectUnauthorized: false } : {}),
})
