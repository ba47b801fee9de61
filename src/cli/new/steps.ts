/** The text of each step in a new pipeline. `NAME` is the name of the pipeline, `PREFIX` the same as a part of variables. */

/** A source, a transform or a sink as YAML, in one line. */
type Steps = Readonly<Record<string, string>>

export const SOURCES: Steps = {
  file: '{ file: { path: "${PREFIX_FILE:-NAME.jsonl}" } }',
  generate:
    '{ generate: { rate: 1, fields: { symbol: { choice: [BTCUSDT, ETHUSDT] }, price: { random: { min: 90, max: 110 } }, volume: { value: 1 }, ts: { time: true } } } }',
  http: '{ http: { port: 8080, path: /NAME, auth: { bearer: ["${PREFIX_TOKEN:-}"] }, allow_unauthenticated: "${PREFIX_ALLOW_UNAUTHENTICATED:-false}" } }',
  kafka: '{ kafka: { topics: ["${PREFIX_SOURCE_TOPIC:-NAME.in}"], group: NAME } }',
  postgres: '{ postgres: { table: "${PREFIX_SOURCE_TABLE:-NAME_in}", cursor: id } }',
  redis: '{ redis: { streams: ["${PREFIX_STREAM:-NAME.in}"], group: NAME, field: payload } }',
  schedule: '{ schedule: { every: 1m } }',
  stdin: '{ stdin: {} }',
  websocket: '{ websocket: { url: "${PREFIX_URL:-wss://example.com/feed}" } }',
}

export const TRANSFORMS: Steps = {
  bars: '{ bars: { interval: 1m, allowed_lateness: 2s } }',
  dedupe: '{ dedupe: { key: "[symbol, id]", ttl: 1h } }',
  filter: '{ filter: price > 0 }',
  group: '{ group: symbol }',
  map: '{ map: { fields: { symbol: symbol, price: price, notional: price * volume, ts: ts } } }',
  rekey: '{ rekey: symbol }',
  throttle: '{ throttle: { interval: 1s, key: symbol } }',
  validate: '{ validate: { schema: { type: object, required: [symbol, price], properties: { price: { type: number, minimum: 0 } } } } }',
  window: '{ window: { size: 1m, by: symbol, time: ts, aggregates: { count: { count: "*" }, high: { max: price } } } }',
}

export const SINKS: Steps = {
  file: '{ file: { path: "${PREFIX_OUT_FILE:-NAME.out.jsonl}" } }',
  http: '{ http: { url: "${PREFIX_SINK_URL:-http://127.0.0.1:8081/NAME}" } }',
  kafka: '{ kafka: { topic: "${PREFIX_SINK_TOPIC:-NAME.out}" } }',
  postgres: '{ postgres: { table: "${PREFIX_SINK_TABLE:-NAME}", columns: COLUMNS } }',
  redis: '{ redis: { stream: "${PREFIX_SINK_STREAM:-NAME.out}" } }',
  stdout: '{ stdout: {} }',
}

/** Fields of the records after a step that makes new ones; before, they are those of the sample. */
export const COLUMNS: Readonly<Record<string, string>> = {
  bars: '[symbol, interval, start, end, open, high, low, close, volume]',
  map: '[symbol, price, notional, ts]',
  window: '[key, start, end, count, high]',
}
/** After such a step, the fields that take the place of those of the sample. */
export const RENAMED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  bars: { id: 'start', price: 'close', ts: 'start' },
  map: { id: 'ts', volume: 'notional' },
  window: { id: 'start', symbol: 'key', price: 'high', volume: 'count', ts: 'start' },
}
export const SAMPLE_COLUMNS = '[id, symbol, price, volume, ts]'

/** Variables that steps of a system read, with their meaning. */
export const SERVERS: Readonly<Record<string, readonly [variable: string, meaning: string]>> = {
  kafka: ['KAFKA_BROKERS=localhost:9092', 'not set: the embedded log'],
  postgres: ['PG_DSN_RW=postgres://user:password@localhost:5432/db', 'not set: the embedded PostgreSQL'],
  redis: ['REDIS_URL=redis://localhost:6379', 'not set: the embedded Redis'],
}
