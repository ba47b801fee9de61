/**
 * `runner new --from`: each example is translated, validates, and passes its test, which the command itself runs. The examples follow the
 * public documentation of the tools.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import fc from 'fast-check'
import { parse, stringify } from 'yaml'
import '../../../src/built-in.ts'
import { createFrom } from '../../../src/cli/new.ts'
import { translate } from '../../../src/cli/new/from.ts'
import { bloblang, vrl } from '../../../src/cli/new/from/mapping.ts'
import { loadText } from '../../../src/config/load.ts'
import { startRunner, tempDir } from '../../support/runner.ts'

const printed: string[] = []
beforeAll(() => {
  for (const stream of [process.stdout, process.stderr])
    vi.spyOn(stream, 'write').mockImplementation(text => printed.push(String(text)) > 0)
})
afterAll(() => void vi.restoreAllMocks())

interface Made {
  readonly code: number
  readonly out: string
  /** Without comments. */
  readonly pipeline: Record<string, any>
  readonly text: string
  readonly test: string
  readonly env: string
}

async function made(config: string, file = 'old.yaml'): Promise<Made> {
  printed.length = 0
  const dir = tempDir({ [file]: config })
  const target = join(dir, 'new.yaml')
  const code = await createFrom([target], join(dir, file))
  const read = (name: string) => (existsSync(join(dir, name)) ? readFileSync(join(dir, name), 'utf8') : '')
  const text = read('new.yaml')
  return { code, out: printed.join(''), pipeline: parse(text) ?? {}, text, test: read('new.test.yaml'), env: read('.env.example') }
}

const indented = (text: string, by = 4): string =>
  text
    .trim()
    .split('\n')
    .map(line => ' '.repeat(by) + line)
    .join('\n')
const connect = ({ input = 'stdin: {}', output = 'stdout: {}', processors = '[]' }): string => `input:
${indented(input, 2)}
pipeline:
  processors:
${indented(processors)}
output:
${indented(output, 2)}
`

describe('inputs of Redpanda Connect', () => {
  test.each<[string, string, object]>([
    [
      'kafka',
      'kafka: { addresses: ["a:9092", "b:9092"], topics: [orders], consumer_group: g, start_from_oldest: true, checkpoint_limit: 1024 }',
      { kafka: { brokers: '${KAFKA_BROKERS:-a:9092,b:9092}', topics: ['orders'], group: 'g' } },
    ],
    [
      'kafka_franz with a login',
      'kafka_franz: { seed_brokers: ["a:9092"], topics: ["orders"], consumer_group: g, tls: { enabled: true }, sasl: [{ mechanism: SCRAM-SHA-512, username: me, password: hidden }] }',
      {
        kafka: {
          brokers: '${KAFKA_BROKERS:-a:9092}',
          security_protocol: 'SASL_SSL',
          sasl_mechanism: 'SCRAM-SHA-512',
          sasl_username: '${KAFKA_SASL_USERNAME:-me}',
          sasl_password: '${KAFKA_SASL_PASSWORD}',
          topics: ['orders'],
          group: 'g',
        },
      },
    ],
    [
      'redpanda, from the end',
      'redpanda: { seed_brokers: ["${BROKER:localhost:9092}"], topics: [orders], consumer_group: g, start_offset: latest }',
      { kafka: { brokers: '${BROKER:-localhost:9092}', topics: ['orders'], group: 'g', start_at: 'latest' } },
    ],
    ['file', 'file: { paths: [./in/*.jsonl], scanner: { lines: {} } }', { file: { path: './in/*.jsonl' } }],
    ['csv', 'csv: { paths: [./in.csv], parse_header_row: true }', { file: { path: './in.csv', format: 'csv' } }],
    ['stdin', 'stdin: { scanner: { lines: {} } }', { stdin: {} }],
    [
      'generate',
      `generate: { interval: 500ms, count: 3, mapping: 'root = {"id": 1, "name": "x"}' }`,
      { generate: { fields: { id: { value: 1 }, name: { value: 'x' } }, rate: 2, count: 3 } },
    ],
    ['http_server', 'http_server: { address: "0.0.0.0:4195", path: /hook, timeout: 5s }', { http: { port: 4195, path: '/hook' } }],
    [
      'redis_streams',
      'redis_streams: { url: "redis://r:6379", streams: [s], consumer_group: g, body_key: body }',
      { redis: { url: '${REDIS_URL:-redis://r:6379}', streams: ['s'], group: 'g', field: 'body' } },
    ],
    [
      'redis_pubsub',
      'redis_pubsub: { url: "redis://r:6379", channels: ["a.*"], use_patterns: true }',
      { redis: { url: '${REDIS_URL:-redis://r:6379}', patterns: ['a.*'] } },
    ],
    [
      'sql_select',
      'sql_select: { driver: postgres, dsn: "postgres://u:secret@h/db", table: trades, columns: [id, price], where: price > 0 }',
      { postgres: { dsn: '${PG_DSN_RW}', query: 'select id, price from trades where price > 0', cursor: 'id' } },
    ],
    [
      'websocket',
      'websocket: { url: "wss://example.com/feed", open_message: hello }',
      { websocket: { url: '${WEBSOCKET_URL:-wss://example.com/feed}', subscribe: ['hello'] } },
    ],
    ['two', 'broker: { inputs: [{ label: a, stdin: {} }, { label: b, file: { paths: [x.jsonl] } }] }', { name: 'a', stdin: {} }],
  ])('%s', async (_, input, expected) => {
    const { code, out, pipeline } = await made(connect({ input }))
    expect(out).not.toContain('error')
    expect(code).toBe(0)
    expect(pipeline.sources[0]).toEqual(expected)
    expect(out).not.toContain('hidden')
  })
})

