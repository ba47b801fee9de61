/** An unencrypted connection requires an explicit mode. */
import { expect, test } from 'vitest'
import { type ConnectionConfig, connectionFor, validateConnection } from '../../../src/kit/postgres/connect.ts'

const messages = (dsn: string, over: Partial<ConnectionConfig> = {}): string[] =>
  validateConnection({ ...connectionFor(dsn, {}), ...over }).map(p => p.message)

test.each(['prefer', 'allow'])('sslmode=%s is an error with the replacement', mode => {
  expect(messages(`postgres://u@h/db?sslmode=${mode}`)).toEqual([expect.stringMatching(/plain text.*verify-full.*disable/)])
  expect(messages(`postgres://u@h/db?sslmode=${mode}`, { tls_mode: 'verify-full' })).toEqual([])
})

test.each(['disable', 'require', 'verify-ca', 'verify-full'])('sslmode=%s is accepted', mode => {
  expect(messages(`postgres://u@h/db?sslmode=${mode}`)).toEqual([])
})

test('an unknown mode is not in the list of supported modes', () => {
  expect(messages('postgres://u@h/db?sslmode=verify')).toEqual([expect.stringContaining('verify-full')])
})
