/** The types of records: fields that cannot be there are reported, and nothing is claimed where nothing is known. */
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadPipeline, loadText } from '../../../src/config/load.ts'
import type { FlowUse } from '../../../src/config/flow/flow.ts'
import { readPath } from '../../../src/expressions/record-type.ts'
import { defineSource, defineTransform, type Plugin } from '../../../src/contract/plugin.ts'
import { tempDir } from '../../support/runner.ts'
import { marked } from '../marked.ts'

const GENERATE =
  'generate: { fields: { symbol: { choice: [A, B] }, price: { walk: { start: 1, step: 1 } }, volume: { value: 1.5 }, ts: { time: true }, user: { value: { id: 1, name: a, tags: [x] } }, rows: { value: [{ id: 1, amount: "2" }] } } }'
const SINK = 'sinks: [{ stdout: {} }]'
const file = (transforms: readonly string[], sink = SINK, source = GENERATE): string =>
  `name: p\nsources:\n  - ${source}\n${transforms.length > 0 ? `transforms:\n${transforms.map(t => `  - ${t}\n`).join('')}` : ''}${sink}\n`

/** `line:column-end severity suggestion` of each problem. */
async function found(text: string, options: { plugins?: readonly Plugin[]; base?: string } = {}): Promise<string[]> {
  const { problems } = await loadText('p.yaml', text, { env: { A_B: 'x' }, samples: true, ...options })
  return problems
    .filter(p => p.code !== 'CONFIG_LANE_KEY' && p.code !== 'CONFIG_PORT')
    .map(
      p =>
        `${p.line}:${p.column}-${p.endColumn} ${p.code.replace('CONFIG_', '')} ${p.severity}${p.suggestion === undefined ? '' : ` ${p.suggestion}`}`,
    )
}

/** `what`: the text with each expected problem marked, and its suggestion. */
async function expectAt(text: string, expected: readonly string[], options = {}): Promise<void> {
  const { text: plain, places } = marked(text)
  const problems = await found(plain, options)
  expect(problems).toEqual(places.map((place, i) => `${place} ${expected[i]}`))
}

const ABSENT = 'NO_FIELD error'

