/**
 * A wrong and a right example for the codes of docs/errors.md, which test/cli/error-examples.test.ts runs. Lines of a pipeline file, without
 * the keys that do not matter (`name`, `sources`, `sinks`); `input` has the records that it reads from the file in.jsonl. `WITHOUT` has the codes
 * that no file, record, command or plugin causes.
 */
export interface Example {
  readonly wrong: string
  readonly right: string
  /** Language of the code block. Default: yaml. */
  readonly language?: 'jsonl' | 'console' | 'ts'
  /** Of PIPE_ codes: the rest of the pipeline, or the records. */
  readonly input?: string
  readonly pipeline?: string
}

const WINDOW =
  'sources:\n  - kafka: { topics: [ticks] }\ntransforms:\n  - window: { size: 10s, time: ts, allowed_lateness: 0s, idle_timeout: 0s, on_gap: ACTION, aggregates: { n: { count: "*" } } }'

const CHECK_PRICE = `import { NAMES, defineTransform } from 'pipeline-runner'

export default defineTransform({
  type: 'check_price',
  schema: {},
  create: () => ({
    process(prices, out) {
      BODY
    },
  }),
})`

const PRICES_API = `import { NAME, defineSink } from 'pipeline-runner'

export default defineSink({
  type: 'prices_api',
  schema: {},
  onRedelivery: 'idempotent',
  reason: 'PUT replaces the prices',
  create: () => ({
    async write(prices) {
      const body = JSON.stringify(prices.map(message => message.value))
      const { status } = await fetch('http://127.0.0.1:8080/prices', { method: 'PUT', body })
      if (status === 409) throw new NAME('prices_api: the list is locked')   // WHY
    },
  }),
})`

