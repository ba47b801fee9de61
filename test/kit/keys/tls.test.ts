/** Errors in TLS files are reported before the first connection. */
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { validateTlsFiles, readTlsFiles, type TlsFiles } from '../../../src/kit/keys/tls.ts'
import { encryptKey, makeCa, makeCertificate } from '../../support/certificates.ts'
import { tempDir } from '../../support/runner.ts'

let dir: string
beforeAll(() => {
  dir = tempDir({ 'notes.txt': 'no PEM' })
  makeCa(dir)
  makeCertificate(dir, 'client', 'subjectAltName=DNS:client')
  makeCertificate(dir, 'other', 'subjectAltName=DNS:other')
  encryptKey(dir, 'client', 'hunter2')
})
const settings = (own: Partial<TlsFiles>): TlsFiles =>
  Object.fromEntries(
    Object.entries({ tls_ca: '', tls_cert: '', tls_key: '', tls_key_password: '', ...own }).map(([key, value]) => [
      key,
      value !== '' && key !== 'tls_key_password' ? join(dir, value) : value,
    ]),
  ) as unknown as TlsFiles

test('a CA, a certificate and its key are loaded, encrypted or not', () => {
  expect(readTlsFiles(settings({}))).toEqual({})
  const files = readTlsFiles(settings({ tls_ca: 'ca.pem', tls_cert: 'client.pem', tls_key: 'client.key' }))
  expect(String(files.ca)).toContain('BEGIN CERTIFICATE')
  const encrypted = settings({ tls_cert: 'client.pem', tls_key: 'client.encrypted.key', tls_key_password: 'hunter2' })
  expect(readTlsFiles(encrypted)).toMatchObject({ passphrase: 'hunter2' })
})

test.each<[Partial<TlsFiles>, RegExp]>([
  [{ tls_ca: 'none.pem' }, /^cannot read tls_ca .*none\.pem: the file or its folder does not exist \(ENOENT\)$/],
  [{ tls_ca: 'notes.txt' }, /^tls_ca .*notes\.txt is not a certificate in PEM format$/],
  [{ tls_cert: 'client.key', tls_key: 'client.key' }, /^tls_cert .*client\.key is not a certificate/],
  [{ tls_cert: 'client.pem', tls_key: 'client.pem' }, /^tls_key .*client\.pem is not a private key in PEM format$/],
  [{ tls_cert: 'client.pem', tls_key: 'other.key' }, /^tls_key .*other\.key is not the key of the certificate in tls_cert .*client\.pem$/],
  [{ tls_cert: 'client.pem', tls_key: 'client.encrypted.key' }, /is encrypted: set tls_key_password$/],
  [{ tls_cert: 'client.pem', tls_key: 'client.encrypted.key', tls_key_password: 'secret' }, /cannot be decrypted with tls_key_password$/],
])('%j', (own, message) => {
  expect(() => readTlsFiles(settings(own))).toThrow(message)
  expect(() => readTlsFiles(settings(own))).toThrow(expect.objectContaining({ code: 'PIPE_ENVIRONMENT' }))
})

test('a certificate needs its key, and a key its certificate', () => {
  expect(validateTlsFiles(settings({ tls_cert: 'client.pem' })).map(p => p.path)).toEqual([['tls_key']])
  expect(validateTlsFiles(settings({ tls_key: 'client.key' })).map(p => p.path)).toEqual([['tls_cert']])
  expect(validateTlsFiles(settings({}))).toEqual([])
})