test.each<[what: string, text: string, ...expected: string[]]>([
  ['filter', file(['filter: «prce» > 1.0']), `${ABSENT} price`],
  ['a nested field', file(['filter: user.«nmae» == "a"']), `${ABSENT} name`],
  ['value.field and an index', file(['filter: value["«prise»"] > 1.0']), `${ABSENT} price`],
  ['an element of a list', file(['map: { fields: { ids: "rows.map(r, r.«amont»)" } }']), `${ABSENT} amount`],
  ['the first element', file(['map: { fields: { a: "rows[0].«amuont»" } }']), `${ABSENT} amount`],
  ['a field of a number', file(['map: { fields: { a: price.«last» } }']), ABSENT],
  ['when of a step', file(['rekey: symbol\n    when: «prize» > 1.0']), `${ABSENT} price`],
  ['when of a sink', file([], 'sinks: [{ stdout: {}, when: «prize» > 1.0 }]'), `${ABSENT} price`],
  ['keyed_by', file([], SINK, `${GENERATE}\n    keyed_by: «symbl»`), `${ABSENT} symbol`],
  ['key of a sink', file([], 'sinks: [{ kafka: { topic: t, key: «symbl» } }]'), `${ABSENT} symbol`],
  ['topic_from', file([], 'sinks: [{ kafka: { topic_from: "field:«symbl»" } }]'), `${ABSENT} symbol`],
  ['a path', file([], 'sinks: [{ file: { path: "out/{day}/{«symbl»}.jsonl" } }]'), `${ABSENT} symbol`],
  ['a key of Redis', file([], 'sinks: [{ redis: { url: "redis://127.0.0.1", channel: "t:<«symbl»>" } }]'), `${ABSENT} symbol`],
  ['a URL', file([], 'sinks: [{ http: { url: "https://example.com/{«symbl»}" } }]'), `${ABSENT} symbol`],
  ['columns', file([], 'sinks: [{ postgres: { dsn: "postgres://u@h/d", table: t, columns: [symbol, «prise»] } }]'), `${ABSENT} price`],
  [
    'a map of columns',
    file([], 'sinks: [{ postgres: { dsn: "postgres://u@h/d", table: t, columns: { a: «prise» } } }]'),
    `${ABSENT} price`,
  ],
  [
    'the fields of bars',
    file([
      'map: { fields: { symbol, price, volume } }'.replaceAll(/(\w+)(?=[,} ]+)(?<=[a-z])/g, (n, _, at) => (at > 16 ? `${n}: ${n}` : n)),
      '«bars»: { interval: 1m }',
    ]),
    ABSENT,
  ],
  ['after bars', file(['bars: { interval: 1m }', 'filter: «clse» > 1.0']), `${ABSENT} close`],
  [
    'window: by, time, a field',
    file(['window: { size: 1m, by: «symbl», time: «tss», aggregates: { a: { avg: «prise» } } }']),
    `${ABSENT} symbol`,
    `${ABSENT} ts`,
    `${ABSENT} price`,
  ],
  [
    'after window',
    file(['window: { size: 1m, by: symbol, aggregates: { mean: { avg: price } } }', 'filter: «man» > 1.0']),
    `${ABSENT} mean`,
  ],
  ['group and unnest', file(['unnest: { field: «row» }']), `${ABSENT} rows`],
  ['an element of unnest', file(['unnest: { field: rows, as: row, keep: [symbol] }', 'rekey: row.«ids»']), `${ABSENT} id`],
  ['the items of group', file(['group: { key: «idd», field: rows }']), `${ABSENT} id`],
  [
    'a field that a step removes from records of an unknown type',
    file(
      [
        'map: { keep: true, drop: [price, user.mail] }',
        'filter: «price» > 1.0 && user.«mail» == "x" && user.name == "y"',
        'map: { keep: true, fields: { price: "1.0" } }',
        'filter: price > 1.0',
      ],
      SINK,
      'stdin: {}',
    ),
    ABSENT,
    ABSENT,
  ],
  [
    'a field that a step removes from some of the records',
    file(['map: { keep: true, drop: [price] }\n    when: live == true', 'filter: price > 1.0'], SINK, 'stdin: {}'),
  ],
  [
    'after join',
    file(
      ['repartition: { by: id }', 'join: { left: a, right: b, key: meta.key, within: 5m }', 'filter: «amount» > 1.0 && left.amount > 1.0'],
      SINK,
      'kafka: { topics: [a], group: g }\n    name: a\n  - kafka: { topics: [b], group: g }\n    name: b',
    ),
    ABSENT,
  ],
  ['after group', file(['group: { key: id, field: rows, key_as: id }', 'filter: size(«itms») > 1']), `${ABSENT} items`],
  ['envelope', file(['envelope: { wrap: me }', 'filter: data.«prise» > 1.0']), `${ABSENT} price`],
  ['envelope and back', file(['envelope: { wrap: me }', 'envelope: { unwrap: true }', 'filter: «prise» > 1.0']), `${ABSENT} price`],
  ['map keep and drop', file(['map: { keep: true, drop: [price], fields: { p: price } }', 'filter: «price» > 1.0']), ABSENT],
  ['drop', file(['map: { keep: true, drop: [«prise»] }']), `${ABSENT} price`],
  [
    'lookup',
    file([
      'lookup: { dsn: "postgres://u@h/d", query: "select c.name as title, k from c where k = any($keys)", key: symbol, as: c }',
      'filter: c.«titel» == "x"',
    ]),
    `${ABSENT} title`,
  ],
  ['sql', file(['sql: { dsn: "postgres://u@h/d", query: select a.f($message) as moved }', 'filter: «movd» == "x"']), `${ABSENT} moved`],
  [
    'join_latest',
    file(
      ['join_latest: { source: quotes, key: symbol, as: q }', 'filter: q.«bidd» > 1.0'],
      SINK,
      `${GENERATE}\n  - name: quotes\n    generate: { fields: { symbol: { value: A }, bid: { value: 1 } } }`,
    ),
    `${ABSENT} bid`,
  ],
  ['a text that YAML unquotes', file(['map: { fields: { venue: "«binance»" } }']), ABSENT],
  ['text and a number', file(['filter: «symbol» > 1']), 'EXPRESSION_TYPE error double(symbol)'],
  ['a number as a condition', file(['filter: «price»']), 'EXPRESSION_TYPE error price > 0.0'],
  [
    'CSV columns are text',
    file(['filter: «price» > 1.0'], SINK, 'file: { path: in.csv, columns: [symbol, price] }'),
    'EXPRESSION_TYPE error double(price)',
  ],
  ['CSV columns', file(['filter: «prize» == "1"'], SINK, 'file: { path: in.csv, columns: [symbol, price] }'), `${ABSENT} price`],
  [
    'a query',
    file(['filter: «prize» == "1"'], SINK, 'postgres: { dsn: "postgres://u@h/d", query: "select id, t.price from t", cursor: id }'),
    `${ABSENT} price`,
  ],
  [
    'a schema',
    file(
      [
        'validate: { schema: { type: object, additionalProperties: false, required: [a], properties: { a: {}, bid: {} } } }',
        'filter: a == «bida»',
      ],
      SINK,
      'stdin: {}',
    ),
    `${ABSENT} bid`,
  ],
  [
    'a field that may be missing',
    file(['validate: { schema: { type: object, properties: { price: {} } } }', 'rekey: «price»'], SINK, 'stdin: {}'),
    'NO_FIELD warning value.?price.orValue(…)',
  ],
  [
    'nearly a declared field',
    file(
      ['validate: { schema: { type: object, required: [company], properties: { company: {} } } }', 'rekey: «compnay»'],
      SINK,
      'stdin: {}',
    ),
    'NO_FIELD warning company',
  ],
  ['a test that never succeeds', file(['filter: has(value.«prise»)']), 'NO_FIELD warning price'],
])('%s', async (_, text, ...expected) => {
  await expectAt(text, expected)
})

