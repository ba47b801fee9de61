/** Names of keys in other tools and other plugins. */
const OTHER_NAMES: Readonly<Record<string, readonly string[]>> = {
  sources: ['input', 'inputs', 'source', 'in'],
  transforms: ['pipeline', 'processors', 'transform', 'steps', 'operators', 'mapping'],
  sinks: ['output', 'outputs', 'sink', 'out', 'destination', 'destinations'],
  dlq: ['dead_letter', 'dead_letters', 'dead_letter_queue', 'errors', 'error_handling'],
  key: ['by', 'key_by', 'key_field', 'key_fields', 'partition_by', 'group_by', 'fields', 'field'],
  by: ['key', 'key_by', 'group_by', 'keys', 'fields'],
  avg: ['mean', 'average'],
  collect: ['list', 'array_agg', 'collect_list'],
  brokers: ['bootstrap_servers', 'bootstrap.servers', 'bootstrapServers', 'seed_brokers', 'addresses', 'hosts'],
  topics: ['topic', 'subscribe'],
  patterns: ['channel', 'channels', 'psubscribe'],
  max: ['rate', 'limit', 'count'],
  breaker_failures: ['attempts', 'retries', 'max_retries'],
  state: ['memory', 'max_memory'],
  group: ['group_id', 'group.id', 'groupId', 'consumer_group', 'consumerGroup'],
  start_at: [
    'auto_offset_reset',
    'auto.offset.reset',
    'from_beginning',
    'fromBeginning',
    'start_from_oldest',
    'initial_offset',
    'scan.startup.mode',
  ],
  compression: ['compression_type', 'compression.type'],
  condition: ['where', 'expr', 'expression', 'predicate', 'check'],
  when: ['if', 'where', 'condition'],
  every: ['slide', 'hop', 'advance', 'period', 'interval'],
  size: ['duration', 'length', 'window', 'width', 'tumbling'],
  allowed_lateness: ['grace', 'lateness', 'grace_period', 'watermark'],
  url: ['uri', 'endpoint', 'address', 'host'],
  dsn: ['url', 'uri', 'connection_string', 'database_url'],
  method: ['verb'],
  table: ['relation'],
  path: ['paths', 'file', 'filename', 'include'],
  format: ['codec', 'encoding', 'decoding', 'framing'],
}

/** The allowed key with this other name; undefined if there is none. */
export function nameHere(written: string, allowed: readonly string[]): string | undefined {
  return allowed.find(key => Object.hasOwn(OTHER_NAMES, key) && OTHER_NAMES[key].includes(written))
}

/** Names of the plugins of other tools. */
const OTHER_PLUGINS: Readonly<Record<string, string>> = {
  console: 'stdout',
  print: 'stdout',
  log: 'stdout',
  csv: 'file',
  json: 'file',
  jsonl: 'file',
  redpanda: 'kafka',
  redpanda_migrator: 'kafka',
  kafka_franz: 'kafka',
  redis_streams: 'redis',
  redis_pubsub: 'redis',
  sql_insert: 'postgres',
  sql_select: 'postgres',
  postgresql: 'postgres',
  http_client: 'http',
  http_server: 'http',
  webhook: 'http',
  cron: 'schedule',
  interval: 'schedule',
  demo_logs: 'generate',
  bloblang: 'map',
  mapping: 'map',
  mutation: 'map',
  remap: 'map',
  jmespath: 'map',
  select: 'map',
  where: 'filter',
  split: 'unnest',
  explode: 'unnest',
  unarchive: 'unnest',
  flat_map: 'unnest',
  aggregate: 'window',
  reduce: 'window',
  group_by: 'group',
  deduplicate: 'dedupe',
  distinct: 'dedupe',
  rate_limit: 'throttle',
  sample: 'throttle',
  json_schema: 'validate',
  ohlc: 'bars',
  ohlcv: 'bars',
  enrich: 'lookup',
}

/** The plugin that has this name in another tool; undefined if it is not among the plugins of the section. */
export function pluginHere(written: string, names: readonly string[]): string | undefined {
  const name = Object.hasOwn(OTHER_PLUGINS, written) ? OTHER_PLUGINS[written] : undefined
  return name !== undefined && names.includes(name) ? name : undefined
}
