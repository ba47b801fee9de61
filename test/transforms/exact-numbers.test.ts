/**
 * A number without arithmetic passes every transform digit for digit. Real pipelines, from bytes to bytes; the expected output is
 * put together as text, so nothing here has ever parsed the numbers.
 */
import * as fc from 'fast-check'
import { MemoryChannel, run } from 'pipeline-runner'
import { beforeAll, describe, expect, test } from 'vitest'
import { tempDir } from '../support/runner.ts'

beforeAll(() => {
  process.env.RUNNER_STATE_DIR = tempDir()
})

let count = 0
async function through(
  transforms: unknown,
  records: readonly string[],
  more: object = {},
): Promise<{ lines: string[]; keys: (string | null)[]; dead: string[] }> {
  const [input, out, dead] = [0, 1, 2].map(() => new MemoryChannel({ capacity: 100_000 }))
  const pipeline = await run(
    {
      name: `exact-${++count}`,
      sources: [{ memory: { channel: 'in' } }],
      transforms,
      sinks: [{ memory: { channel: 'out' } }],
      dlq: { memory: { channel: 'dead' } },
      ...more,
    },
    { memory: { in: input, out, dead } },
  )
  await input.send(records.map((payload, i) => ({ payload, key: `key${i}`, time: 1000 + i })))
  input.end()
  await pipeline.completed
  const written = out.take()
  return {
    lines: written.map(r => String(r.payload)),
    keys: written.map(r => r.key),
    dead: dead.take().map(r => String(r.headers?.find(h => h[0] === 'error_message')?.[1])),
  }
}

const digits = (max: number): fc.Arbitrary<string> =>
  fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: max }).map(d => d.join(''))
const number = fc.oneof(
  fc.constantFrom(
    '9007199254740993',
    '12345678901234567.89',
    '1.10',
    '1e400',
    '-0',
    '123456789012345678901234567890',
    '0',
    '1',
    '1.5',
    '-0.0',
    '2E-7',
    '100.0',
  ),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      digits(30).map(d => d.replace(/^0+(?=\d)/, '')),
      fc.option(digits(30), { nil: undefined }),
      fc.option(fc.integer({ min: -300, max: 300 }), { nil: undefined }),
    )
    .map(
      ([sign, whole, fraction, exponent]) =>
        `${sign}${whole}${fraction === undefined ? '' : `.${fraction}`}${exponent === undefined ? '' : `e${exponent}`}`,
    ),
)
/** `id` identifies the record; `n` is any number, `l` a list with others. */
const record = fc.record({ n: number, m: number })
const records = fc.array(record, { minLength: 1, maxLength: 8 })
type Row = { n: string; m: string }
const json = ({ n, m }: Row, i: number): string => `{"id":"r${i}","n":${n},"l":[{"m":${m}},${n}]}`

const CASES: readonly (readonly [title: string, transforms: unknown, expected: (rows: readonly Row[]) => string[]])[] = [
  ['map: keep', [{ map: { keep: true, fields: { seen: 'true' } } }], rows => rows.map((r, i) => `${json(r, i).slice(0, -1)},"seen":true}`)],
  [
    'map: fields',
    [{ map: { fields: { a: 'n', 'b.c': 'l[0].m', d: '[n, l]', e: 'value.?n.orValue(0)' } } }],
    rows => rows.map(({ n, m }) => `{"a":${n},"b":{"c":${m}},"d":[${n},[{"m":${m}},${n}]],"e":${n}}`),
  ],
  ['map: value', [{ map: 'l' }], rows => rows.map(({ n, m }) => `[{"m":${m}},${n}]`)],
  ['map: drop', [{ map: { keep: true, drop: ['id'] } }], rows => rows.map(({ n, m }) => `{"n":${n},"l":[{"m":${m}},${n}]}`)],
  [
    'string()',
    [{ map: { fields: { s: 'string(n)' } } }],
    rows => rows.map(({ n }) => `{"s":"${/^-?[\d.]+$/.test(n) || String(Number(n)) !== n ? n : String(Number(n))}"}`),
  ],
  ['envelope', [{ envelope: { wrap: 'x' } }, { envelope: { unwrap: true } }, { map: 'value' }], rows => rows.map(json)],
  [
    'unnest',
    [{ unnest: { field: 'l', as: 'e', keep: ['n'] } }],
    rows => rows.flatMap(({ n, m }) => [`{"n":${n},"e":{"m":${m}}}`, `{"n":${n},"e":${n}}`]),
  ],
  [
    'group',
    [{ group: { field: 'l', key: '"k"', keep: ['n'], as: 'items', key_as: 'k' } }],
    rows => rows.map(({ n, m }) => `{"k":"k","n":${n},"items":[{"m":${m}},${n}]}`),
  ],
  ['join_latest', [{ join_latest: { table: 'true', key: 'id', as: 'j' } }], () => []],
  ['throttle', [{ throttle: { interval: '1s', keep: 'last', key: 'id' } }], rows => rows.map(json)],
  ['dedupe', [{ dedupe: { key: 'id' } }, { map: 'value' }], rows => rows.map(json)],
  [
    'window: first, last, collect',
    [{ window: { size: '1h', by: '"k"', aggregates: { f: { first: 'n' }, l: { last: 'l' }, c: { collect: 'n' } } } }],
    rows => [
      `{"key":"k","start":0,"end":3600000,"f":${rows[0].n},"l":[{"m":${rows.at(-1)!.m}},${rows.at(-1)!.n}],"c":[${rows.map(r => r.n).join(',')}]}`,
    ],
  ],
  [
    'validate',
    [{ validate: { schema: { type: 'object', properties: { n: { type: 'number' } } } } }, { map: 'value' }],
    rows => rows.map(json),
  ],
]