describe('outputs of Redpanda Connect', () => {
  test.each<[string, string, object]>([
    [
      'kafka',
      'kafka: { addresses: ["a:9092"], topic: out, key: "${! this.id }", ack_replicas: true, max_in_flight: 10 }',
      { kafka: { brokers: '${KAFKA_BROKERS:-a:9092}', topic: 'out', key: 'id', acks: 'all' } },
    ],
    [
      'a topic of a field',
      'kafka_franz: { seed_brokers: ["a:9092"], topic: \'${! json("kind") }\', compression: zstd }',
      { kafka: { brokers: '${KAFKA_BROKERS:-a:9092}', topic_from: 'field:kind', compression: 'zstd' } },
    ],
    ['file', 'file: { path: "out/${! this.kind }.jsonl", codec: lines }', { file: { path: 'out/{kind}.jsonl' } }],
    ['stdout', 'stdout: {}', { stdout: {} }],
    [
      'http_client',
      'http_client: { url: "https://example.com/x/${! this.id }", verb: PUT, timeout: 5s, headers: { X-Tenant: acme } }',
      { http: { url: 'https://example.com/x/{id}', method: 'PUT', headers: { 'X-Tenant': 'acme' }, timeout: '5s' } },
    ],
    [
      'redis_streams',
      'redis_streams: { url: "redis://r:6379", stream: s, body_key: body, max_length: 100 }',
      { redis: { url: '${REDIS_URL:-redis://r:6379}', stream: 's', value_field: 'body', max_length: 100 } },
    ],
    [
      'redis_pubsub',
      'redis_pubsub: { url: "redis://r:6379", channel: "c.${! this.id }" }',
      { redis: { url: '${REDIS_URL:-redis://r:6379}', channel: 'c.<id>' } },
    ],
    ['redis_list', 'redis_list: { url: "redis://r:6379", key: l }', { redis: { url: '${REDIS_URL:-redis://r:6379}', list: 'l' } }],
    [
      'sql_insert',
      'sql_insert: { driver: postgres, dsn: "${DSN}", table: trades, columns: [id, symbol], args_mapping: \'root = [ this.id, this.symbol.uppercase() ]\', suffix: "ON CONFLICT (id) DO NOTHING" }',
      {
        postgres: { dsn: '${DSN}', table: 'trades', columns: { id: 'id', symbol: 'symbol.upper()' }, key: ['id'], on_conflict: 'nothing' },
      },
    ],
    [
      'a condition',
      `switch: { cases: [{ check: 'this.kind == "a"', output: { stdout: {} } }, { output: { drop: {} } }] }`,
      { stdout: {}, when: 'kind == "a"' },
    ],
    ['fallback', 'fallback: [{ stdout: {} }, { file: { path: dead.jsonl } }]', { stdout: {} }],
    ['retry', 'retry: { output: { stdout: {} } }', { stdout: {} }],
  ])('%s', async (_, output, expected) => {
    const { code, out, pipeline } = await made(connect({ output }))
    expect(out).not.toContain('error')
    expect(code).toBe(0)
    expect(pipeline.sinks[0]).toEqual(expected)
  })

  test('the second output of a fallback is the dlq', async () => {
    const { pipeline } = await made(connect({ output: 'fallback: [{ stdout: {} }, { file: { path: dead.jsonl } }]' }))
    expect(pipeline.dlq).toEqual({ file: { path: 'dead.jsonl', envelope: true } })
  })

  test('a dlq with processors is kept, and what does not fit into it is a comment', async () => {
    const processed = `fallback:
  - stdout: {}
  - file: { path: dead.jsonl }
    processors: [{ mapping: root = this }]`
    const one = await made(connect({ output: processed }))
    expect(one.pipeline.dlq).toEqual({ file: { path: 'dead.jsonl', envelope: true } })
    expect(one.text).toContain('a sink has no steps of its own')
    const outputs = '[{ file: { path: a.jsonl } }, { kafka: { addresses: ["a:9092"], topic: b } }]'
    const two = await made(connect({ output: `fallback: [{ stdout: {} }, { broker: { outputs: ${outputs} } }]` }))
    expect(two.pipeline.dlq).toEqual({ file: { path: 'a.jsonl', envelope: true } })
    expect(two.text).toContain('there is one dlq\n#   kafka')
  })

  test('a dlq that would be invalid becomes a comment', async () => {
    const output = 'fallback: [{ stdout: {} }, { kafka: { addresses: ["a:9092"], topic: "not a topic" } }]'
    const { code, pipeline, text } = await made(connect({ output }))
    expect(code).toBe(0)
    expect(text).toContain('the settings would be invalid')
    expect(pipeline.dlq).toEqual({ file: { path: 'new.dead.jsonl', envelope: true } })
  })
})

