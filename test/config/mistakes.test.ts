/** Mistakes of newcomers, and the problems that each of them gives: the position, the beginning of the message and the suggestion. */
import { expect, test } from 'vitest'
import { loadText } from '../../src/config/load.ts'
import { applied } from './applied.ts'

const source = 'sources: [{ file: { path: in.jsonl } }]\n'
const sink = 'sinks: [{ stdout: {} }]\n'
/** A file with the mistake in a source, a transform, a sink, at the top, or in the whole text. */
const FILES: Readonly<Record<string, (text: string) => string>> = {
  src: text => `name: p\nsources:\n  - ${text}\n${sink}`,
  step: text => `name: p\n${source}transforms:\n  - ${text}\n${sink}`,
  snk: text => `name: p\n${source}sinks:\n  - ${text}\n`,
  top: text => `name: p\n${source}${sink}${text}\n`,
  raw: text => text,
}

/** Each problem: `line:column CODE: beginning of the message`, suggestion. */
const MISTAKES: readonly (readonly [kind: string, text: string, ...problems: string[]])[] = [
  ['src', '{ kafka: t }', '3:14 TYPE: must be a map, such as { topics: [ticks.BTCUSDT] }; this is ', ''],
  ['src', 'kafka: { topics: ["ticks*"], group: g }', '3:23 TOPIC: must be a topic name: 1 to 249 of the characters a-z A-Z 0-9', ''],
  [
    'src',
    'kafka: { topic: t, group_id: g }',
    '3:14 UNKNOWN_KEY: unknown key topic; allowed: topics, group, start_at, once, l',
    'topics',
    '3:24 UNKNOWN_KEY: unknown key group_id; allowed: topics, group, start_at, once',
    'group',
  ],
  ['src', 'kafka: { topics: t, group: g }', '3:22 TYPE: must be a list; this is a string: t', '[t]'],
  [
    'src',
    'kafka: { topics: [t], group: g, session_timeout: 30000 }',
    '3:54 DURATION: must be a duration with its unit, such as 500ms, 10s, 1m or ',
    '30s',
  ],
  ['src', 'redis: { channels: [a] }', '3:14 UNKNOWN_KEY: unknown key channels; allowed: patterns, key_from_channel, q', 'patterns'],
  ['src', 'http: { port: "8080x", path: /a }', '3:19 TYPE: must be an integer; this is a string: 8080x', ''],
  ['src', 'http: { port: 8080, path: a }', '3:31 VALUE: has the wrong form: Exact path of the URL; write it as in /e', ''],
  ['src', 'schedule: { cron: "* * *" }', '3:23 CHECK: must have five fields (minute, hour, day, month, weekday), o', ''],
  [
    'src',
    'postgres: { query: select 1 as id, cursor: id, mode: poll, every: 5s }',
    '3:64 UNKNOWN_KEY: unknown key every; allowed: table, query, cursor, start, mod',
    'interval',
  ],
  ['src', 'schedule: { every: 5 }', '3:24 DURATION: must be a duration with its unit, such as 500ms, 10s, 1m or ', '5s'],
  [
    'src',
    'generate: { symbol: { choice: [a] } }',
    '3:5 MISSING_KEY: missing key fields: The fields of the record and how each is',
    'fields: {"symbol":{"choice":["BTCUSDT","ETHUSDT"]},"price":{"walk…',
    '3:17 UNKNOWN_KEY: unknown key symbol; allowed: fields, count, rate, seed, key,',
    '',
  ],
  ['src', 'generate: { fields: { a: 1 } }', '3:30 TYPE: must be a map, such as { value: trade }; this is a number: 1', ''],
  ['src', 'file: in.csv\n    format: csv', '4:5 UNKNOWN_KEY: format belongs to file: indent it below file', ''],
  ['src', 'type: kafka', '3:5 UNKNOWN_PLUGIN: there is no source type: the key of a step is its plugin, an', 'kafka: { … }'],
  ['src', 'kafka', '3:5 STEP: a step is a map with one plugin key, such as kafka: {…}', 'kafka: {}'],
  [
    'src',
    'postgres: { dsn: "postgres://u@h/d", query: select 1 }',
    '3:5 MISSING_KEY: missing key cursor: Column or columns that define the order ',
    'cursor: id',
  ],
  ['src', 'csv: in.csv', '3:5 UNKNOWN_PLUGIN: there is no source csv; the available ones are file, generat', 'file'],
  ['src', 'stdin: { format: json }', '3:22 VALUE: must be one of jsonl, csv, text', 'jsonl'],
  ['step', 'window: 1h', '4:13 TYPE: must be a map, such as { aggregates: { trades: { count: "*" ', ''],
  [
    'step',
    'window: { size: 1 hour, aggregates: { n: { count: "*" } } }',
    '4:21 DURATION: must be a duration with its unit, such as 10s, 1m or 1h30m, ',
    '1h',
  ],
  ['step', 'window: { size: 1m, aggregates: { n: count } }', '4:42 TYPE: must be a map, such as { sum: volume }; this is a string: co', ''],
  [
    'step',
    'window: { size: 1m, group_by: a, aggregates: { n: { count: "*" } } }',
    '4:25 UNKNOWN_KEY: unknown key group_by; allowed: size, align, every, gap, by, ',
    'by',
  ],
  [
    'step',
    'window: { size: 1m, aggregates: { n: { median: a } } }',
    '4:44 UNKNOWN_KEY: unknown key median; allowed: count, sum, min, max, avg, firs',
    '',
  ],
  [
    'step',
    'window: { tumbling: 1m, aggregates: { n: { count: "*" } } }',
    '4:15 UNKNOWN_KEY: unknown key tumbling; allowed: size, align, every, gap, by, ',
    'size',
  ],
  ['step', 'filter: { where: price > 1 }', '4:15 UNKNOWN_KEY: unknown key where; allowed: condition', 'condition'],
  ['step', 'filter: true', '4:13 TYPE: must be a CEL expression; this is a boolean: true', '"true"'],
  ['step', 'filter: price >', '4:20 EXPRESSION: the expression ends too early', ''],
  ['step', 'filter: price === 1', "4:21 EXPRESSION: unexpected '='", '=='],
  ['step', 'filter: not active', "4:17 EXPRESSION: unexpected 'active'", ''],
  ['step', 'filter: price > 1 && ', '4:25 EXPRESSION: the expression ends too early', ''],
  ['step', 'filter: price is null', "4:19 EXPRESSION: unexpected 'is'", '=='],
  ['step', 'filter: price between 1 and 2', "4:19 EXPRESSION: unexpected 'between'", ''],
  ['step', 'filter: len(name) > 1', "4:13 EXPRESSION: unknown function 'len'", 'size(x)'],
  ['step', 'filter: name.length() > 1', "4:18 EXPRESSION: unknown function 'length'", 'size(x)'],
  ['step', 'filter: name like "a%"', "4:18 EXPRESSION: unexpected 'like'", ''],
  ['step', 'filter: meta.timestamp > 1', '4:18 EXPRESSION: meta has no timestamp; it has key, time, topic, partition, o', 'meta.time'],
  ['step', 'map: { k: items[0].id }', '4:20 YAML: unexpected text after the value: put the whole value in quot', ''],
  ['step', 'map: { fields: { k: items[0].id } }', '4:30 YAML: unexpected text after the value: put the whole value in quot', ''],
  ['step', 'map: { fields: { n: round(x, 2) } }', "4:32 EXPRESSION: the expression ends where ')' was expected; inside { } and [", ''],
  [
    'step',
    'map: { fields: { venue: "binance" } }',
    '4:30 warning NO_FIELD: this reads the field binance: YAML removes the quotes. If th',
    '\'"binance"\' for the text',
  ],
  ['step', 'map: { symbol: s }', '4:12 UNKNOWN_KEY: unknown key symbol; allowed: value, fields, keep, drop', ''],
  ['step', 'map: { fields: { a: 1 } }', '4:25 CHECK: must be an expression', '"1"'],
  ['step', 'map: { fields: { a: this.b } }', "4:25 EXPRESSION: 'this' is not defined: the fields of a record are variables", 'b'],
  ['step', 'map: { fields: { a: "a" + "b" } }', '4:29 YAML: unexpected text after the value: put the whole value in quot', ''],
  [
    'step',
    'map: { fields: { t: now() } }',
    "4:25 EXPRESSION: unknown function 'now'",
    'meta.time (there is no clock, because a replay must give the same result)',
  ],
  ['step', 'map: { fields: { t: uuid() } }', "4:25 EXPRESSION: unknown function 'uuid'", ''],
  ['step', 'map: { fields: { a: if(b, 1, 2) } }', "4:25 EXPRESSION: 'if' is not part of the language", 'condition ? a : b'],
  ['step', 'map: { fields: { a: b ?? 1 } }', "4:28 EXPRESSION: unexpected '?'", '.orValue(default)'],
  ['step', 'map: { fields: { a: b ? 1 } }', "4:30 EXPRESSION: the expression ends where ':' was expected", ''],
  ['step', 'map: { fields: { a: "{{b}}" } }', "4:29 EXPRESSION: unexpected '}'", ''],
  ['step', 'map: { fields: { a: ${B} } }', '4:25 YAML: inside [ ] and { }, ', ''],
  ['step', 'map: { fields: { a: "b || 1" } }', '4:31 EXPRESSION: must be true or false here, not an integer', ''],
  ['step', 'mapping: root = this', '4:5 UNKNOWN_PLUGIN: there is no transform mapping; the available ones are bars, ', 'map'],
  ['step', 'bloblang: root = this', '4:5 UNKNOWN_PLUGIN: there is no transform bloblang; the available ones are bars,', 'map'],
  ['step', 'remap: { source: ".a = 1" }', '4:5 UNKNOWN_PLUGIN: there is no transform remap; the available ones are bars, de', 'map'],
  ['step', 'dedupe: { key: $.id }', "4:20 EXPRESSION: unexpected '$.id': a field is written without '$.'", 'id'],
  ['step', 'dedupe: { key: id, ttl: 3600 }', '4:29 DURATION: must be a duration with its unit, such as 500ms, 10s, 1m or ', '3600s'],
  ['step', 'bars: 7m', '4:11 CHECK: interval must be between 1s and 1d and divide 24h evenly, so', '5m'],
  ['step', 'bars: { interval: 1 }', '4:23 DURATION: must be a duration with its unit, such as 10s, 1m or 1h30m, ', '1s'],
  ['step', 'bars: { interval: 1min }', '4:23 DURATION: must be a duration with its unit, such as 10s, 1m or 1h30m, ', '1m'],
  [
    'step',
    'throttle: { rate: 10 }',
    '4:5 MISSING_KEY: missing key interval: Length of an interval',
    'interval: 100ms',
    '4:17 UNKNOWN_KEY: unknown key rate; allowed: interval, max, key, keep, max_fut',
    'max',
  ],
  ['step', 'unnest: items[]', '4:13 FIELD: must be a field path such as price or data.price', ''],
  ['step', 'unnest: $.items', '4:13 FIELD: must be a field path such as price or data.price', 'items'],
  ['step', 'group: { by: a }', '4:14 UNKNOWN_KEY: unknown key by; allowed: key, field, keep, key_as, as, on_em', 'key'],
  ['step', 'rekey: { field: a }', '4:14 UNKNOWN_KEY: unknown key field; allowed: key, allow_null', 'key'],
  [
    'step',
    'lookup: { table: t, key: a }',
    '4:5 MISSING_KEY: missing key query: SELECT for the rows of several keys',
    'query: "select company, spreadsheet, tab from companies where co…',
    '4:5 MISSING_KEY: missing key as: Field of the message that receives the row a',
    'as: config',
    '4:15 UNKNOWN_KEY: unknown key table; allowed: query, key, column, as, many, tt',
    '',
  ],
  ['step', 'sql: select 1', '4:10 TYPE: must be a map, such as { query: "select balance from account', ''],
  ['step', 'validate: { schema: schema.json }', '4:25 TYPE: must be a map, such as { type: object, required: [symbol, pr', ''],
  ['step', 'validate: { schema: { type: objekt } }', '4:33 CHECK: not a JSON Schema: must be one of "array", "boolean", "integ', ''],
  ['step', 'validate: { schema: { typ: object } }', '4:27 CHECK: unknown keyword typ', 'type'],
  ['step', 'kafka: { topic: t }', '4:5 WRONG_SECTION: kafka is a source and a sink, not a transform; plugins for t', ''],
  ['step', 'filtre: price > 1', '4:5 UNKNOWN_PLUGIN: there is no transform filtre; the available ones are bars, d', 'filter'],
  [
    'step',
    'filter: price > 1\n    map: { fields: { a: b } }',
    '5:5 STEP: a step has exactly one plugin, and this step has filter alre',
    '',
  ],
  ['step', 'filter:\n    condition: price > 1', '5:5 UNKNOWN_KEY: condition belongs to filter: indent it below filter', ''],
  ['step', 'filter: price > 1\n      name: x', '4:13 YAML: put a value that contains `: ` in quotes; or indent the next', ''],
  ['step', 'join_latest: { source: nope, key: a, as: b }', '4:28 SOURCE: there is no source nope; the file has file', ''],
  ['snk', 'kafka: { topics: [t] }', '4:14 UNKNOWN_KEY: unknown key topics; allowed: topic, topic_from, key, partiti', 'topic'],
  ['snk', 'kafka: { topic: "a b" }', '4:21 TOPIC: must be a topic name: 1 to 249 of the characters a-z A-Z 0-9', 'a-b'],
  ['snk', 'kafka: { topic: t, topic_from: field:a }', '4:36 CHECK: set either topic or topic_from, not both', ''],
  ['snk', 'kafka: { topic: t, compression: gz }', '4:37 VALUE: must be one of none, gzip, snappy, lz4, zstd', ''],
  ['snk', 'kafka: { topic: t, acks: 2 }', '4:30 TYPE: must be a string; this is a number: 2', '"2"'],
  ['snk', 'http: { url: example.com }', '4:18 VALUE: has the wrong form: Target URL; write it as in https://examp', ''],
  ['snk', 'http: { uri: "https://e.com" }', '4:13 UNKNOWN_KEY: unknown key uri; allowed: url, method, batch, max_batch, max', 'url'],
  ['snk', 'http: { url: "https://e.com", method: FETCH }', '4:43 VALUE: must be one of POST, PUT, PATCH', 'PATCH'],
  ['snk', 'postgres: { table: t }', '4:5 CHECK: set columns to the fields to write to t', ''],
  [
    'snk',
    'postgres: { dsn: "postgres://u@h/d", table: t, columns: [a], key: [b] }',
    '4:72 CHECK: key b must be one of the columns; add it to columns',
    '',
  ],
  ['snk', 'postgres: { table: t, columns: [a], key: a, dsn: "postgres://u@h/d" }', '4:46 TYPE: must be a list; this is a string: a', '[a]'],
  ['snk', 'redis: { key: a }', '4:14 UNKNOWN_KEY: unknown key key; allowed: channel, stream, list, hash, sorte', 'on_foreign_key'],
  ['snk', 'file: { path: out.jsonl.gz }', '4:19 CHECK: the file sink does not compress; remove the compression suff', 'out.jsonl'],
  ['snk', 'stdout', '4:5 STEP: a step is a map with one plugin key, such as kafka: {…}', 'stdout: {}'],
  ['snk', 'stdout: {}\n    from: filter.out', '5:11 FROM: there is no step filter; no step of this pipeline has ports', ''],
  ['snk', 'stdout: {}\n    if: price > 1', '5:5 UNKNOWN_KEY: unknown key if in the step; besides the plugin key, allowed ', 'when'],
  ['snk', 'console: {}', '4:5 UNKNOWN_PLUGIN: there is no sink console; the available ones are file, googl', 'stdout'],
  ['snk', 'dlq: {}', '4:5 UNKNOWN_PLUGIN: there is no sink dlq; the available ones are file, google_sh', ''],
  ['top', 'delivery: exactly-once', '4:11 VALUE: must be one of at_least_once, exactly_once', 'exactly_once'],
  ['top', 'delivery: exactly_once', '4:11 DELIVERY: exactly_once is not possible for file -> stdout: stdout cann', 'at_least_once'],
  ['top', 'delivery: at_most_once', '4:11 VALUE: must be one of at_least_once, exactly_once', 'at_least_once'],
  ['top', 'commit_interval: 5', '4:18 DURATION: must be a duration with its unit, such as 500ms, 10s, 1m or ', '5s'],
  ['top', 'commitInterval: 5s', '4:1 UNKNOWN_KEY: unknown key commitInterval; allowed: name, version, descript', 'commit_interval'],
  ['top', 'metrics: true', '4:10 TYPE: must be a map; this is a boolean: true', ''],
  ['top', 'metrics: 9090', '4:10 TYPE: must be a map; this is a number: 9090', ''],
  ['top', 'metrics: { port: 99999 }', '4:18 VALUE: must be at most 65535', ''],
  ['top', 'dlq: kafka', '4:6 STEP: a step is a map with one plugin key, such as kafka: {…}', 'kafka: {}'],
  ['top', 'dlq: { topic: x }', '4:8 UNKNOWN_PLUGIN: there is no sink topic; the available ones are file, google_', ''],
  ['top', 'dlq: [{ stdout: {} }]', '4:6 STEP: a step is a map with one plugin key, such as kafka: {…}', ''],
  ['top', 'dead_letter_queue: { stdout: {} }', '4:1 UNKNOWN_KEY: unknown key dead_letter_queue; allowed: name, version, descr', 'dlq'],
  ['top', 'retry: { attempts: 3 }', '4:10 UNKNOWN_KEY: unknown key attempts; allowed: initial_delay, max_delay, bre', 'breaker_failures'],
  ['top', 'limits: { memory: 1GB }', '4:11 UNKNOWN_KEY: unknown key memory; allowed: depth, strict, state, messages,', 'state'],
  ['top', 'version: v2', '4:10 TYPE: must be an integer; this is a string: v2', ''],
  ['top', 'version: 1.5', '4:10 TYPE: must be an integer; this is a number: 1.5', ''],
  ['top', 'parallelism: 4', '4:1 UNKNOWN_KEY: unknown key parallelism; allowed: name, version, description', ''],
  ['top', 'logging: { level: debug }', '4:1 UNKNOWN_KEY: unknown key logging; allowed: name, version, description, pl', ''],
  ['top', 'on_error: skip', '4:1 UNKNOWN_KEY: unknown key on_error; allowed: name, version, description, p', ''],
  ['top', 'name: q', '4:1 DUPLICATE_KEY: duplicate key name, also in line 1', ''],
  [
    'raw',
    'sources:\n  - stdin: {}\nsinks:\n  - stdout: {}\n',
    '1:1 MISSING_KEY: missing key name: Name of the pipeline in metrics, logs and ',
    'name: bars',
  ],
  [
    'raw',
    'name: My Pipeline\nsources: [{ file: { path: in.jsonl } }]\nsinks: [{ stdout: {} }]\n',
    '1:7 VALUE: has the wrong form: Name of the pipeline in metrics, logs an',
    '',
  ],
  [
    'raw',
    'name: p\nsources:\n  kafka: { topics: [t], group: g }\nsinks: [{ stdout: {} }]\n',
    '3:3 TYPE: must be a list, such as [{ kafka: { topics: [ticks] } }]; th',
    '',
  ],
  ['raw', 'name: p\nsources: []\nsinks: [{ stdout: {} }]\n', '2:10 VALUE: the list must not be empty', ''],
  [
    'raw',
    'name: p\nsinks: [{ stdout: {} }]\n',
    '1:1 MISSING_KEY: missing key sources: Sources of messages',
    'sources: [{"kafka":{"topics":["ticks"]}}]',
  ],
  [
    'raw',
    'name: p\nsource: { stdin: {} }\nsink: { stdout: {} }\n',
    '2:1 UNKNOWN_KEY: unknown key source; allowed: name, version, description, plu',
    'sources',
    '3:1 UNKNOWN_KEY: unknown key sink; allowed: name, version, description, plugi',
    'sinks',
  ],
  [
    'raw',
    'pipeline:\n  name: p\n',
    '1:1 MISSING_KEY: missing key name: Name of the pipeline in metrics, logs and ',
    'name: bars',
    '1:1 MISSING_KEY: missing key sources: Sources of messages',
    'sources: [{"kafka":{"topics":["ticks"]}}]',
    '1:1 MISSING_KEY: missing key sinks: Destinations of the messages',
    'sinks: [{"kafka":{"topic":"bars"}}]',
    '1:1 UNKNOWN_KEY: unknown key pipeline; allowed: name, version, description, p',
    'transforms',
  ],
  ['raw', 'name: p\nsources:\n\t- stdin: {}\nsinks: [{ stdout: {} }]\n', '3:1 TAB: tab used for indentation; YAML allows only spaces', ''],
  [
    'raw',
    'name: p\nsources:\n  -stdin: {}\nsinks: [{ stdout: {} }]\n',
    '3:3 TYPE: must be a list, such as [{ kafka: { topics: [ticks] } }]; th',
    '',
  ],
  [
    'raw',
    'name:p\nsources: [{ file: { path: in.jsonl } }]\nsinks: [{ stdout: {} }]\n',
    '1:1 YAML: expected `key: value`: check the colon, the space after it, ',
    '',
  ],
  [
    'raw',
    'name: p\nsources: [{ file: { path: in.jsonl } }]\nsources: [{ file: { path: in.jsonl } }]\nsinks: [{ stdout: {} }]\n',
    '3:1 DUPLICATE_KEY: duplicate key sources, also in line 2',
    '',
  ],
  ['raw', '- name: p\n', '1:1 TYPE: a pipeline file is a map with the keys name, sources, sinks,', ''],
  ['raw', 'name: p\nsources: [{ stdin: {} }\nsinks: [{ stdout: {} }]\n', '2:10 YAML: [ is not closed: add ]', ''],
  [
    'raw',
    'name: p\nsources:\n  - stdin: {}\n transforms: []\nsinks: [{ stdout: {} }]\n',
    '4:2 YAML: the indentation matches no line above: all entries of a map ',
    '',
  ],
  [
    'raw',
    '{"name": "p"}',
    '1:2 MISSING_KEY: missing key sources: Sources of messages',
    'sources: [{"kafka":{"topics":["ticks"]}}]',
    '1:2 MISSING_KEY: missing key sinks: Destinations of the messages',
    'sinks: [{"kafka":{"topic":"bars"}}]',
  ],
  [
    'raw',
    'name: p\nsources: &s\n  - stdin: {}\ndefaults: { <<: *s }\nsinks: [{ stdout: {} }]\n',
    '4:1 UNKNOWN_KEY: unknown key defaults; allowed: name, version, description, p',
    '',
    '4:13 MERGE: merge keys are not supported; use an alias for the whole val',
    '',
  ],
  [
    'raw',
    'input:\n  kafka: { addresses: [x] }\npipeline:\n  processors: []\noutput:\n  stdout: {}\n',
    '1:1 MISSING_KEY: missing key name: Name of the pipeline in metrics, logs and ',
    'name: bars',
    '1:1 UNKNOWN_KEY: unknown key input; allowed: name, version, description, plug',
    'sources',
    '3:1 UNKNOWN_KEY: unknown key pipeline; allowed: name, version, description, p',
    'transforms',
    '5:1 UNKNOWN_KEY: unknown key output; allowed: name, version, description, plu',
    'sinks',
  ],
  [
    'raw',
    'sources:\n  in:\n    type: stdin\nsinks:\n  out:\n    type: console\n    inputs: [in]\n',
    '1:1 MISSING_KEY: missing key name: Name of the pipeline in metrics, logs and ',
    'name: bars',
    '2:3 TYPE: must be a list, such as [{ kafka: { topics: [ticks] } }]; th',
    '',
    '5:3 TYPE: must be a list, such as [{ kafka: { topic: bars } }]; this i',
    '',
  ],
]