test.each([
  ['an unknown source', file(['filter: prce > 1.0'], SINK, 'stdin: {}')],
  [
    'another field in an open schema',
    file(['validate: { schema: { type: object, required: [price] } }', 'filter: price_usd > 1.0'], SINK, 'stdin: {}'),
  ],
  [
    'a guarded field',
    file(
      ['validate: { schema: { type: object, properties: { price: { type: number } } } }', 'filter: has(value.price) && price > 1.0'],
      SINK,
      'stdin: {}',
    ),
  ],
  [
    'an optional read',
    file(
      ['validate: { schema: { type: object, properties: { price: { type: number } } } }', 'filter: value.?price.orValue(0.0) > 1.0'],
      SINK,
      'stdin: {}',
    ),
  ],
  [
    'records of two sources',
    file(
      ['filter: a == 1 || b == 1'],
      SINK,
      'generate: { fields: { a: { value: 1 } } }\n  - name: other\n    generate: { fields: { b: { value: 1 } } }',
    ),
  ],
  [
    'a step with a condition',
    file(['map: { fields: { other: price } }\n    when: price > 1.0', 'filter: has(value.other) || price > 1.0']),
  ],
  [
    'an expression of macros',
    file([
      'map: { fields: { a: "rows.filter(r, r.id > 0).map(r, {\\"id\\": r.id})", b: "cel.bind(x, user, x.name)", c: "rows.exists(r, r.amount == \\"2\\")" } }',
    ]),
  ],
  ['variables', file(['filter: symbol == env.A_B'])],
  ['what a plugin made', file(['filter: anything > 1.0'], SINK, 'kafka: { topics: [t] }')],
  [
    'a select with unknown names',
    file(['sql: { dsn: "postgres://u@h/d", query: "select *, count(*) from t", result: replace }', 'filter: any_name == 1.0']),
  ],
])('nothing is reported: %s', async (_, text) => {
  expect(await found(text)).toEqual([])
})

test.each([
  ['alone', '{ venue: "«binance»" }', 1],
  ['among unquoted expressions', '{ price: p, venue: "«binance»" }', 1],
  ['all are quoted', '{ price: "p", venue: "binance" }', 0],
  ['a field of the same name', '{ binance: "binance" }', 0],
  ['a quoted text', `{ venue: '"binance"' }`, 0],
])('a quoted name in a map of unknown records: %s', async (_, fields, warnings) => {
  const { text, places } = marked(file([`map: { fields: ${fields} }`], SINK, 'stdin: {}'))
  expect(await found(text)).toEqual(Array.from({ length: warnings }, () => `${places[0]} NO_FIELD warning '"binance"' for the text`))
})