describe('mappings of Bloblang', () => {
  const steps = async (mapping: string, type = 'mapping') =>
    (await made(connect({ processors: `- ${type}: |\n${indented(mapping, 4)}` }))).pipeline.transforms

  test.each<[string, string, object[]]>([
    [
      'a new record',
      'root.id = this.id\nroot.name = this.user.name.trim().uppercase()',
      [{ map: { fields: { id: 'id', name: 'user.name.trim().upper()' } } }],
    ],
    [
      'the record with changes',
      'root = this\nroot.total = this.price * this.volume\nroot.internal = deleted()',
      [{ map: { fields: { total: 'price * volume' }, keep: true, drop: ['internal'] } }],
    ],
    ['without', 'root = this.without("a", "b")', [{ map: { keep: true, drop: ['a', 'b'] } }]],
    ['a filter', 'root = if this.price <= 0 { deleted() }', [{ filter: 'price > 0' }]],
    ['a filter with else', 'root = if this.kind != "trade" { deleted() } else { this }', [{ filter: 'kind == "trade"' }]],
    ['a part of the record', 'root = this.data', [{ map: 'data' }]],
    ['a default', 'root.side = this.side | "none"', [{ map: { fields: { side: '(value.?side.orValue(null) != null ? side : "none")' } } }]],
    ['null', 'root = if this.id == null { deleted() }', [{ filter: 'value.?id.orValue(null) != null' }]],
    ['a condition', 'root.big = if this.n > 10 { "yes" } else { "no" }', [{ map: { fields: { big: 'n > 10 ? "yes" : "no"' } } }]],
    ['a variable', 'let x = this.a + 1\nroot.b = $x * 2', [{ map: { fields: { b: '(a + 1) * 2' } } }]],
    ['a list', 'root.names = this.items.map_each(i -> i.name)', [{ map: { fields: { names: 'items.map(i, i.name)' } } }]],
    ['division', 'root.half = this.n / 2', [{ map: { fields: { half: 'n / 2.0' } } }]],
    [
      'metadata',
      'root.key = @kafka_key\nroot.topic = metadata("kafka_topic")',
      [{ map: { fields: { key: 'meta.key', topic: 'meta.topic' } } }],
    ],
    ['a key', 'meta kafka_key = this.id\nroot = this', [{ rekey: 'id' }]],
    ['a name that is reserved', 'root.x = this.in', [{ map: { fields: { x: 'value["in"]' } } }]],
    [
      'several lines',
      'root.x = this.a +\n  this.b\nroot.y = this.tags\n  .join(",")',
      [{ map: { fields: { x: 'a + b', y: 'tags.join(",")' } } }],
    ],
  ])('%s', async (_, mapping, expected) => expect(await steps(mapping)).toEqual(expected))

  test('a mutation reads what it has set', async () => {
    expect(await steps('root.a = this.n * 2\nroot.b = this.a + 1', 'mutation')).toEqual([
      { map: { fields: { a: 'n * 2', b: 'n * 2 + 1' }, keep: true } },
    ])
  })

  test.each([
    ['root.at = now()', 'a replay must give the same result'],
    ['root.id = uuid_v4()', 'a replay must give the same result'],
    ['root.x = this.a.parse_json().b', 'parse_json() has no translation'],
    ['root.x = match this.a { "b" => 1 }', 'match has no translation'],
    ['root.x = this.a.(x -> x + 1)', 'parentheses'],
    ['root.x = if this.a > 1 { 2 }', 'an if without else'],
    ['root.x = this.a.re_replace_all("[0-9]", "x")', 're_replace_all() has no translation'],
    ['root.items.0 = this.a', 'an element of a list'],
    ['root.x = this.a.number() | 0', 'a default for an expression that fails'],
    ['meta foo = this.a', 'a step cannot set headers'],
  ])('%s stays as a comment', async (statement, reason) => {
    const { code, text, out } = await made(
      connect({ processors: `- mapping: |\n    root = this\n    ${statement}\n    root.kept = this.k` }),
    )
    expect(code).toBe(0)
    const at = text.split('\n').findIndex(line => line.includes('NOT TRANSLATED (line 7)'))
    expect(
      text
        .split('\n')
        .slice(at, at + 2)
        .join('\n'),
    ).toContain(statement)
    expect(text).toContain(reason)
    expect(text).toContain('kept: k')
    expect(out).toContain(`old.yaml:7 is not translated`)
  })
})

