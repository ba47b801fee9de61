/** Shared by the tests of this connector: a config with its defaults, and both kinds of Redis. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import type { RedisSinkConfig, RedisSourceConfig } from '../../../src/generated/config-types.ts'
import { connect, type RedisHandle } from '../../../src/connectors/redis/connect.ts'
import { redisUrl } from '../../support/redis.ts'

const dir = mkdtempSync(join(tmpdir(), 'redis-embedded-'))
const handles: RedisHandle[] = []
freshState()

afterAll(async () => {
  for (const handle of handles) await handle.release()
  rmSync(dir, { recursive: true, force: true })
})

/** Files of one test in the state directory must not affect the next one. */
export function freshState(): void {
  process.env.RUNNER_STATE_DIR = mkdtempSync(join(dir, 'state-'))
}

export const kinds: readonly [name: string, url: string][] = [
  ['server', redisUrl()],
  ['embedded', `embedded:${join(dir, 'redis.db')}`],
]

const connection = {
  url: 'embedded',
  username: '',
  password: '',
  tls_ca: '',
  tls_cert: '',
  tls_key: '',
  tls_key_password: '',
  tls_insecure_skip_verify: false,
  client_name: 'test',
}
export const sourceConfig = (config: Partial<RedisSourceConfig>): RedisSourceConfig => ({
  ...connection,
  key_from_channel: 'wildcard',
  queue: { max_bytes: 8 * 1024 * 1024, on_full: 'spill', max_spill: 64 * 1024 * 1024, on_spill_full: 'drop_oldest' },
  start_at: 'earliest',
  claim_idle: 60_000,
  format: 'json',
  batch_size: 100,
  ...config,
})
export const sinkConfig = (config: Partial<RedisSinkConfig>): RedisSinkConfig => ({
  ...connection,
  value_field: 'value',
  entry: 'value',
  push: 'right',
  unique_score: false,
  on_foreign_key: 'write',
  ...config,
})

/** A driver that is given back when the test file ends. */
export async function driver(config: Partial<RedisSourceConfig>): Promise<RedisHandle['driver']> {
  const handle = await connect(sourceConfig(config))
  handles.push(handle)
  return handle.driver
}