test.each(MISTAKES)('%s: %s', async (kind, text, ...expected) => {
  const { problems } = await loadText('p.yaml', FILES[kind](text), { env: {} })
  const found = problems.flatMap((p, i) => {
    const all = `${p.line}:${p.column} ${p.severity === 'error' ? '' : 'warning '}${p.code.replace('CONFIG_', '')}: ${p.message}`
    return [all.slice(0, expected[2 * i]?.length), p.suggestion ?? '']
  })
  expect(found).toEqual(expected)
})

test('there are at least 120 of them', () => {
  expect(new Set(MISTAKES.map(([kind, text]) => `${kind} ${text}`)).size).toBeGreaterThanOrEqual(120)
})

test('a fix removes its problem and adds no error of its own', async () => {
  const wrong: string[] = []
  let fixes = 0
  for (const [kind, text] of MISTAKES) {
    const before = FILES[kind](text)
    const { problems } = await loadText('p.yaml', before, { env: {} })
    for (const { fix, code, message, line, column, path } of problems) {
      if (!fix) continue
      fixes++
      const after = (await loadText('p.yaml', applied(before, fix), { env: {} })).problems
      const same = after.some(p => p.code === code && p.line === line && p.column === column && p.message === message)
      // A plugin or a section with the right name is checked only now.
      const yaml = after.some(p => ['CONFIG_YAML', 'CONFIG_KEY', 'CONFIG_TAG', 'CONFIG_TYPE'].includes(p.code) && p.path === path)
      if (same || yaml) wrong.push(`${text} -> ${fix.text}: ${after.map(p => p.message).join('; ')}`)
    }
  }
  expect(wrong).toEqual([])
  expect(fixes).toBeGreaterThan(50)
})