describe('processors of Redpanda Connect', () => {
  test('dedupe, json_schema and a switch', async () => {
    const {
      code,
      pipeline,
      test: tests,
    } = await made(
      connect({
        processors: `
- dedupe: { cache: keys, key: '\${! json("id") }' }
- json_schema: { schema: '{"type":"object","required":["id"]}' }
- switch:
    - check: this.side == "buy"
      processors: [{ mapping: "root = this\\nroot.signed = this.n" }]
    - processors: [{ mapping: "root = this\\nroot.signed = -this.n" }]`,
      }),
    )
    expect(code).toBe(0)
    expect(pipeline.transforms).toEqual([
      { dedupe: { key: 'id', ttl: '1h' } },
      { validate: { schema: { type: 'object', required: ['id'] } } },
      { map: { fields: { signed: 'n' }, keep: true }, when: 'side == "buy"' },
      { map: { fields: { signed: '-n' }, keep: true }, when: '!(side == "buy")' },
    ])
    expect(tests).not.toContain('dead_letters')
  })

  test('a branch that changes what a later condition reads is not translated', async () => {
    const { text } = await made(
      connect({
        processors: `
- switch:
    - check: this.side == "buy"
      processors: [{ mapping: "root = this\\nroot.side = \\"sell\\"" }]
    - check: this.side == "sell"
      processors: [{ mapping: "root = this\\nroot.done = true" }]`,
      }),
    )
    expect(text).toContain('a branch before it changes a field')
    expect(text).not.toContain('done:')
  })

  test.each([
    'log: { message: x }',
    'rate_limit: { resource: r }',
    'http: { url: "http://x" }',
    'catch: []',
    'branch: {}',
    'unarchive: { format: json_array }',
    'jmespath: { query: a }',
    'sleep: { duration: 1s }',
  ])('%s stays as a comment', async processor => {
    const { code, text, pipeline } = await made(connect({ processors: `- ${processor}` }))
    expect(code).toBe(0)
    expect(text).toContain(`#   ${processor.split(':')[0]}`)
    expect(pipeline.transforms ?? []).toEqual([])
  })

  test('a component and a resource that there are not', async () => {
    const { code, pipeline, text } = await made(
      connect({ input: 'amqp_0_9: { urls: ["amqp://me:secret@h"] }', output: 'aws_s3: { bucket: b }' }),
    )
    expect(code).toBe(0)
    expect(pipeline).toMatchObject({ sources: [{ stdin: {} }], sinks: [{ stdout: {} }] })
    expect(text).toContain('there is no such source')
    expect(text).toContain('there is no such sink')
    expect(text).not.toContain('secret')
  })
})

const vector = ({
  sources = 'in: { type: stdin, decoding: { codec: json } }',
  transforms = '{}',
  sinks = 'out: { type: console, inputs: [last], encoding: { codec: json } }',
  last = 'in',
}): string => `sources:
${indented(sources, 2)}
transforms:
${indented(transforms, 2)}
sinks:
${indented(sinks, 2).replaceAll('last', last)}
`

