/** The TLS keys of a connector: one set of names, one check, one way to read the files. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { type ConfigProblem, EnvironmentError } from '../../contract/plugin.ts'
import { readRegular } from '../read-regular.ts'
import { reasonOf } from '../system-error.ts'

/** Paths of PEM files from the shared TLS keys; an empty text: not set. */
export interface TlsFiles {
  readonly tls_ca: string
  readonly tls_cert: string
  readonly tls_key: string
  readonly tls_key_password: string
}

/** For `tls.connect`. @throws {EnvironmentError} for a file that cannot be read or used; a handshake would only report `bad decrypt` */
export function readTlsFiles(c: TlsFiles): { ca?: Buffer; cert?: Buffer; key?: Buffer; passphrase?: string } {
  const files = { ca: read(c, 'tls_ca'), cert: read(c, 'tls_cert'), key: read(c, 'tls_key'), passphrase: c.tls_key_password || undefined }
  if (files.ca) certificate(files.ca, 'tls_ca', c.tls_ca)
  const own = files.cert && certificate(files.cert, 'tls_cert', c.tls_cert)
  const key = files.key && privateKey(files.key, c)
  if (own && key && !own.checkPrivateKey(key))
    throw new EnvironmentError(`tls_key ${c.tls_key} is not the key of the certificate in tls_cert ${c.tls_cert}`)
  return files
}

function certificate(pem: Buffer, property: string, path: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw new EnvironmentError(`${property} ${path} is not a certificate in PEM format`, error)
  }
}

function privateKey(pem: Buffer, { tls_key, tls_key_password }: TlsFiles): KeyObject {
  try {
    return createPrivateKey({ key: pem, passphrase: tls_key_password || undefined })
  } catch (error) {
    const encrypted = pem.includes('ENCRYPTED')
    const why = !encrypted
      ? 'is not a private key in PEM format'
      : tls_key_password === ''
        ? 'is encrypted: set tls_key_password'
        : 'cannot be decrypted with tls_key_password'
    throw new EnvironmentError(`tls_key ${tls_key} ${why}`, error)
  }
}

/** A certificate without its key, or a key without its certificate. */
export function validateTlsFiles(c: TlsFiles): ConfigProblem[] {
  if ((c.tls_cert === '') === (c.tls_key === '')) return []
  return [{ path: [c.tls_cert === '' ? 'tls_cert' : 'tls_key'], message: 'set both tls_cert and tls_key, or neither' }]
}

function read(c: TlsFiles, property: 'tls_ca' | 'tls_cert' | 'tls_key'): Buffer | undefined {
  const path = c[property]
  if (path === '') return undefined
  try {
    return readRegular(path)
  } catch (error) {
    throw new EnvironmentError(`cannot read ${property} ${path}: ${reasonOf(error)}`, error)
  }
}
