/** A plugin's config as the config layer would fill it in: defaults from the schema, without the environment. */
import type { KafkaSinkConfig, KafkaSourceConfig } from '../../../src/generated/config-types.ts'
import sink from '../../../src/connectors/kafka/sink.ts'
import source from '../../../src/connectors/kafka/source.ts'
import { convert } from '../../../src/config/convert.ts'

function defaults(schema: any): Record<string, unknown> {
  const filled: Record<string, unknown> = {}
  for (const [name, property] of Object.entries<any>(schema.properties)) {
    if (property.default === undefined) continue
    const text = /^\$\{\w+:-(.*)\}$/.exec(property.default)?.[1]
    filled[name] = text === undefined ? property.default : property.type === 'integer' ? Number(text) : text
  }
  return convert(filled, schema, schema).value as Record<string, unknown>
}

export const sourceConfig = (own: Partial<KafkaSourceConfig>): KafkaSourceConfig =>
  ({ ...defaults(source.schema), ...own }) as unknown as KafkaSourceConfig
export const sinkConfig = (own: Partial<KafkaSinkConfig>): KafkaSinkConfig =>
  ({ ...defaults(sink.schema), ...own }) as unknown as KafkaSinkConfig