describe('sources and sinks of Vector', () => {
  test.each<[string, string, object]>([
    [
      'kafka',
      'in: { type: kafka, bootstrap_servers: "k:9092", group_id: g, topics: [a], auto_offset_reset: earliest, decoding: { codec: json } }',
      { kafka: { brokers: '${KAFKA_BROKERS:-k:9092}', topics: ['a'], group: 'g' } },
    ],
    [
      'file',
      'in: { type: file, include: [/var/log/*.jsonl], decoding: { codec: json } }',
      { file: { path: '/var/log/*.jsonl', format: 'jsonl' } },
    ],
    [
      'file of text',
      'in: { type: file, include: [/var/log/app.log] }',
      { file: { path: '/var/log/app.log', format: 'text', follow: true } },
    ],
    ['stdin', 'in: { type: stdin, decoding: { codec: json } }', { stdin: {} }],
    [
      'http_server',
      'in: { type: http_server, address: "0.0.0.0:9000", path: /x, decoding: { codec: json } }',
      { http: { port: 9000, path: '/x' } },
    ],
    [
      'demo_logs',
      'in: { type: demo_logs, format: json, interval: 0.5, count: 2 }',
      { generate: { fields: { message: { value: 'hello' }, id: { sequence: 1 } }, rate: 2, count: 2 } },
    ],
    [
      'redis',
      'in: { type: redis, data_type: channel, key: c, url: "redis://r:6379", decoding: { codec: json } }',
      { redis: { url: '${REDIS_URL:-redis://r:6379}', patterns: ['c'] } },
    ],
    [
      'websocket',
      'in: { type: websocket, uri: "wss://example.com/feed", decoding: { codec: json } }',
      { websocket: { url: '${WEBSOCKET_URL:-wss://example.com/feed}' } },
    ],
  ])('%s', async (_, sources, expected) => {
    const { code, out, pipeline } = await made(vector({ sources }))
    expect(out).not.toContain('error')
    expect(code).toBe(0)
    expect(pipeline.sources[0]).toEqual({ name: 'in', ...expected })
  })

  test.each<[string, string, object]>([
    [
      'kafka',
      'out: { type: kafka, inputs: [in], bootstrap_servers: "k:9092", topic: o, key_field: id, encoding: { codec: json } }',
      { kafka: { brokers: '${KAFKA_BROKERS:-k:9092}', topic: 'o', key: 'id' } },
    ],
    [
      'a topic of a field',
      'out: { type: kafka, inputs: [in], bootstrap_servers: "k:9092", topic: "{{ kind }}", encoding: { codec: json } }',
      { kafka: { brokers: '${KAFKA_BROKERS:-k:9092}', topic_from: 'field:kind' } },
    ],
    ['console', 'out: { type: console, inputs: [in], target: stdout, encoding: { codec: json } }', { stdout: {} }],
    [
      'file',
      'out: { type: file, inputs: [in], path: "o/{{ kind }}.jsonl", encoding: { codec: json } }',
      { file: { path: 'o/{kind}.jsonl' } },
    ],
    [
      'http',
      'out: { type: http, inputs: [in], uri: "https://example.com/x", method: post, auth: { strategy: bearer, token: "${TOKEN}" }, encoding: { codec: json } }',
      { http: { url: 'https://example.com/x', batch: 'array', bearer: '${TOKEN}' } },
    ],
    [
      'redis',
      'out: { type: redis, inputs: [in], endpoint: "redis://r:6379", key: "l:{{ kind }}", data_type: list, encoding: { codec: json } }',
      { redis: { url: '${REDIS_URL:-redis://r:6379}', list: 'l:<kind>' } },
    ],
  ])('%s', async (_, sinks, expected) => {
    const { code, out, pipeline } = await made(vector({ sinks }))
    expect(out).not.toContain('error')
    expect(code).toBe(0)
    expect(pipeline.sinks[0]).toEqual({ name: 'out', ...expected })
  })
})

describe('nothing is left out in silence', () => {
  const LOGIN = 'tls: { enabled: true, TLS }, sasl: SASL'
  const kafka = (tls: string, sasl: string): string => LOGIN.replace('TLS', tls).replace('SASL', sasl)

  test.each<[string, string, readonly string[]]>([
    [
      'a login that there is not, and certificates',
      connect({
        input: `kafka_franz: { seed_brokers: ["a:9092"], topics: [t], consumer_group: g, ${kafka('root_cas_file: ca.pem', '[{ mechanism: GSSAPI }, { mechanism: PLAIN }]')} }`,
      }),
      ['mechanism: GSSAPI', 'root_cas_file: "ca.pem"', 'sasl: …'],
    ],
    [
      'in Vector',
      vector({
        sources: `in: { type: kafka, bootstrap_servers: "k:9092", group_id: g, topics: [a], key_field: mk, decoding: { codec: avro }, framing: { method: octet_counting }, ${kafka('verify_certificate: false', '{ enabled: true, mechanism: GSSAPI }')} }`,
      }),
      ['mechanism: GSSAPI', 'verify_certificate: false', 'key_field: mk', 'codec: avro', 'method: octet_counting'],
    ],
    [
      'what changes the requests of Vector',
      vector({
        sinks:
          'out: { type: http, inputs: [in], uri: "https://example.com", auth: { strategy: aws }, encoding: { codec: json, except_fields: [a] }, request: { headers: { X-A: b } }, batch: { max_bytes: 1 }, buffer: { when_full: drop_newest } }',
      }),
      ['strategy: aws', 'except_fields: …', 'headers: …', 'batch: …', 'buffer: …'],
    ],
    [
      'statements around an insert',
      connect({
        output:
          'sql_insert: { driver: postgres, dsn: "postgres://h/d", table: t, columns: [a, b], args_mapping: "root = [this.a, this.b]", prefix: X, suffix: "ON CONFLICT (a) DO UPDATE SET b = t.b + 1" }',
      }),
      ['prefix: "X"', 'suffix: ON CONFLICT (a) DO UPDATE SET b = t.b + 1'],
    ],
    [
      'the rest of a switch, a retry and an interval',
      connect({
        input: 'generate: { interval: "@every 5s", mapping: "root.a = 1" }',
        output:
          'switch: { strict_mode: true, cases: [{ output: { retry: { max_retries: 3, output: { stdout: { codec: all-bytes } } } } }] }',
      }),
      ['strict_mode: true', 'max_retries: 3', 'interval: @every 5s', 'codec: all-bytes'],
    ],
  ])('%s', async (_, config, comments) => {
    const { code, text } = await made(config)
    expect(code).toBe(0)
    for (const comment of comments) expect(text).toContain(`#   ${comment}\n`)
  })

  test('the usual update of an existing row needs no comment', async () => {
    const suffix = 'ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b, c = excluded.c'
    const output = `sql_insert: { driver: postgres, dsn: "postgres://h/d", table: t, columns: [a, b, c], args_mapping: "root = [this.a, this.b, this.c]", suffix: "${suffix}" }`
    const { text, pipeline } = await made(connect({ output }))
    expect(text).not.toContain('NOT TRANSLATED')
    expect(pipeline.sinks[0].postgres.key).toEqual(['a'])
  })

  test.each(['null', '1', '{"properties":{"a":null}}'])('a schema that is none: %s', async schema => {
    const { code, text } = await made(connect({ processors: `- json_schema: { schema: '${schema}' }` }))
    expect(code).toBe(0)
    expect(text).toContain('NOT TRANSLATED')
  })
})