describe('numbers keep their digits', () => {
  test.each(CASES)('%s', async (_, transforms, expected) => {
    await fc.assert(
      fc.asyncProperty(records, async rows => {
        const { lines, dead } = await through(transforms, rows.map(json))
        expect(dead).toEqual([])
        expect(lines).toEqual(expected(rows))
      }),
      { numRuns: 25 },
    )
  })

  test('rekey writes all digits, and dedupe, group and window compare by value', async () => {
    const rows = ['9007199254740992', '9007199254740993', '1.10', '1.1', '1', '1.0'].map(n => `{"n":${n}}`)
    expect((await through([{ rekey: 'n' }], rows)).keys).toEqual(['9007199254740992', '9007199254740993', '1.10', '1.1', '1', '1.0'])
    expect((await through([{ dedupe: { key: 'n' } }], rows)).lines).toEqual([rows[0], rows[1], rows[2], rows[4]])
    const windows = await through([{ window: { size: '1h', by: 'n', aggregates: { c: { count: '*' } } } }], rows)
    expect(windows.lines.map(l => JSON.parse(l) as { key: string; c: number }).map(w => [w.key, w.c])).toEqual([
      ['1', 2],
      ['1.1', 2],
      ['9007199254740992', 1],
      ['9007199254740993', 1],
    ])
    const list = `{"l":[{"n":9007199254740993,"a":1},{"n":9007199254740992,"a":2},{"n":9007199254740993,"a":1.10}]}`
    expect((await through([{ group: { field: 'l', key: 'n' } }], [list])).lines.length).toBe(2)
  })

  test('sum, min and max of a window are exact', async () => {
    const rows = ['9007199254740993', '9007199254740994', '0.10', '1e30'].map(n => `{"n":${n}}`)
    const window = [{ window: { size: '1h', by: '"k"', aggregates: { s: { sum: 'n' }, lo: { min: 'n' }, hi: { max: 'n' } } } }]
    expect((await through(window, rows)).lines).toEqual([
      '{"key":"k","start":0,"end":3600000,"s":1000000000000018014398509481987.1,"lo":0.10,"hi":1e30}',
    ])
  })

  test('a sum or mean of JSON numbers is a JSON number; with an addend that was text, a result that no double holds is text', async () => {
    const window = [{ window: { size: '1h', by: '"k"', aggregates: { s: { sum: 'n' }, a: { avg: 'n' } } } }]
    const sums = async (...rows: string[]) =>
      (
        await through(
          window,
          rows.map(n => `{"n":${n}}`),
        )
      ).lines.map(l => l.slice(l.indexOf('"s"'), -1))
    expect(await sums('9007199254740992', '0.5', '0.25')).toEqual(['"s":9007199254740992.75,"a":3002399751580330'])
    expect(await sums('9007199254740993', '"0.5"')).toEqual(['"s":"9007199254740993.5","a":4503599627370500'])
    expect(await sums('"0.1"', '"0.2"')).toEqual(['"s":0.3,"a":0.15'])
  })

  test('a join keeps the digits of the table and of the record', async () => {
    const rows = [
      '{"t":true,"id":9007199254740993,"v":1.10}',
      '{"t":false,"id":9007199254740993,"w":-0}',
      '{"t":false,"id":9007199254740992}',
    ]
    const join = [{ join_latest: { table: 't', key: 'id', as: 'j', on_missing: 'pass' } }]
    expect((await through(join, rows)).lines).toEqual([
      '{"t":false,"id":9007199254740993,"w":-0,"j":{"t":true,"id":9007199254740993,"v":1.10}}',
      '{"t":false,"id":9007199254740992,"j":null}',
    ])
  })

  test('a dead letter has step_input with all digits', async () => {
    const transforms = [{ map: { keep: true, fields: { a: 'n' } } }, { map: { fields: { b: 'missing' } } }]
    const { dead } = await through(transforms, ['{"n":12345678901234567.89}'])
    expect(dead).toEqual([expect.stringContaining("field 'missing' is missing")])
  })
})
