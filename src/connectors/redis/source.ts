import { type ConfigProblem, defineSource, type Source, type SourceContext } from '../../contract/plugin.ts'
import type { RedisSourceConfig } from '../../generated/config-types.ts'
import { checkSource } from './check.ts'
import { checkKeyRule } from './pubsub/channel-key.ts'
import { pubsubSource } from './pubsub/source.ts'
import { snapshotSource } from './snapshot.ts'
import { withKeys } from '../../kit/keys/with-keys.ts'
import schema from './source.schema.json' with { type: 'json' }
import { streamSource } from './stream/source.ts'
import { validateConnection, connectionKeys } from './url.ts'

export default defineSource<RedisSourceConfig>({
  type: 'redis',
  schema: withKeys(schema, connectionKeys),
  replayable: config => config.patterns === undefined,
  lanes: config => ((config.streams?.length ?? 0) > 1 ? 'many' : 'one'),
  shares: config => config.streams !== undefined,
  oneShot: config => config.patterns === undefined && config.streams === undefined,
  datedByRead: config => config.patterns === undefined && config.streams === undefined,
  reason: config =>
    config.patterns !== undefined
      ? 'Pub/Sub does not store messages, so those published while the connection is down are lost (counted and logged)'
      : config.streams !== undefined
        ? 'a stream keeps its entries, and the group records which are not acknowledged'
        : 'a key can be read again',
  validateConfig,
  create,
  check: checkSource,
})

const MODES = ['patterns', 'streams', 'snapshot', 'list', 'hash', 'sorted_set'] as const
type Mode = (typeof MODES)[number]
/** Settings that only some modes have. */
const OWN: Partial<Record<keyof RedisSourceConfig, readonly Mode[]>> = {
  group: ['streams'],
  consumer: ['streams'],
  field: ['streams'],
  key_field: ['streams'],
  last: ['snapshot', 'list', 'hash', 'sorted_set'],
}

function validateConfig(config: RedisSourceConfig): ConfigProblem[] {
  const problems = validateConnection(config)
  const given = MODES.filter(mode => config[mode] !== undefined)
  if (given.length === 0) problems.push({ path: [], message: `set one of ${MODES.join(', ')}` })
  for (const mode of given.slice(1)) problems.push({ path: [mode], message: `set either ${given[0]} or ${mode}, not both` })
  for (const [setting, modes] of Object.entries(OWN)) {
    if (given.length === 1 && config[setting as keyof RedisSourceConfig] !== undefined && !modes.includes(given[0]))
      problems.push({ path: [setting], message: `works with ${modes.join(', ')}, not with ${given[0]}` })
  }
  const bad = checkKeyRule(config.key_from_channel)
  if (bad !== undefined) problems.push({ path: ['key_from_channel'], message: bad })
  return problems
}

function create(config: RedisSourceConfig, ctx: SourceContext): Source {
  if (config.patterns !== undefined) return pubsubSource(config, config.patterns, ctx)
  return config.streams !== undefined ? streamSource(config, config.streams, ctx) : snapshotSource(config, ctx)
}