test.each([
  connect({ input: 'websocket: { url: "wss://example.com/feed?api_token=hunter2" }' }),
  connect({ input: `websocket: { url: "wss://x/y", open_message: '{"op":"auth","api_key":"hunter2"}' }` }),
  connect({ output: 'http_client: { url: "https://me:hunter2@example.com/x" }' }),
  connect({ output: 'http_client: { url: "https://me:hunter2@example.com/${! now() }" }' }),
  connect({ output: 'redis_list: { url: "redis://:hun/ter2hunter2@h", key: l }' }),
  connect({ output: 'sql_insert: { driver: postgres, dsn: "host=h password=hunter2 dbname=d", table: t, columns: [id] }' }),
  connect({ output: 'sql_insert: { driver: postgres, dsn: "postgres://me:hunter2@${HOST}/d", table: t, columns: [id] }' }),
  connect({ output: 'sql_insert: { driver: postgres, dsn: "postgres://me:${PW:hunter2}@h/d", table: t, columns: [id] }' }),
  vector({ sources: 'in: { type: websocket, uri: "wss://me:hunter2@example.com/feed" }' }),
  vector({ sinks: 'out: { type: http, inputs: [in], uri: "https://example.com/?key=hunter2" }' }),
])('a secret is not copied %#', async config => {
  const { code, text, test: tests, env, out } = await made(config)
  expect(code).toBe(0)
  expect(text + tests + env + out).not.toContain('hunter2')
})

