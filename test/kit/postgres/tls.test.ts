/** TLS to a real server, with the modes of libpq. */
import { chmodSync, chownSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { validateConnection, connect, type ConnectionConfig } from '../../../src/kit/postgres/connect.ts'
import { fakeContext } from '../../../src/testing/conformance/context.ts'
import { makeCa, makeCertificate } from '../../support/certificates.ts'
import { tempDir } from '../../support/runner.ts'
import { type PostgresServer, startPostgres } from '../../support/servers/postgres.ts'
import { settings } from '../../connectors/postgres/make.ts'

describe('TLS', () => {
  let server: PostgresServer
  let ca: string
  beforeAll(async () => {
    const dir = tempDir()
    chmodSync(dir, 0o755)
    makeCa(dir)
    makeCertificate(dir, 'server', 'subjectAltName=DNS:localhost')
    const key = join(dir, 'server.key')
    chmodSync(key, 0o600)
    // The server runs as another user when root runs the tests, and rejects a key that others can read.
    if (process.getuid?.() === 0) chownSync(key, 65_534, 65_534)
    ca = join(dir, 'ca.pem')
    server = await startPostgres({ settings: { ssl: 'on', ssl_cert_file: join(dir, 'server.pem'), ssl_key_file: key } })
  })
  afterAll(() => server?.stop())

  const encrypted = async (more: Partial<ConnectionConfig>, change: (dsn: string) => string = dsn => dsn): Promise<unknown> => {
    const handle = await connect(settings(change(server.dsn), more), fakeContext('x').log)
    try {
      return (await handle.driver.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')).rows[0].ssl
    } finally {
      await handle.release()
    }
  }

  test('modes', async () => {
    expect(await encrypted({})).toBe(false)
    expect(await encrypted({ tls_mode: 'require' })).toBe(true)
    expect(await encrypted({}, dsn => `${dsn}?sslmode=require`)).toBe(true)
    expect(await encrypted({ tls_mode: 'verify-ca', tls_ca: ca })).toBe(true)
    expect(await encrypted({ tls_mode: 'verify-full', tls_ca: ca }, dsn => dsn.replace('127.0.0.1', 'localhost'))).toBe(true)
  })

  test('an untrusted server ends the run', async () => {
    await expect(encrypted({ tls_mode: 'verify-ca' })).rejects.toMatchObject({ name: 'EnvironmentError' })
    await expect(encrypted({ tls_mode: 'verify-full', tls_ca: ca })).rejects.toThrow(/does not have the host name/)
    await expect(encrypted({ tls_mode: 'verify-full', tls_ca: '/nowhere' })).rejects.toThrow(/cannot read tls_ca/)
  })
})

test.each([
  ['?sslmode=verify-ful', {}, 'did you mean verify-full?'],
  ['?sslmode=REQUIRE', {}, 'did you mean require?'],
  ['?ssl=true', {}, 'write sslmode=require'],
  ['', { tls_mode: 'requre' as 'require' }, 'did you mean require?'],
])('an invalid TLS setting (%s %j) does not connect without TLS', async (query, more, told) => {
  const config = settings(`postgres://u:secret@127.0.0.1:1/d${query}`, more)
  expect(validateConnection(config)).toEqual([{ path: ['dsn'], message: expect.stringContaining(told) }])
  await expect(connect(config, fakeContext('x').log)).rejects.toMatchObject({
    code: 'PIPE_ENVIRONMENT',
    message: expect.not.stringContaining('secret'),
  })
})
