/** The statements of `explain` about numbers, compared with the output of the pipeline. */
import { explain, MemoryChannel, run } from 'pipeline-runner'
import { beforeAll, describe, expect, test } from 'vitest'
import type { NumberKind } from '../../src/explain/numbers.ts'
import { tempDir } from '../support/runner.ts'

beforeAll(() => {
  process.env.RUNNER_STATE_DIR = tempDir()
})

let count = 0
const pipeline = (transforms: readonly object[]) => ({
  name: `numbers-${++count}`,
  sources: [{ memory: { channel: 'in' } }],
  transforms,
  sinks: [{ memory: { channel: 'out' } }],
})
type Said = Record<string, NumberKind>
async function said(transforms: readonly object[]): Promise<{ fields: Said; others?: NumberKind }> {
  const { numbers } = await explain(pipeline(transforms))
  const [{ fields, others }] = numbers
  return others === undefined ? { fields } : { fields, others }
}
const map = (fields: object, more: object = {}): object => ({ map: { fields, ...more } })

describe('an expression', () => {
  test.each<[string, NumberKind | undefined]>([
    ['price', 'untouched'],
    ['value.a["b"].c', 'untouched'],
    ['[price, volume]', 'untouched'],
    ['price > volume / 2.0 ? price : volume', 'untouched'],
    ['price * volume', 'exact'],
    ['1.5', 'exact'],
    ['decimal(text) + 1.0', 'exact'],
    ['div(price, 3, 2)', 'exact'],
    ['round(price, 2)', 'exact'],
    ['size(items)', 'exact'],
    ['items.map(i, i.price * i.n)', 'exact'],
    ['math.abs(price)', 'exact'],
    ['math.sqrt(price)', 'binary'],
    ['parse_time(text)', 'exact'],
    ['price / volume', 'binary'],
    ['double(text)', 'binary'],
    ['price > 1.0 ? price / 2.0 : price', 'binary'],
    ['[price, price / 2.0]', 'binary'],
    ['items.map(i, i.price / 3.0)', 'binary'],
    ['"a" + text', undefined],
    ['price > 1.0', undefined],
    ['string(price)', undefined],
    ['["a", "b"]', undefined],
  ])('%s: %s', async (text, kind) => {
    expect(await said([map({ x: text })])).toEqual({ fields: kind === undefined ? {} : { x: kind } })
  })
})

describe('a step', () => {
  const kinds = map({ u: 'price', e: 'price * 2.0', b: 'price / 2.0' })
  test.each<[string, object[], Awaited<ReturnType<typeof said>>]>([
    ['none', [], { fields: {}, others: 'untouched' }],
    [
      'filter, dedupe, rekey, throttle',
      [{ filter: 'true' }, { dedupe: { key: 'id' } }, { rekey: 'id' }, { throttle: { interval: '1s' } }],
      { fields: {}, others: 'untouched' },
    ],
    ['map: keep', [map({ b: 'price / 2.0' }, { keep: true })], { fields: { b: 'binary' }, others: 'untouched' }],
    [
      'map: drop',
      [map({ b: 'price / 2.0', 'c.d': 'price' }, { keep: true }), map({ e: 'b' }, { keep: true, drop: ['b'] })],
      { fields: { 'c.d': 'untouched', e: 'binary' }, others: 'untouched' },
    ],
    ['map: an object', [{ map: '{"p": price, "q": {"r": price / 2.0}}' }], { fields: { p: 'untouched', 'q.r': 'binary' } }],
    [
      'a result that depends on a binary field',
      [kinds, map({ x: 'b * 2.0', y: 'e + 1.0', z: 'u' })],
      { fields: { x: 'binary', y: 'exact', z: 'untouched' } },
    ],
    ['envelope', [kinds, { envelope: { wrap: 'me' } }], { fields: { 'data.u': 'untouched', 'data.e': 'exact', 'data.b': 'binary' } }],
    [
      'envelope and unwrap',
      [kinds, { envelope: { wrap: 'me' } }, { envelope: { unwrap: true } }],
      { fields: { u: 'untouched', e: 'exact', b: 'binary' } },
    ],
    [
      'unnest',
      [map({ l: '[price]', b: 'price / 2.0' }), { unnest: { field: 'l', as: 'x', keep: ['b'] } }],
      { fields: { x: 'untouched', b: 'binary' } },
    ],
    ['group', [map({ l: '[price / 2.0]' }), { group: { field: 'l', key: '"k"', as: 'xs' } }], { fields: { xs: 'binary' } }],
    [
      'join_latest',
      [map({ b: 'price / 2.0' }, { keep: true }), { join_latest: { table: 'true', key: 'id', value: 'price', as: 'j' } }],
      { fields: { b: 'binary', j: 'untouched' }, others: 'untouched' },
    ],
    [
      'window',
      [
        kinds,
        {
          window: {
            size: '1h',
            by: '"k"',
            aggregates: { n: { count: '*' }, s: { sum: 'u' }, a: { avg: 'e' }, l: { last: 'u' }, m: { max: 'b' } },
          },
        },
      ],
      { fields: { n: 'exact', s: 'exact', a: 'rounded', l: 'untouched', m: 'binary' } },
    ],
    [
      'bars',
      [{ bars: '1m' }],
      { fields: { open: 'exact', high: 'exact', low: 'exact', close: 'exact', volume: 'exact', vwap: 'rounded' } },
    ],
    [
      'when: the other records skip the step',
      [{ ...map({ price: 'price / 2.0' }), when: 'id == "a"' }],
      { fields: { price: 'binary' }, others: 'untouched' },
    ],
    ['sql, with unknown results', [{ sql: { query: 'select $message::json as a' } }], { fields: {} }],
  ])('%s', async (_, transforms, expected) => {
    expect(await said(transforms)).toEqual(expected)
  })
})

/** A number whose product with 3 no double holds, and whose quotient no decimal does. */
const LONG = '12345678901234567.89'

test('the statement is true: digits are kept or exact, and binary results are not', async () => {
  const transforms = [
    map({ u: 'n', e: 'n * 3.0', b: 'n / 1.0' }),
    { window: { size: '1h', by: '"k"', aggregates: { l: { last: 'u' }, s: { sum: 'e' }, b: { last: 'b' } } } },
  ]
  expect((await said(transforms)).fields).toEqual({ l: 'untouched', s: 'exact', b: 'binary' })
  const [input, out] = [0, 1].map(() => new MemoryChannel())
  const handle = await run(pipeline(transforms), { memory: { in: input, out } })
  await input.send({ payload: `{"n":${LONG}}`, time: 1000 })
  input.end()
  await handle.completed
  expect(String(out.take()[0].payload)).toBe(
    `{"key":"k","start":0,"end":3600000,"l":${LONG},"s":37037036703703703.67,"b":${String(Number(LONG))}}`,
  )
})