describe('transforms of Vector', () => {
  const steps = async (source: string) =>
    (await made(vector({ transforms: `t:\n  type: remap\n  inputs: [in]\n  source: |\n${indented(source, 4)}`, last: 't' }))).pipeline
      .transforms

  test.each<[string, string, object[]]>([
    [
      'assignments',
      '.name = upcase!(.name)\n.n = to_int!(.n) + 1',
      [{ map: { fields: { name: 'name.upper()', n: 'int(n) + 1' }, keep: true } }],
    ],
    ['values that it has set', '.a = .n * 2\n.b = .a + 1', [{ map: { fields: { a: 'n * 2', b: 'n * 2 + 1' }, keep: true } }]],
    ['a new name', '.a = del(.b)', [{ map: { fields: { a: 'b' }, keep: true, drop: ['b'] } }]],
    ['fields that go', 'del(.a)\ndel(.b.c)', [{ map: { keep: true, drop: ['a', 'b.c'] } }]],
    ['abort', 'if .n <= 0 { abort }\n.ok = true', [{ filter: 'n > 0' }, { map: { fields: { ok: 'true' }, keep: true } }]],
    ['both branches', 'if .side == "buy" { .s = 1 } else { .s = -1 }', [{ map: { fields: { s: 'side == "buy" ? 1 : -1' }, keep: true } }]],
    ['a pattern', ".ok = match!(.a, r'^a+$')", [{ map: { fields: { ok: 'a.re("^a+$")' }, keep: true } }]],
    ['a new record', '. = { "id": .id, "n": .a.b }', [{ map: { fields: { id: 'id', n: 'a.b' } } }]],
    ['JSON that is parsed already', '. = parse_json!(string!(.message))\n.x = .a + 1', [{ map: { fields: { x: 'a + 1' }, keep: true } }]],
    ['a test for null', 'if is_null(.a) { abort }', [{ filter: '!(value.?a.orValue(null) == null)' }]],
  ])('%s', async (_, source, expected) => expect(await steps(source)).toEqual(expected))

  test.each([
    ['.at = now()', 'a replay must give the same result'],
    ['.p, err = parse_json(.a)', 'a second result with the error'],
    [".p = parse_regex!(.a, r'(?P<x>a)')", 'has no translation'],
    ['.a = "x {{ .b }}"', 'a template in a text'],
    ['.a = to_int(.b) ?? 0', 'a default for an expression that fails'],
    ['if .a > 1 { .b = 1 }', 'has a value in one branch only'],
    ['log("x")', 'has no translation as a statement'],
  ])('%s stays as a comment', async (statement, reason) => {
    const { code, text } = await made(
      vector({ transforms: `t:\n  type: remap\n  inputs: [in]\n  source: |\n    ${statement}\n    .kept = .k`, last: 't' }),
    )
    expect(code).toBe(0)
    expect(text).toContain(reason)
    expect(text).toContain(statement)
    expect(text).toContain('kept: k')
  })

  test('filter, dedupe and throttle', async () => {
    const { code, pipeline } = await made(
      vector({
        transforms: `
f: { type: filter, inputs: [in], condition: '.n > 1 && starts_with!(.s, "B")' }
d: { type: dedupe, inputs: [f], fields: { match: [id, s] } }
t: { type: throttle, inputs: [d], threshold: 5, window_secs: 2, key_field: "{{ s }}" }`,
        last: 't',
      }),
    )
    expect(code).toBe(0)
    expect(pipeline.transforms).toEqual([
      { filter: 'n > 1 && s.startsWith("B")' },
      { dedupe: { key: '[id, s]', ttl: '1h', max_keys: 5000 } },
      { throttle: { interval: '2s', max: 5, key: 's' } },
    ])
  })

  test('a route to sinks', async () => {
    const { pipeline } = await made(
      vector({
        transforms: `r: { type: route, inputs: [in], route: { a: '.k == "a"', b: { type: vrl, source: '.k == "b"' } } }`,
        sinks: `
x: { type: console, inputs: [r.a], encoding: { codec: json } }
y: { type: file, path: y.jsonl, inputs: [r.b], encoding: { codec: json } }
z: { type: file, path: z.jsonl, inputs: [r._unmatched], encoding: { codec: json } }`,
      }),
    )
    expect(pipeline.sinks.map((s: { when: string }) => s.when)).toEqual(['k == "a"', 'k == "b"', '!(k == "a") && !(k == "b")'])
  })

  test('steps on two branches: only if no record is in both', async () => {
    const config = (type: string, routes: string) =>
      vector({
        transforms: `
r: { type: ${type}, inputs: [in], ${routes} }
a: { type: remap, inputs: [r.a], source: ".x = 1" }
b: { type: remap, inputs: [r.b], source: ".y = 1" }`,
        sinks: 'out: { type: console, inputs: [a, b], encoding: { codec: json } }',
      })
    const exclusive = await made(
      config('exclusive_route', `routes: [{ name: a, condition: '.k == "a"' }, { name: b, condition: '.k == "b"' }]`),
    )
    expect(exclusive.pipeline.transforms).toEqual([
      { map: { fields: { x: '1' }, keep: true }, when: 'k == "a"' },
      { map: { fields: { y: '1' }, keep: true }, when: '!(k == "a") && (k == "b")' },
    ])
    const open = await made(config('route', `route: { a: '.k == "a"', b: '.n > 1' }`))
    expect(open.text).toContain('steps form one chain here')
    expect(open.text).not.toContain('y: "1"')
  })

  test('a sink that reads before a step stays as a comment', async () => {
    const { code, text } = await made(
      vector({
        transforms: 't: { type: filter, inputs: [in], condition: ".n > 1" }',
        sinks: `
all: { type: file, path: all.jsonl, inputs: [in], encoding: { codec: json } }
out: { type: console, inputs: [t], encoding: { codec: json } }`,
      }),
    )
    expect(code).toBe(0)
    expect(text).toContain('it reads the records before the step t')
    expect(text).not.toContain('path: all.jsonl')
  })

  test('two sources with steps of their own', async () => {
    const { pipeline } = await made(
      vector({
        sources: `
a: { type: stdin, decoding: { codec: json } }
b: { type: file, include: [b.jsonl], decoding: { codec: json } }`,
        transforms: 't: { type: remap, inputs: [a], source: ".x = 1" }',
        sinks: 'out: { type: console, inputs: [t, b], encoding: { codec: json } }',
      }),
    )
    expect(pipeline.transforms).toEqual([{ map: { fields: { x: '1' }, keep: true }, when: 'meta.source == "a"' }])
  })

  test.each(['sample', 'reduce', 'aggregate', 'lua', 'log_to_metric'])(
    '%s stays as a comment, and the steps after it are translated',
    async type => {
      const { code, text, pipeline } = await made(
        vector({
          transforms: `a: { type: ${type}, inputs: [in], rate: 10 }\nb: { type: filter, inputs: [a], condition: ".n > 1" }`,
          last: 'b',
        }),
      )
      expect(code).toBe(0)
      expect(text).toContain(`#   a: ${type}`)
      expect(pipeline.transforms).toEqual([{ filter: 'n > 1' }])
    },
  )
})