describe('a field as a condition', () => {
  const WARNING = (name: string): string => `EXPRESSION_TYPE warning ${name} == true`

  test('is a warning where nothing shows that it is true or false; the file stays valid', async () => {
    const text = file(
      ['{ filter: «live», when: «a.b» }', 'filter: has(value.live)', 'filter: live == true'],
      'sinks: [{ stdout: {}, when: «ok» }]',
      'stdin: {}',
    )
    await expectAt(text, ['live', 'a.b', 'ok'].map(WARNING))
    const { pipeline } = await loadText('p.yaml', marked(text).text, {})
    expect(pipeline).toBeDefined()
  })

  test('is none where the type is known, beside an error too', async () => {
    const booleans = 'generate: { fields: { live: { choice: [true, false] }, price: { value: 1 } } }'
    await expectAt(file(['{ filter: live, when: live }'], SINK, booleans), [])
    await expectAt(file(['filter: live', 'filter: «price»', 'filter: «liv»'], SINK, booleans), [
      'EXPRESSION_TYPE error price > 0.0',
      `${ABSENT} live`,
    ])
  })
})

describe('the header line of a CSV file', () => {
  const using = (path: string, transforms: readonly string[], more = ''): string => file(transforms, SINK, `file: { path: ${path}${more} }`)

  test('gives the columns, which are text', async () => {
    const dir = tempDir({ 'a.csv': 'symbol,price\nA,1\n', 'b.tsv': '# by hand\nsymbol\t"pri""ce"', 'c.csv': 'price,price\n' })
    await expectAt(using(join(dir, 'a.csv'), ['filter: «prise» == "1"', 'filter: «price» > 1.0']), [
      `${ABSENT} price`,
      'EXPRESSION_TYPE error double(price)',
    ])
    await expectAt(using(join(dir, 'b.tsv'), ['filter: «symbl» == "1"', 'filter: value["pri\\"ce"] == ""'], ', comment: "#"'), [
      `${ABSENT} symbol`,
    ])
    await expectAt(using(join(dir, 'c.csv'), ['filter: «price_3» == "1"'], ', header: rename'), [`${ABSENT} price`])
  })

  test('nothing is claimed without one: a missing file, a pattern, a folder, a header that cannot be used, other encodings', async () => {
    const dir = tempDir({ 'a.csv': 'symbol,price\n', 'twice.csv': 'a,a\n', 'empty.csv': '', 'folder.csv/x': '' })
    for (const path of ['no.csv', '*.csv', 'folder.csv', 'twice.csv', 'empty.csv'])
      await expectAt(using(join(dir, path), ['filter: prise == "1"']), [])
    await expectAt(using(join(dir, 'a.csv'), ['filter: prise == "1"'], ', encoding: utf-16le'), [])
  })

  test('a run, and validate --no-plugins, do not read it', async () => {
    const dir = tempDir({ 'a.csv': 'symbol,price\n' })
    const text = using(join(dir, 'a.csv'), ['filter: prise == "1"'])
    for (const options of [{}, { samples: true, noPlugins: true }]) expect((await loadText('p.yaml', text, options)).problems).toEqual([])
  })
})

test('all problems are reported in one round, also after a step with a problem', async () => {
  const text = file(['filter: «prce» > 1.0', 'filter: price >«»', 'rekey: «symbl»'])
  expect(await found(marked(text).text)).toEqual([
    '5:13-17 NO_FIELD error price',
    expect.stringContaining('EXPRESSION error'),
    '7:12-17 NO_FIELD error symbol',
  ])
})

