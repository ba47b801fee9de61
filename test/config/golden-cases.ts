/** One pipeline file per mistake; `«»` marks where the problem must be. */
export interface Case {
  readonly title: string
  readonly yaml: string
  readonly codes: readonly string[]
  /** Places that cannot have marks (in `--set`). */
  readonly at?: readonly string[]
  readonly file?: string
  readonly suggestions?: readonly (string | undefined)[]
  readonly paths?: readonly string[]
  readonly says?: readonly string[]
  readonly env?: Record<string, string>
  readonly set?: readonly string[]
}

const SOURCE = 'sources: [{ kafka: { topics: [a], group: g } }]\n'
const SINK = 'sinks: [{ kafka: { topic: b } }]\n'
/** A whole pipeline around the lines in question. */
const whole = (lines: string): string => `name: x\n${SOURCE}${SINK}${lines}`
const step = (line: string): string => whole(`transforms:\n  - ${line}\n`)

export const cases: readonly Case[] = [
  { title: 'nothing wrong', yaml: whole(''), codes: [] },

  // YAML.
  { title: 'unclosed list', yaml: 'name: «[»a\n', codes: ['CONFIG_YAML'] },
  { title: 'unclosed list in a map', yaml: 'a: { b: «[»c, d: e }\nf: g\n', codes: ['CONFIG_YAML'] },
  { title: 'bracket too many', yaml: 'a: { b: c«]», d: e }\nf: g\n', codes: ['CONFIG_YAML'] },
  { title: 'brace too many', yaml: 'a: { b: c }«}»\nf: g\n', codes: ['CONFIG_YAML'] },
  { title: 'missing colon', yaml: 'a: 1\n«b 2»\nc: 3\n', codes: ['CONFIG_YAML'], says: ['colon'] },
  { title: 'missing space', yaml: 'a: 1\n«b:2»\nc: 3\n', codes: ['CONFIG_YAML'] },
  { title: 'wrong indentation', yaml: 'a:\n  b: 1\n «c»: 3\n', codes: ['CONFIG_YAML'] },
  { title: 'indented too far', yaml: 'a: «b»\n  c: d\n', codes: ['CONFIG_YAML'] },
  { title: 'colon in a value', yaml: 'a: «b: c»\n', codes: ['CONFIG_YAML'] },
  { title: 'unclosed quote', yaml: 'name: «"»abc\nsources: []\n', codes: ['CONFIG_YAML'] },
  { title: 'reserved character', yaml: 'name: «@»bc\n', codes: ['CONFIG_YAML'] },
  { title: 'all syntax errors at once', yaml: 'name: «@»bc\ndescription: «`»x`\n', codes: ['CONFIG_YAML', 'CONFIG_YAML'] },
  { title: 'tab', yaml: 'sources:\n«\t»- kafka: {}\n', codes: ['CONFIG_TAB'] },
  { title: 'two documents', yaml: `${whole('')}«---»\nname: y\n`, codes: ['CONFIG_DOCUMENTS'] },
  { title: 'empty', yaml: '«#» nothing\n', codes: ['CONFIG_EMPTY'] },
  { title: 'too deep', yaml: `name: ${'['.repeat(127)}«[»${'['.repeat(200)}`, codes: ['CONFIG_LIMIT'] },
  { title: 'duplicate key', yaml: whole('«name»: y\n'), codes: ['CONFIG_DUPLICATE_KEY'], says: ['line 1'] },
  {
    title: 'duplicate key in a plugin',
    yaml: step('bars: { interval: 1m, «interval»: 2m }'),
    codes: ['CONFIG_DUPLICATE_KEY'],
    paths: ['transforms[0].bars.interval'],
  },
  {
    title: 'old name of a key',
    yaml: `name: x\nsources: [{ kafka: { topics: [a], «ssl_ca»: x.pem } }]\n${SINK}`,
    codes: ['CONFIG_OLD_NAME'],
    suggestions: ['tls_ca'],
    paths: ['sources[0].kafka.ssl_ca'],
  },
  {
    title: 'old and new name of a key',
    yaml: `name: x\nsources: [{ kafka: { topics: [a], tls_ca: x.pem, «ssl_ca»: y.pem } }]\n${SINK}`,
    codes: ['CONFIG_DUPLICATE_KEY'],
  },
  { title: 'key that is no string', yaml: whole('«[a]»: b\n'), codes: ['CONFIG_KEY'] },
  { title: 'prototype', yaml: whole('«__proto__»: { a: 1 }\n'), codes: ['CONFIG_KEY'] },
  { title: 'merge key', yaml: step('bars: { «<<»: { interval: 1m }, interval: 1m }'), codes: ['CONFIG_MERGE'] },
  { title: 'tag', yaml: whole('description: «!include »x\n'), codes: ['CONFIG_TAG'] },
  { title: 'unknown anchor', yaml: whole('description: &abc x\nversion: «*abd»\n'), codes: ['CONFIG_ALIAS'], suggestions: ['*abc'] },
  { title: 'a value that contains itself', yaml: whole('plugins: &d [«*d»]\n'), codes: ['CONFIG_ALIAS'] },

  // --set.
  {
    title: 'a use of a name that this file does not have',
    yaml: whole('x-once: [{ filter: a > 1 }]\ntransforms: [{ use: «"#x-onec"» }]\n'),
    codes: ['CONFIG_USE'],
    suggestions: ['"#x-once"'],
  },
  { title: '--set without a value', yaml: whole(''), set: ['name'], codes: ['CONFIG_SET'], at: ['1:1-5'], file: '--set' },
  {
    title: '--set of a key nobody knows',
    yaml: whole(''),
    set: ['sinks[0].kafka.topc=x'],
    codes: ['CONFIG_UNKNOWN_KEY'],
    at: ['1:16-20'],
    file: '--set',
    suggestions: ['topic'],
  },
  { title: '--set into nothing', yaml: whole(''), set: ['sinks[3].kafka.topic=x'], codes: ['CONFIG_SET'], at: ['1:7-8'], file: '--set' },
  {
    title: '--set into a section that is not there',
    yaml: whole(''),
    set: ['sink[0].kafka.topic=x'],
    codes: ['CONFIG_SET'],
    at: ['1:1-5'],
    file: '--set',
    suggestions: ['sinks'],
  },
  {
    title: '--set of a bad value',
    yaml: whole(''),
    set: ['commit_interval=5 sec'],
    codes: ['CONFIG_DURATION'],
    at: ['1:17-22'],
    file: '--set',
    suggestions: ['5s'],
  },
  {
    title: '--set with dots for an index',
    yaml: whole(''),
    set: ['sinks.0.kafka.topic=x', 'metrics.port=9000', 'description=a: b', 'version=3'],
    codes: [],
  },

  // Environment.
  {
    title: 'missing variable',
    yaml: whole('description: in ${«»HOME_TWON}\n').replace('${«»HOME_TWON}', '«${HOME_TWON}»'),
    env: { HOME_TOWN: 'x' },
    codes: ['CONFIG_ENV_MISSING'],
    suggestions: ['${HOME_TOWN}'],
  },
  {
    title: 'missing variable in a double-quoted text with escapes',
    yaml: whole('description: "a\\tb\\u00e9 «${NOPE}» c"\n'),
    codes: ['CONFIG_ENV_MISSING'],
  },
  { title: 'missing variable in a block', yaml: whole('description: >\n  one\n  two «${NOPE}» three\n'), codes: ['CONFIG_ENV_MISSING'] },
  {
    title: 'missing variables, each once',
    yaml: whole('description: «${A_A}» «${B_B}»\nversion: «${C_C}»\n'),
    codes: ['CONFIG_ENV_MISSING', 'CONFIG_ENV_MISSING', 'CONFIG_ENV_MISSING'],
  },
  { title: 'never closed reference', yaml: whole('description: a «${NOPE»\n'), codes: ['CONFIG_ENV_SYNTAX'] },
  { title: 'reference that is none', yaml: whole('description: a «${NO-PE}»\n'), codes: ['CONFIG_ENV_SYNTAX'] },
  { title: 'escaped reference', yaml: whole('description: a $${NOPE\n'), codes: [] },
  { title: 'missing file', yaml: whole('description: «${file:none.txt}»\n'), codes: ['CONFIG_ENV_FILE'] },
  { title: 'binary file', yaml: whole('description: «${file:binary}»\n'), codes: ['CONFIG_ENV_FILE'] },
  {
    title: 'text of a variable that is no number',
    yaml: whole('version: «${V}»\n'),
    env: { V: 'abc' },
    codes: ['CONFIG_TYPE'],
    says: ['${V}'],
  },
  {
    title: 'text of a secret variable stays secret',
    yaml: whole('version: «${MY_TOKEN}»\n'),
    env: { MY_TOKEN: 'abc' },
    codes: ['CONFIG_TYPE'],
  },
  { title: 'default of a reference is checked too', yaml: whole('commit_interval: «"${V:-5}"»\n'), codes: ['CONFIG_DURATION'] },
  {
    title: 'missing variable in a step that is off',
    yaml: step('bars: { interval: 1m, gap_limit: "${NOPE}" }\n    enabled: ${ON:-false}'),
    codes: [],
  },

  // Frame.
  { title: 'not a map', yaml: '«-» a\n', codes: ['CONFIG_TYPE'] },
  { title: 'typo in a key', yaml: whole('«versoin»: 2\n'), codes: ['CONFIG_UNKNOWN_KEY'], suggestions: ['version'], paths: ['versoin'] },
  {
    title: 'typo in a required key is one problem',
    yaml: whole('').replace('name:', '«nmae»:'),
    codes: ['CONFIG_UNKNOWN_KEY'],
    suggestions: ['name'],
  },
  {
    title: 'missing required key',
    yaml: `«sources»: [{ kafka: { topics: [a], group: g } }]\n${SINK}`,
    codes: ['CONFIG_MISSING_KEY'],
    paths: ['name'],
  },
  { title: 'number in quotes', yaml: whole('version: «"2"»\n'), codes: ['CONFIG_TYPE'], suggestions: ['2'] },
  { title: 'text for a number', yaml: whole('max_in_flight: «many»\n'), codes: ['CONFIG_TYPE'], suggestions: [undefined] },
  { title: 'number for a text', yaml: whole('').replace('name: x', 'name: «12»'), codes: ['CONFIG_TYPE'], suggestions: ['"12"'] },
  { title: 'bad name', yaml: whole('').replace('name: x', 'name: «X y»'), codes: ['CONFIG_VALUE'] },
  { title: 'no value', yaml: whole('«description»:\n'), codes: ['CONFIG_TYPE'], says: ['the value is missing'] },
  { title: 'map for a list', yaml: `name: x\n${SINK}sources:\n  «kafka»: { topics: [a] }\n`, codes: ['CONFIG_TYPE'] },
  { title: 'empty list', yaml: `name: x\n${SINK}sources: «[]»\n`, codes: ['CONFIG_VALUE'] },
  { title: 'not one of the words', yaml: whole('delivery: «exactly-once»\n'), codes: ['CONFIG_VALUE'], suggestions: ['exactly_once'] },
  { title: 'too small', yaml: whole('max_in_flight: «0»\n'), codes: ['CONFIG_VALUE'], says: ['at least 1'] },
  { title: 'bad port in metrics', yaml: whole('metrics: { port: «70000» }\n'), codes: ['CONFIG_VALUE'], paths: ['metrics.port'] },
  { title: 'duration without unit', yaml: whole('commit_interval: «5»\n'), codes: ['CONFIG_DURATION'], suggestions: ['5s'] },
  { title: 'duration in words', yaml: whole('retry: { max_delay: «5 minutes» }\n'), codes: ['CONFIG_DURATION'], suggestions: ['5m'] },
  { title: 'duration with a slip', yaml: whole('shutdown_timeout: «30ss»\n'), codes: ['CONFIG_DURATION'], suggestions: ['30s'] },
  {
    title: 'many at once, in order',
    yaml: whole('«versoin»: 2\nmax_in_flight: «x»\ncommit_interval: «5 sec»\n«foo»: 1\n'),
    codes: ['CONFIG_UNKNOWN_KEY', 'CONFIG_TYPE', 'CONFIG_DURATION', 'CONFIG_UNKNOWN_KEY'],
  },

  // Steps.
  { title: 'text for a step', yaml: step('«bars»'), codes: ['CONFIG_STEP'], suggestions: ['bars: {}'] },
  { title: 'step without a plugin', yaml: step('«{ name: a }»'), codes: ['CONFIG_STEP'] },
  { title: 'two plugins in a step', yaml: step('filter: price > 1.0\n    «bars»: { interval: 1m }'), codes: ['CONFIG_STEP'] },
  {
    title: 'key of the plugin beside it',
    yaml: step('bars: 1m\n    «allowed_lateness»: 2s'),
    codes: ['CONFIG_UNKNOWN_KEY'],
    says: ['indent'],
  },
  {
    title: 'every key of the plugin beside it',
    yaml: `name: x\n${SINK}sources:\n  - kafka:\n    «topics»: [a]\n    «group»: g\n`,
    codes: ['CONFIG_UNKNOWN_KEY', 'CONFIG_UNKNOWN_KEY'],
  },
  {
    title: 'typo in a key that its default has put in',
    yaml: `name: x\n${SOURCE}sinks: [{ kafka: { topic_from: source, «create_topic»: false } }]\n`,
    codes: ['CONFIG_UNKNOWN_KEY'],
    suggestions: ['create_topics'],
  },
  { title: 'typo in a common key', yaml: step('bars: 1m\n    «nmae»: b'), codes: ['CONFIG_UNKNOWN_KEY'], suggestions: ['name'] },
  { title: 'unknown plugin', yaml: step('«fliter»: price > 1.0'), codes: ['CONFIG_UNKNOWN_PLUGIN'], suggestions: ['filter'] },
  { title: 'transform as a source', yaml: `name: x\n${SINK}sources:\n  - «bars»: { interval: 1m }\n`, codes: ['CONFIG_WRONG_SECTION'] },
  {
    title: 'typo in a plugin key',
    yaml: step('bars: { interval: 1m, «allowed_latness»: 2s }'),
    codes: ['CONFIG_UNKNOWN_KEY'],
    suggestions: ['allowed_lateness'],
    paths: ['transforms[0].bars.allowed_latness'],
  },
  {
    title: 'camel case',
    yaml: step('bars: { interval: 1m, «allowedLateness»: 2s }'),
    codes: ['CONFIG_UNKNOWN_KEY'],
    suggestions: ['allowed_lateness'],
  },
  {
    title: 'missing key of a plugin',
    yaml: step('«bars»: { on_late: dlq }'),
    codes: ['CONFIG_MISSING_KEY'],
    paths: ['transforms[0].bars.interval'],
  },
  { title: 'plugin without config that needs one', yaml: step('«bars»:'), codes: ['CONFIG_MISSING_KEY'] },
  {
    title: 'short form with a bad value',
    yaml: step('bars: «1 minute»'),
    codes: ['CONFIG_DURATION'],
    suggestions: ['1m'],
    paths: ['transforms[0].bars'],
  },
  { title: 'size', yaml: whole('').replace('group: g', 'group: g, max_bytes: «5 megs»'), codes: ['CONFIG_SIZE'] },
  {
    title: 'size in lower case',
    yaml: whole('').replace('group: g', 'group: g, max_bytes: «5mib»'),
    codes: ['CONFIG_SIZE'],
    suggestions: ['5MiB'],
  },
  { title: 'topic', yaml: whole('').replace('topic: b', 'topic: «"b c"»'), codes: ['CONFIG_TOPIC'], suggestions: ['b-c'] },
  {
    title: 'topic in a list',
    yaml: whole('').replace('topics: [a]', 'topics: [a, «b/c»]'),
    codes: ['CONFIG_TOPIC'],
    paths: ['sources[0].kafka.topics[1]'],
  },
  { title: 'text for a list', yaml: whole('').replace('topics: [a]', 'topics: «a»'), codes: ['CONFIG_TYPE'], suggestions: ['[a]'] },
  { title: 'field', yaml: step('bars: { interval: 1m, fields: { price: «.p» } }'), codes: ['CONFIG_FIELD'], suggestions: ['p'] },
  { title: 'field through the prototype', yaml: step('bars: { interval: 1m, fields: { price: «a.__proto__» } }'), codes: ['CONFIG_FIELD'] },

  {
    title: 'identifier and timestamp',
    yaml: whole('plugins: [table.ts]\ntransforms:\n  - table: { name: «a b», since: «yesterday» }\n'),
    codes: ['CONFIG_IDENTIFIER', 'CONFIG_TIMESTAMP'],
    suggestions: ['a_b', undefined],
  },

  // Names and wiring.
  { title: 'bad step name', yaml: step('bars: 1m\n    name: «A b»'), codes: ['CONFIG_VALUE'] },
  { title: 'name twice', yaml: step('bars: 1m\n    name: a\n  - filter: count > 1.0\n    name: «a»'), codes: ['CONFIG_DUPLICATE_NAME'] },
  {
    title: 'a setting that names a source which is not there',
    yaml: `name: x\nsources:\n  - kafka: { topics: [a] }\n  - file: { path: a.jsonl }\ntransforms:\n  - reconcile: { left: kafka, right: «fiel», key: id }\n${SINK}`,
    codes: ['CONFIG_SOURCE'],
    suggestions: ['file'],
  },
  {
    title: 'a setting that names a source which is switched off',
    yaml: `name: x\nsources:\n  - kafka: { topics: [a] }\n  - file: { path: a.jsonl }\n    enabled: false\ntransforms:\n  - reconcile: { left: kafka, right: «file», key: id }\n${SINK}`,
    codes: ['CONFIG_SOURCE'],
    says: ['disabled'],
  },
  {
    title: 'from an unknown step',
    yaml: `name: x\n${SOURCE}transforms:\n  - filter: price > 0.0\nsinks:\n  - kafka: { topic: b }\n    from: «fitler.late»\n`,
    codes: ['CONFIG_FROM'],
    suggestions: ['filter.late'],
  },
  {
    title: 'from a step without that port',
    yaml: `name: x\n${SOURCE}plugins: [splits.ts]\ntransforms:\n  - splits: {}\nsinks:\n  - kafka: { topic: b }\n    from: «splits.lefft»\n`,
    codes: ['CONFIG_PORT'],
    suggestions: ['splits.left'],
  },
  {
    title: 'from a port that is there',
    yaml: `name: x\n${SOURCE}plugins: [splits.ts]\ntransforms:\n  - splits:\nsinks:\n  - kafka: { topic: b }\n    from: splits.left\n  - kafka: { topic: c }\n    from: splits.right\n`,
    codes: [],
  },
  {
    title: 'a port that no sink takes',
    yaml: `name: x\n${SOURCE}plugins: [splits.ts]\ntransforms:\n  - «splits»:\nsinks:\n  - kafka: { topic: b }\n    from: splits.left\n`,
    codes: ['CONFIG_PORT'],
    says: ['no sink reads splits.right'],
  },
  {
    title: 'the port of validate',
    yaml: `name: x\n${SOURCE}transforms:\n  - validate: { schema: { type: object }, on_invalid: port }\nsinks:\n  - kafka: { topic: b }\n  - kafka: { topic: c }\n    from: validate.invalid\n`,
    codes: [],
  },
  {
    title: 'the port of validate, which it has to be given',
    yaml: `name: x\n${SOURCE}transforms:\n  - validate: { schema: { type: object } }\nsinks:\n  - kafka: { topic: b }\n  - kafka: { topic: c }\n    from: «validate.invalid»\n`,
    codes: ['CONFIG_PORT'],
    says: ['on_invalid: port'],
  },
  {
    title: 'a branch to a sink that is not there',
    yaml: `name: x\n${SOURCE}transforms:\n  - route: [{ name: a, when: size > 1, to: «alert» }]\nsinks:\n  - kafka: { topic: b }\n  - kafka: { topic: c }\n    name: alerts\n`,
    codes: ['CONFIG_BRANCH'],
    suggestions: ['alerts'],
  },
  {
    title: 'from without a port',
    yaml: `name: x\n${SOURCE}transforms:\n  - bars: 1m\nsinks:\n  - kafka: { topic: b }\n    from: «bars»\n`,
    codes: ['CONFIG_VALUE'],
  },
  {
    title: 'from a sink',
    yaml: `name: x\n${SOURCE}sinks:\n  - kafka: { topic: b }\n    name: out\n  - kafka: { topic: c }\n    from: «out.late»\n`,
    codes: ['CONFIG_FROM'],
  },
  {
    title: 'from a step that is off',
    yaml: `name: x\n${SOURCE}plugins: [splits.ts]\ntransforms:\n  - splits: {}\n    enabled: false\nsinks:\n  - kafka: { topic: b }\n    from: «splits.left»\n`,
    codes: ['CONFIG_FROM'],
  },
  {
    title: 'every source off',
    yaml: `name: x\n«sources»: [{ kafka: { topics: [a] }, enabled: false }]\n${SINK}`,
    codes: ['CONFIG_DISABLED'],
  },

  // Expressions.
  { title: 'unknown function', yaml: step('filter: 1.0 < «prize»(price)'), codes: ['CONFIG_EXPRESSION'] },
  {
    title: 'operand types',
    yaml: step('map: { fields: { a: «1.0 + "b"» } }'),
    codes: ['CONFIG_EXPRESSION'],
    paths: ['transforms[0].map.fields.a'],
  },
  {
    title: 'a field that no record has',
    yaml: step('map: { fields: { price: p } }\n  - filter: «prce» > 1.0'),
    codes: ['CONFIG_NO_FIELD'],
    suggestions: ['price'],
  },
  { title: 'condition that is none', yaml: step('filter: «1 + 1»'), codes: ['CONFIG_EXPRESSION_TYPE'] },
  {
    title: 'when that is none',
    yaml: step("bars: 1m\n    when: «\"'a' + 'b'\"»"),
    codes: ['CONFIG_EXPRESSION_TYPE'],
    paths: ['transforms[0].when'],
  },
  {
    title: 'expression in double quotes with escapes',
    yaml: step('filter: "\\"a\\" == symbol && «nope»(symbol)"'),
    codes: ['CONFIG_EXPRESSION'],
  },
  {
    title: 'expression in single quotes with escapes',
    yaml: step("filter: '''a'' == symbol && «nope»(symbol)'"),
    codes: ['CONFIG_EXPRESSION'],
  },
  {
    title: 'expression in a literal block',
    yaml: step('filter: |\n      price > 1.0\n        && «nope»(symbol)'),
    codes: ['CONFIG_EXPRESSION'],
  },
  {
    title: 'expression in a folded block',
    yaml: step('filter: >-\n      price > 1.0\n      && «nope»(symbol)'),
    codes: ['CONFIG_EXPRESSION'],
  },
  {
    title: 'expression over several plain lines',
    yaml: step('filter: price > 1.0\n      && «nope»(symbol)'),
    codes: ['CONFIG_EXPRESSION'],
  },
  {
    title: 'expression with a variable before the mistake',
    yaml: step('filter: price > decimal(env.MIN) && «nope»(symbol)'),
    env: { MIN: '100000.0' },
    codes: ['CONFIG_EXPRESSION'],
  },
  {
    title: 'a variable inside an expression',
    yaml: step('filter: price > «${MIN}»'),
    env: { MIN: 'nope(1)' },
    codes: ['CONFIG_EXPRESSION'],
  },

  {
    title: 'expression that ends too early, in a block',
    yaml: step('filter: |\n      price > 1.0 &&\n        symbol ==«\n»\n').replace('«\n»', '\n'),
    codes: ['CONFIG_EXPRESSION'],
    at: ['7:18-19'],
  },

  // Plugins.
  {
    title: 'plugin file that is not there',
    yaml: whole('plugins: [«none.ts»]\n'),
    codes: ['CONFIG_PLUGIN_FILE'],
    says: ['does not exist'],
  },
  { title: 'plugin file that throws', yaml: whole('plugins: [«throws.js»]\n'), codes: ['CONFIG_PLUGIN_FILE'], says: ['no luck'] },
  {
    title: 'plugin file without a plugin',
    yaml: whole('plugins: [«nothing.js»]\n'),
    codes: ['CONFIG_PLUGIN_FILE'],
    says: ['default export'],
  },
  { title: 'plugin of a wrong shape', yaml: whole('plugins: [«shape.js»]\n'), codes: ['CONFIG_PLUGIN_FILE'], says: ['schema'] },
  {
    title: 'plugin whose schema does not compile',
    yaml: whole('plugins: [«schema.js»]\n'),
    codes: ['CONFIG_PLUGIN_FILE'],
    says: ['schema'],
  },
  { title: 'plugin file of another kind', yaml: whole('plugins: [«a.json»]\n'), codes: ['CONFIG_PLUGIN_FILE'] },
  { title: 'plugin of a built-in name', yaml: whole('plugins: [«clash.js»]\n'), codes: ['CONFIG_PLUGIN_CLASH'] },
  { title: 'plugin given twice', yaml: whole('plugins: [splits.ts, «./splits.ts»]\n'), codes: ['CONFIG_PLUGIN_CLASH'] },

  // Whole configs.
  { title: 'check of a value', yaml: step('bars: { interval: «7m» }'), codes: ['CONFIG_CHECK'], paths: ['transforms[0].bars.interval'] },
  { title: 'check of a short form', yaml: step('bars: «7m»'), codes: ['CONFIG_CHECK'], paths: ['transforms[0].bars'] },
  {
    title: 'check of a user plugin',
    yaml: whole('plugins: [checks.ts]\ntransforms:\n  - checks: { low: 2, high: «1» }\n  - «checks»: {}\n'),
    codes: ['CONFIG_CHECK', 'CONFIG_CHECK'],
  },
  {
    title: 'exactly once from a source that forgets',
    yaml: `name: x\nplugins: [forgets.ts]\nsources: [{ forgets: {} }]\n${SINK}delivery: «exactly_once»\n`,
    codes: ['CONFIG_DELIVERY'],
    says: ['cannot be read again', 'forgets'],
    suggestions: ['at_least_once'],
  },
  {
    title: 'a window by something else than its records are kept together by',
    yaml: whole('transforms:\n  - «window»: { size: 1m, by: user, aggregates: { n: { count: "*" } } }\n').replace(
      'group: g }',
      'group: g }, keyed_by: account',
    ),
    codes: ['CONFIG_LANE_KEY'],
    says: ['keyed_by', 'repartition: { by: user }'],
  },
  {
    title: 'everything in one round: schema, plugin check, names of sources and delivery, each at its place',
    yaml: `name: x
sources:
  - kafka: { topics: [a], «tpoics»: [b], session_timeout: «10ms» }
transforms:
  - reconcile: { left: kafka, right: «nowhere», key: k }
  - filter: price > «nope»(1)
sinks:
  - redis: { list: l, hash: «h», max_length: «many» }
delivery: «exactly_once»
`,
    codes: ['CONFIG_UNKNOWN_KEY', 'CONFIG_CHECK', 'CONFIG_SOURCE', 'CONFIG_EXPRESSION', 'CONFIG_CHECK', 'CONFIG_TYPE', 'CONFIG_DELIVERY'],
    says: ['tpoics', 'must be at least 1s', 'nowhere', 'nope', 'set either list', 'must be an integer', 'kafka -> redis'],
  },
  {
    title: 'what a plugin says because of a key that is wrong is not said',
    yaml: `name: x\n${SOURCE}sinks:\n  - redis: { sorted_set: s, score: «5» }\n  - kafka: { «topik»: b }\n`,
    codes: ['CONFIG_TYPE', 'CONFIG_UNKNOWN_KEY'],
  },
  {
    title: 'exactly once into a sink without transactions',
    yaml: whole('delivery: «exactly_once»\n').replace('kafka: { topic: b }', 'stdout: {}'),
    codes: ['CONFIG_DELIVERY'],
    says: ['kafka -> stdout'],
  },
  {
    title: 'exactly once from one cluster to another: the position goes into the transaction of the output',
    yaml: whole('delivery: exactly_once\n').replace('topic: b', 'topic: b, brokers: "other:9092"'),
    codes: [],
  },
  {
    title: 'exactly once with a dlq elsewhere, which may repeat',
    yaml: whole('delivery: exactly_once\ndlq: { kafka: { topic: d, brokers: "other:9092" } }\n'),
    codes: [],
  },
  { title: 'exactly once that holds', yaml: whole('delivery: exactly_once\ndlq: { kafka: { topic: d } }\n'), codes: [] },
]