test('a step that would be invalid becomes a comment', async () => {
  const { code, text, pipeline } = await made(
    connect({
      processors: `- mapping: 'root.x = "a" - 1'\n- mapping: root.y = this.z`,
      output: 'kafka: { addresses: ["a:9092"], topic: "not a topic" }',
    }),
  )
  expect(code).toBe(0)
  expect(text).toContain('the step would be invalid')
  expect(text).toContain('the settings would be invalid')
  expect(pipeline).toMatchObject({ transforms: [{ map: { fields: { y: 'z' } } }], sinks: [{ stdout: {} }] })
})

describe('any config', () => {
  const word = fc.constantFrom(
    ...'input output pipeline processors mapping bloblang mutation switch check broker inputs outputs cases fallback dedupe key kafka topics addresses file paths generate sql_insert columns args_mapping sources transforms sinks type inputs remap source filter condition route r'.split(
      ' ',
    ),
    'root = this',
    'root.a = this.b.c("x") | 1',
    '${! json("a") }',
    '.a = .b',
    'if .a { abort',
    '{{ a }}',
    '${X}',
    'r.a',
    'a',
  )
  const { config } = fc.letrec(tie => ({
    config: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      word,
      fc.constantFrom(null, true, 1),
      fc.array(tie('config'), { maxLength: 3 }),
      fc.dictionary(word, tie('config'), { maxKeys: 4 }),
    ),
  }))

  test('is a translation or an error, never an exception', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(word, config), fc.constantFrom('input', 'sources'), async (value, key) => {
        const text = stringify({ [key]: {}, sinks: {}, ...value })
        const result = await translate(text, 'a.yaml', 'a')
        if (typeof result === 'string') expect(result).toContain('a.yaml')
        else {
          const { problems } = await loadText('a.yaml', result.pipeline, { env: result.env })
          expect(problems.filter(p => p.severity === 'error').map(p => p.message)).toEqual([])
        }
      }),
      { numRuns: 300 },
    )
  })

  test('a reason that quotes several lines stays a comment', async () => {
    const processors = `- switch:
    - check: |
        this.a.nothing()
        sinks: []
      processors: [{ mapping: root = this }]`
    const { code, pipeline, text } = await made(connect({ processors }))
    expect(code).toBe(0)
    expect(text).toContain('NOT TRANSLATED')
    expect(pipeline.sinks).toEqual([{ stdout: {} }])
  })

  test('any text of a mapping', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom(
            ...'root this . = if else { } ( ) [ ] "a" 1 + - | ?? -> , : \n let x $x @k deleted() map meta ! match .a .b() == null'.split(
              ' ',
            ),
          ),
          { maxLength: 15 },
        ),
        parts => {
          for (const left of [bloblang(parts.join(' '), false), vrl(parts.join(' '))].flatMap(m => m.left)) expect(left.reason).not.toBe('')
        },
      ),
      { numRuns: 2000 },
    )
  })
})

describe('the command', () => {
  test('files, variables and the way on', async () => {
    const cwd = tempDir({
      'Old Config.yaml': connect({ input: 'kafka_franz: { seed_brokers: ["a:9092"], topics: ["${TOPIC}"], consumer_group: g }' }),
    })
    const runner = startRunner(['new', '--from', 'Old Config.yaml'], { cwd, env: { TOPIC: undefined } })
    await runner.exit(0)
    expect(readdirSync(cwd).sort()).toEqual(['.env.example', 'Old Config.yaml', 'old-config.test.yaml', 'old-config.yaml'])
    expect(readFileSync(join(cwd, '.env.example'), 'utf8')).toContain('TOPIC=\n# KAFKA_BROKERS=a:9092\n')
    expect(runner.stdout).toContain('cp .env.example .env')
    const tested = startRunner(['test', 'old-config.yaml'], { cwd })
    await tested.exit(0)
    const valid = startRunner(['validate', 'old-config.yaml'], { cwd, env: { TOPIC: 'orders' } })
    await valid.exit(0)
  })

  test('--json', async () => {
    const cwd = tempDir({ 'old.yaml': connect({ processors: '- log: { message: x }' }) })
    const runner = startRunner(['new', 'a.yaml', '--from', 'old.yaml', '--json'], { cwd })
    await runner.exit(0)
    expect(JSON.parse(runner.stdout)).toEqual({
      ok: false,
      files: ['a.yaml', 'a.test.yaml'],
      tool: 'Redpanda Connect',
      not_translated: [{ line: 5, what: 'log: …', reason: expect.stringContaining('records are not logged') }],
    })
  })

  test.each([
    ['a: 1', 'old.yaml', 'not a config that runner new reads'],
    ['- a', 'old.yaml', '1:1 a config is a map of keys, and this is a list'],
    ['a: [1', 'old.yaml', 'old.yaml:1:'],
    ['[sources.a]', 'old.toml', 'vector convert-config old.toml old.yaml'],
  ])('%s', async (text, file, message) => {
    const { code, out, pipeline } = await made(text, file)
    expect({ code, pipeline }).toEqual({ code: 2, pipeline: {} })
    expect(out).toContain(message)
  })
})
