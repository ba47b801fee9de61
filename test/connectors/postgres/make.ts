import type { ConnectionConfig } from '../../../src/kit/postgres/connect.ts'

/** Connection settings as the schema would fill them in. */
export const settings = (dsn: string, more: Partial<ConnectionConfig> = {}): ConnectionConfig => ({
  dsn,
  tls_mode: '',
  tls_ca: '',
  tls_cert: '',
  tls_key: '',
  tls_key_password: '',
  application_name: 'pipeline-runner',
  pool_size: 10,
  statement_timeout: 30_000,
  lock_timeout: 10_000,
  idle_in_transaction_timeout: 60_000,
  ...more,
})
