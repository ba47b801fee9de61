/** Mistakes of users of other tools and of first files: the position and the fix. */
import { expect, test } from 'vitest'
import { loadText } from '../../src/config/load.ts'

const source = 'sources: [{ file: { path: in.jsonl } }]\n'
const sink = 'sinks: [{ stdout: {} }]\n'
const step = (text: string): string => `name: p\n${source}transforms:\n  - ${text}\n${sink}`

/** Each problem as `line:column [the text there] => suggestion`. */
async function problemsOf(text: string): Promise<string[]> {
  const { problems } = await loadText('p.yaml', text, { env: {} })
  return problems.map(
    p => `${p.line}:${p.column} ${p.code.replace('CONFIG_', '')} => ${p.suggestion ?? /such as .*(?=; this)/.exec(p.message)?.[0] ?? '-'}`,
  )
}

test.each<[what: string, text: string, ...expected: string[]]>([
  [
    'Benthos: input, pipeline, output',
    `name: p\ninput: { stdin: {} }\npipeline: []\noutput: { stdout: {} }\n`,
    '2:1 UNKNOWN_KEY => sources',
    '3:1 UNKNOWN_KEY => transforms',
    '4:1 UNKNOWN_KEY => sinks',
  ],
  [
    'Benthos: seed_brokers, consumer_group',
    `name: p\nsources: [{ kafka: { topics: [t], seed_brokers: [x], consumer_group: g } }]\n${sink}`,
    '2:35 UNKNOWN_KEY => brokers',
    '2:54 UNKNOWN_KEY => group',
  ],
  [
    'Kafka: bootstrap.servers, auto.offset.reset',
    `name: p\nsources: [{ kafka: { topics: [t], group: g, bootstrap.servers: x, auto.offset.reset: earliest } }]\n${sink}`,
    '2:45 UNKNOWN_KEY => brokers',
    '2:67 UNKNOWN_KEY => start_at',
  ],
  ['a step with a type', step('type: filter'), '4:5 UNKNOWN_PLUGIN => filter: { … }'],
  ['a step with a type of another section', step('type: kafka'), '4:5 UNKNOWN_PLUGIN => -'],
  ['a source given only as its topic', `name: p\nsources: [{ kafka: ticks }]\n${sink}`, '2:20 TYPE => such as { topics: [ticks.BTCUSDT] }'],
  [
    'a sink given only as its address',
    `name: p\n${source}sinks: [{ http: x }]\n`,
    '3:17 TYPE => such as { url: https://example.com/hooks/trades }',
  ],
  ['drop and set as steps', step('drop: [a]\n  - set: { a: b }'), '4:5 UNKNOWN_PLUGIN => map', '5:5 UNKNOWN_PLUGIN => map'],
  [
    'join: on, window, how',
    step('join: { left: file, right: file, on: id, window: 5m, how: inner }'),
    '4:38 UNKNOWN_KEY => key',
    '4:46 UNKNOWN_KEY => within',
    '4:58 UNKNOWN_KEY => type',
  ],
  [
    'window: key, mean',
    step('window: { size: 1m, key: a, aggregates: { m: { mean: b } } }'),
    '4:25 UNKNOWN_KEY => by',
    '4:52 UNKNOWN_KEY => avg',
  ],
  [
    'window: grace, slide',
    step('window: { size: 1m, slide: 10s, grace: 1s, aggregates: { n: { count: "*" } } }'),
    '4:25 UNKNOWN_KEY => every',
    '4:37 UNKNOWN_KEY => allowed_lateness',
  ],
  ['dedupe: by', step('dedupe: { by: id }'), '4:15 UNKNOWN_KEY => key'],
  ['this.field, as in Bloblang', step('filter: this.price > 1'), '4:13 EXPRESSION => price'],
  ['this.field alone', step('map: { fields: { a: this.price } }'), '4:25 EXPRESSION => price'],
  ['.field, as in VRL and jq', step('filter: .price > 1'), '4:13 EXPRESSION => price'],
  ['$.field, as in JSONPath', step('dedupe: { key: $.user.id }'), '4:20 EXPRESSION => user.id'],
  ['and, as in SQL', step('filter: price > 1 and volume > 2'), '4:23 EXPRESSION => &&'],
  ['=, as in SQL', step('filter: price = 1'), '4:19 EXPRESSION => =='],
  ['<>, as in SQL', step('filter: price <> 1'), '4:20 EXPRESSION => !='],
  ['a metadata field that does not exist', step('map: { fields: { t: meta.timestamp } }'), '4:30 EXPRESSION => meta.time'],
  [
    'a clock',
    step('map: { fields: { t: now() } }'),
    '4:25 EXPRESSION => meta.time (there is no clock, because a replay must give the same result)',
  ],
  ['a YAML map trap', step('map: { fields: { k: items[0].id } }'), '4:30 YAML => -'],
  ['an unterminated text', step(`filter: 'side == "buy'`), '4:22 EXPRESSION => -'],
  ['a variable as code', step('filter: price > ${MIN}'), '4:21 EXPRESSION => price > decimal(env.MIN)'],
])('%s', async (_, text, ...expected) => {
  expect(await problemsOf(text)).toEqual(expect.arrayContaining(expected))
})