export const EXAMPLES: Record<string, Example> = {
  CONFIG_READ: { language: 'console', wrong: 'runner validate pipelines/bar.yaml', right: 'runner validate pipelines/bars.yaml' },
  CONFIG_ENCODING: { wrong: 'description: Größe   # saved as Latin-1', right: 'description: Größe   # saved as UTF-8' },
  CONFIG_LIMIT: { wrong: 'description: …   # more than 64 KB', right: 'description: See docs/bars.md' },
  CONFIG_YAML: { wrong: 'description: One-minute bars: OHLCV', right: 'description: "One-minute bars: OHLCV"' },
  CONFIG_TAB: { wrong: 'transforms:\n\t- bars: 1m', right: 'transforms:\n  - bars: 1m' },
  CONFIG_DOCUMENTS: { wrong: 'name: bars\n---\nname: ticks', right: 'name: bars' },
  CONFIG_EMPTY: { wrong: '# bars', right: 'name: bars' },
  CONFIG_DUPLICATE_KEY: { wrong: 'version: 1\nversion: 2', right: 'version: 2' },
  CONFIG_OLD_NAME: {
    wrong: 'sources:\n  - kafka: { topics: [ticks], ssl_ca: ca.pem }',
    right: 'sources:\n  - kafka: { topics: [ticks], tls_ca: ca.pem }',
  },
  CONFIG_NAME_TWICE: { wrong: 'name: bars   # in bars.yaml and in bars-shadow.yaml', right: 'name: bars-shadow   # in bars-shadow.yaml' },
  CONFIG_KEY: { wrong: '[a, b]: 1', right: 'description: a, b' },
  CONFIG_MERGE: { wrong: 'transforms:\n  - bars: { <<: { interval: 1m } }', right: 'transforms:\n  - bars: { interval: 1m }' },
  CONFIG_TAG: { wrong: 'description: !include about.txt', right: 'description: "${file:about.txt}"' },
  CONFIG_ALIAS: { wrong: 'description: &about Bars\nname: *abuot', right: 'description: &about bars\nname: *about' },
  CONFIG_USE: {
    wrong: 'x-eu: { format: jsonl }\nsinks:\n  - file: { use: "#x-eue", path: out.jsonl }',
    right: 'x-eu: { format: jsonl }\nsinks:\n  - file: { use: "#x-eu", path: out.jsonl }',
  },
  CONFIG_SET: {
    language: 'console',
    wrong: 'runner explain pipelines/bars.yaml --set transform[0].bars.interval=5m',
    right: 'runner explain pipelines/bars.yaml --set transforms[0].bars.interval=5m',
  },
  CONFIG_ENV_MISSING: { wrong: 'name: "${PIPELINE}"', right: 'name: "${PIPELINE:-bars}"' },
  CONFIG_ENV_SYNTAX: { wrong: 'description: "costs ${5}"', right: 'description: "costs $${5}"' },
  CONFIG_ENV_FILE: { wrong: 'description: "${file:abuot.txt}"', right: 'description: "${file:about.txt}"' },
  CONFIG_UNKNOWN_KEY: { wrong: 'transforms:\n  - bars: { intervall: 1m }', right: 'transforms:\n  - bars: { interval: 1m }' },
  CONFIG_MISSING_KEY: { wrong: 'sinks:\n  - file: { format: jsonl }', right: 'sinks:\n  - file: { path: out.jsonl, format: jsonl }' },
  CONFIG_TYPE: { wrong: 'sources:\n  - kafka: { topics: ticks }', right: 'sources:\n  - kafka: { topics: [ticks] }' },
  CONFIG_VALUE: { wrong: 'delivery: exactly-once', right: 'delivery: at_least_once' },
  CONFIG_DURATION: { wrong: 'transforms:\n  - bars: 1 minute', right: 'transforms:\n  - bars: 1m' },
  CONFIG_SIZE: {
    wrong: 'sources:\n  - kafka: { topics: [ticks], max_bytes: 5mib }',
    right: 'sources:\n  - kafka: { topics: [ticks], max_bytes: 5MiB }',
  },
  CONFIG_TOPIC: { wrong: 'sinks:\n  - kafka: { topic: minute bars }', right: 'sinks:\n  - kafka: { topic: minute-bars }' },
  CONFIG_IDENTIFIER: {
    wrong: 'sources:\n  - postgres_outbox: { table: wallet outbox }',
    right: 'sources:\n  - postgres_outbox: { table: wallet_outbox }',
  },
  CONFIG_FIELD: {
    wrong: 'transforms:\n  - bars: { interval: 1m, fields: { price: .price } }',
    right: 'transforms:\n  - bars: { interval: 1m, fields: { price: price } }',
  },
  CONFIG_TIMESTAMP: {
    wrong: 'sources:\n  - schedule: { every: 1h, from: yesterday }',
    right: 'sources:\n  - schedule: { every: 1h, from: 2026-01-31T12:00:00Z }',
  },
  CONFIG_STEP: { wrong: 'transforms:\n  - bars: 1m\n    filter: price > 0', right: 'transforms:\n  - filter: price > 0\n  - bars: 1m' },
  CONFIG_UNKNOWN_PLUGIN: { wrong: 'transforms:\n  - fliter: price > 0', right: 'transforms:\n  - filter: price > 0' },
  CONFIG_WRONG_SECTION: { wrong: 'sinks:\n  - bars: 1m', right: 'transforms:\n  - bars: 1m' },
  CONFIG_PLUGIN_FILE: { wrong: 'plugins: [discuont.ts]', right: 'plugins: [discount.ts]' },
  CONFIG_PLUGIN_CLASH: { wrong: 'plugins: [discount.ts, ./discount.ts]', right: 'plugins: [discount.ts]' },
  CONFIG_DUPLICATE_NAME: {
    wrong: 'transforms:\n  - { bars: 1m, name: bars }\n  - { filter: close > 0, name: bars }',
    right: 'transforms:\n  - { bars: 1m, name: bars }\n  - { filter: close > 0, name: valid }',
  },
  CONFIG_FROM: {
    wrong:
      'transforms:\n  - validate: { schema: { type: object }, on_invalid: port }\nsinks:\n  - file: { path: bad.jsonl }\n    from: valid.invalid',
    right:
      'transforms:\n  - validate: { schema: { type: object }, on_invalid: port }\nsinks:\n  - file: { path: bad.jsonl }\n    from: validate.invalid',
  },
  CONFIG_SOURCE: {
    wrong: 'transforms:\n  - join_latest: { source: price, key: symbol, as: price }',
    right: 'transforms:\n  - join_latest: { source: file, key: symbol, as: price }',
  },
  CONFIG_PORT: {
    wrong: 'transforms:\n  - validate: { schema: { type: object } }\nsinks:\n  - file: { path: bad.jsonl }\n    from: validate.invalid',
    right:
      'transforms:\n  - validate: { schema: { type: object }, on_invalid: port }\nsinks:\n  - file: { path: bad.jsonl }\n    from: validate.invalid',
  },
  CONFIG_BRANCH: {
    wrong:
      'transforms:\n  - route:\n      - { name: large, when: size > 100, to: alert }\nsinks:\n  - { stdout: {}, name: out }\n  - { file: { path: large.jsonl }, name: alerts }',
    right:
      'transforms:\n  - route:\n      - { name: large, when: size > 100, to: alerts }\nsinks:\n  - { stdout: {}, name: out }\n  - { file: { path: large.jsonl }, name: alerts }',
  },
  CONFIG_EXPRESSION: { wrong: 'transforms:\n  - filter: price >', right: 'transforms:\n  - filter: price > 0' },
  CONFIG_EXPRESSION_TYPE: { wrong: 'transforms:\n  - filter: 1 + 1', right: 'transforms:\n  - filter: price > 0' },
  CONFIG_NO_FIELD: {
    wrong: 'transforms:\n  - map: { fields: { price: p } }\n  - filter: prce > 0',
    right: 'transforms:\n  - map: { fields: { price: p } }\n  - filter: price > 0',
  },
  CONFIG_CHECK: { wrong: 'transforms:\n  - bars: 7m', right: 'transforms:\n  - bars: 5m' },
  CONFIG_DELIVERY: {
    wrong: 'sinks:\n  - stdout: {}\ndelivery: exactly_once',
    right: 'sources:\n  - kafka: { topics: [ticks] }\nsinks:\n  - kafka: { topic: bars }\ndelivery: exactly_once',
  },
  CONFIG_LANE_KEY: {
    wrong: 'sources:\n  - kafka: { topics: [ticks] }\ntransforms:\n  - bars: 1m',
    right: 'sources:\n  - kafka: { topics: [ticks] }\n    keyed_by: symbol\ntransforms:\n  - bars: 1m',
  },
  CONFIG_DISABLED: {
    wrong: 'sources:\n  - kafka: { topics: [ticks] }\n    enabled: false',
    right: 'sources:\n  - kafka: { topics: [ticks] }\n    enabled: true',
  },
  PIPE_DECODE: { language: 'jsonl', wrong: '{"price": 10', right: '{"price": 10}' },
  PIPE_DATA: { language: 'jsonl', pipeline: 'transforms:\n  - filter: price > 0', wrong: '{"prise": 10}', right: '{"price": 10}' },
  PIPE_LATE: {
    input: '{"k": "a", "ts": 0}\n{"k": "a", "ts": 3000}\n{"k": "a", "ts": 1}',
    wrong: 'transforms:\n  - window: { size: 1s, by: k, time: ts, allowed_lateness: 0s, on_late: dlq, aggregates: { n: { count: "*" } } }',
    right: 'transforms:\n  - window: { size: 1s, by: k, time: ts, allowed_lateness: 5s, on_late: dlq, aggregates: { n: { count: "*" } } }',
  },
  PIPE_ENVIRONMENT: { wrong: 'sources:\n  - file: { path: inn.jsonl }', right: 'sources:\n  - file: { path: in.jsonl }' },
  PIPE_VERDICT: {
    input: '{"id": 1, "n": 1}',
    wrong:
      'sources:\n  - { file: in.jsonl, name: left }\n  - { file: other.jsonl, name: right }\ntransforms:\n  - reconcile: { left: left, right: right, key: id }',
    right:
      'sources:\n  - { file: in.jsonl, name: left }\n  - { file: other.jsonl, name: right }\ntransforms:\n  - reconcile: { left: left, right: right, key: id, fields: [id] }',
  },
  PIPE_CONFIG: {
    input: '{"symbol": "A", "price": 1, "volume": 1, "ts": 1767225600000}',
    wrong: 'transforms:\n  - bars: { intervall: 1m }',
    right: 'transforms:\n  - bars: { interval: 1m }',
  },
  PIPE_SETTINGS: {
    language: 'console',
    wrong: 'KAFKA_SECURITY_PROTOCOL=SASL runner topics list',
    right: 'KAFKA_SECURITY_PROTOCOL=SSL runner topics list',
  },
  PIPE_CONNECTION: {
    language: 'console',
    wrong: 'runner topics list --brokers 127.0.0.1:1   # no broker is there',
    right: 'runner topics list --brokers embedded',
  },
  PIPE_LIVE: {
    language: 'console',
    wrong: 'runner run bars.yaml --set sinks[0].file.path=shadow.jsonl   # while bars.yaml is running',
    right: 'runner run bars.yaml --set sinks[0].file.path=shadow.jsonl --set name=bars-shadow',
  },
  PIPE_TOPIC_MISSING: { wrong: 'sources:\n  - kafka: { topics: [tick] }', right: 'sources:\n  - kafka: { topics: [ticks] }' },
  PIPE_STATE: {
    input: '{"symbol": "A", "price": 1, "volume": 1, "ts": 1767225600000}',
    pipeline: 'sources:\n  - kafka: { topics: [ticks] }\n    keyed_by: symbol\ntransforms:\n  - bars: 1m   # before the change',
    wrong: 'transforms:\n  - bars: 5m',
    right: 'version: 2\ntransforms:\n  - bars: 5m',
  },
  PIPE_NAME: {
    language: 'ts',
    wrong: "await run('bars.yaml')\nawait run('bars.yaml')",
    right: "await run('bars.yaml')\nawait run('bars.yaml', { set: ['name=bars-2'] })",
  },
  PIPE_CHANNEL: {
    language: 'ts',
    pipeline: 'sources:\n  - memory: ticks',
    wrong: "await run('bars.yaml', { memory: { trades: new MemoryChannel() } })",
    right: "await run('bars.yaml', { memory: { ticks: new MemoryChannel() } })",
  },
  PIPE_GAP: {
    input: '{"n": 1, "ts": 1000}\n{"n": 2, "ts": 2000}   # deleted before they were read\n{"n": 3, "ts": 20000}',
    wrong: WINDOW.replace('ACTION', 'dead_letter'),
    right: WINDOW.replace('ACTION', 'mark'),
  },
  PIPE_BATCH: {
    language: 'ts',
    input: '{"price": 10}\n{"price": -1}',
    pipeline: 'plugins: [check_price.ts]\ntransforms:\n  - check_price: {}\ndlq:\n  file: { path: dead.jsonl, envelope: true }',
    wrong: CHECK_PRICE.replace('NAMES', 'BatchError, DataError').replace(
      'BODY',
      `const failed = new Map<number, Error>()
      prices.forEach((message, i) => {
        if ((message.value as { price: number }).price < 0) failed.set(i, new DataError('price is below 0'))
        else out.emit(message)
      })
      if (failed.size > 0) throw new BatchError(failed)   // only a sink throws it`,
    ),
    right: CHECK_PRICE.replace('NAMES', 'DataError').replace(
      'BODY',
      `for (const message of prices) {
        if ((message.value as { price: number }).price < 0) out.fail(message, new DataError('price is below 0'))
        else out.emit(message)
      }`,
    ),
  },
  PIPE_FENCED: {
    language: 'ts',
    input: '{"price": 10}',
    pipeline: 'plugins: [prices_api.ts]\nsources:\n  - stdin: {}\nsinks:\n  - prices_api: {}',
    wrong: PRICES_API.replaceAll('NAME', 'FencedError').replace('WHY', 'not a lane that another instance owns'),
    right: PRICES_API.replaceAll('NAME', 'ConnectionError').replace('WHY', 'tried again'),
  },
  PIPE_STOPPED: {
    language: 'ts',
    pipeline: 'sources:\n  - kafka: { topics: [ticks], once: true }',
    wrong: "const handle = await run('bars.yaml')\nawait handle.stop()",
    right: "const handle = await run('bars.yaml')\nawait handle.completed",
  },
  PIPE_SMOKE: {
    language: 'console',
    wrong: 'runner smoke --timeout 1ms   # too short for any system',
    right: 'runner smoke --timeout 30s',
  },
}

/** Why a code has no example: one sentence on the page. */
export const WITHOUT: Record<string, string> = {
  PIPE_UNKNOWN_OUTCOME:
    'There is no example: only a connection or a disk that fails between a commit and its confirmation causes it. No change to the file prevents it, and the pipeline continues.',
  PIPE_INTERNAL: 'There is no example: only a bug in the runner or in its Kafka client causes it.',
}