describe('samples', () => {
  const source = 'stdin: {}\n    samples: in.jsonl'
  const base = tempDir()
  writeFileSync(join(base, 'in.jsonl'), '{"price":1,"side":"buy"}\n\n{"price":2}\n')

  test('show the fields; a field of some of them may be missing', async () => {
    await expectAt(file(['filter: «prise» > 1.0'], SINK, source), [`${ABSENT} price`], { base })
    await expectAt(file(['rekey: «side»'], SINK, source), ['NO_FIELD warning value.?side.orValue(…)'], { base })
  })

  test('a file that is missing or not JSON is reported', async () => {
    expect(await found(file([], SINK, 'stdin: {}\n    samples: none.jsonl'), { base })).toEqual(['4:14-24 VALUE error'])
    writeFileSync(join(base, 'bad.jsonl'), '{"price":1}\nprice\n')
    const { problems } = await loadText('p.yaml', file([], SINK, 'stdin: {}\n    samples: bad.jsonl'), { base, samples: true })
    expect(problems.map(p => p.message)).toEqual(['bad.jsonl:2 is not a JSON value; a file of samples has one JSON value per line'])
  })

  test('a run does not read them', async () => {
    expect(
      (await loadText('p.yaml', file(['filter: prise > 1.0'], SINK, 'stdin: {}\n    samples: none.jsonl'), { base })).problems,
    ).toEqual([])
  })
})

describe('plugins declare what they emit', () => {
  const base = { schema: { type: 'object' }, create: () => ({}) as never }
  const ticks = defineSource({
    ...base,
    type: 'ticks',
    replayable: true,
    reason: 'a test',
    outputSchema: { type: 'object', additionalProperties: false, required: ['bid'], properties: { bid: { type: 'number' } } },
  })
  const spread = defineTransform({
    ...base,
    type: 'spread',
    outputSchema: (_config, input: any) => ({ ...input, properties: { ...input.properties, spread: { type: 'number' } } }),
  })
  const opaque = defineTransform({ ...base, type: 'opaque' })

  test('a source and a transform', async () => {
    const options = { plugins: [ticks, spread, opaque] }
    await expectAt(
      file(['filter: «bud» > 1.0', 'spread: {}', 'filter: «spred» > 1.0'], SINK, 'ticks: {}'),
      [`${ABSENT} bid`, `${ABSENT} spread`],
      options,
    )
    expect(await found(file(['opaque: {}', 'filter: spred > 1.0'], SINK, 'ticks: {}'), options)).toEqual([])
  })
})

const shipped = [
  ...globSync('pipelines/*.yaml'),
  ...globSync('examples/**/*.yaml', { exclude: p => p.includes('node_modules') }),
  ...globSync('test/config/corpus/*.yaml'),
]
  .filter(f => !/\.(test|format)\.yaml$/.test(f) && /^sources:/m.test(readFileSync(f, 'utf8')))
  .sort()

/** Swaps the last two letters. */
const misspelt = (name: string): string => (name.at(-1) === name.at(-2) ? name.slice(0, -1) : name.slice(0, -2) + name.at(-1) + name.at(-2))

describe('shipped files', () => {
  test.each(shipped)('%s has no false alarm', async path => {
    const { problems } = await loadPipeline(path, { samples: true })
    expect(problems.filter(p => /NO_FIELD|EXPRESSION_TYPE/.test(p.code))).toEqual([])
  })

  test('each field whose records are known is caught when it is misspelled', async () => {
    let tried = 0
    const missed: string[] = []
    for (const path of shipped) {
      const text = readFileSync(path, 'utf8')
      const uses: FlowUse[] = []
      await loadText(path, text, { onFlow: flow => uses.push(...flow.uses) })
      for (const use of uses) {
        for (const read of use.inferred.reads) {
          const name = read.names.at(-1)!
          if (read.names.length === 0 || name.length < 4 || !['known', 'maybe'].includes(readPath(read.root, read.names).how)) continue
          const { start, end } = read.ranges.at(-1)!
          const wrong = `${use.text.slice(0, start)}${misspelt(name)}${use.text.slice(end)}`
          // The use is at one of the places that have its text.
          const places = [...text.matchAll(new RegExp(`(?<![\\w.])${use.text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?![\\w.])`, 'g'))]
          if (places.length === 0) continue
          tried++
          let caught = false
          for (const { index } of places) {
            const { problems } = await loadText(path, text.slice(0, index) + wrong + text.slice(index + use.text.length))
            caught ||= problems.some(p => p.code === 'CONFIG_NO_FIELD')
          }
          if (!caught) missed.push(`${path}: ${use.step.name}: ${wrong}`)
        }
      }
    }
    expect(missed).toEqual([])
    expect(tried).toBeGreaterThan(20)
  })
})
