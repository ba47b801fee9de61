import type { PostgresOutboxSourceConfig } from '../../../generated/config-types.ts'
import { type ConfigProblem, defineSource } from '../../../contract/plugin.ts'
import { validateConnection, connectionKeys } from '../../../kit/postgres/connect.ts'
import { Outbox } from './outbox.ts'
import { checkOutbox } from './check.ts'
import { withKeys } from '../../../kit/keys/with-keys.ts'
import schema from './source.schema.json' with { type: 'json' }

export default defineSource<PostgresOutboxSourceConfig>({
  type: 'postgres_outbox',
  schema: withKeys(schema, connectionKeys),
  replayable: true,
  leased: true,
  lanes: 'by_key',
  shares: true,
  reason: 'a row stays until it is marked as published, and the position lists rows that are published but not marked yet',
  validateConfig,
  create: (config, ctx) => new Outbox(config, ctx),
  check: checkOutbox,
})

function validateConfig(config: PostgresOutboxSourceConfig): ConfigProblem[] {
  const problems = validateConnection(config)
  if (config.lease < 3 * config.lease_interval)
    problems.push({
      path: ['lease'],
      message: 'must be at least three times lease_interval, so that a slow response does not end the leases',
    })
  const { id, processed_at } = config.columns
  if (id === processed_at) problems.push({ path: ['columns', 'processed_at'], message: 'must be another column than id' })
  return problems
}
