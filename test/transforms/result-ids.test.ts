/** Results of steps over many records have an identity: after any failure and repetition, equal results have equal keys in the http sink. */
import { describe, expect, test } from 'vitest'
import { idempotencyKey, positionsOf } from '../../src/connectors/http/sink/parcels.ts'
import { defineSink, Message, type SinkPlugin, type State } from '../../src/contract/plugin.ts'
import { loadInput } from '../../src/config/load.ts'
import { Results } from '../../src/transforms/lib/results.ts'
import { faultError, MemoryLog, pipelineOf, start, step } from '../runtime/harness.ts'
import { seeded } from '../support/random.ts'

const ticks = Array.from({ length: 300 }, (_, i) => ({
  symbol: i % 3 === 0 ? 'A' : 'B',
  price: 100 + (i % 7),
  volume: 1,
  // Two steps forward, one back: some are late.
  ts: 1000 * (i - (i % 5) * 3 + 20),
}))

/** Keys and bodies in the order of writing. */
function writer(written: [key: string | undefined, body: string][]): SinkPlugin {
  return defineSink({
    type: 'keys',
    schema: {},
    onRedelivery: 'appends',
    reason: 'a list',
    create: () => ({
      async write(messages, { lane }) {
        const positions = positionsOf(messages, lane.id)
        messages.forEach((message, i) => {
          const body = Buffer.from(message.encode() as string)
          written.push([idempotencyKey('p/s', [{ message, body, position: positions[i] }], body), String(body)])
        })
      },
    }),
  })
}

const CHAINS: Record<string, readonly object[]> = {
  bars: [{ bars: { interval: '10s', allowed_lateness: '10s' } }],
  'revised bars': [{ bars: { interval: '10s', on_late: 'revise', retain: '1m', gap_fill: 'previous' } }],
  window: [
    {
      window: {
        size: '10s',
        every: '5s',
        allowed_lateness: '10s',
        time: 'ts',
        by: 'symbol',
        aggregates: { n: { count: '*' }, all: { collect: 'ts' } },
      },
    },
  ],
  sessions: [{ window: { gap: '1500ms', allowed_lateness: '10s', time: 'ts', by: 'symbol', aggregates: { n: { count: '*' } } } }],
  'bars, and what is made of them': [
    { bars: { interval: '10s', allowed_lateness: '10s' } },
    { map: { keep: true, fields: { list: '[1, 1, 2]' } } },
    { unnest: { field: 'list', as: 'item' } },
    { group: { key: 'item', as: 'items', key_as: 'k' } },
  ],
  'windows of bars': [
    { bars: { interval: '5s', allowed_lateness: '10s' } },
    { window: { size: '20s', by: 'symbol', aggregates: { n: { count: '*' } } } },
  ],
  throttle: [{ throttle: { key: 'symbol', time: 'ts', interval: '10s', keep: 'last', max: 2 } }],
}

async function run(chain: readonly object[], seed?: number): Promise<[string | undefined, string][]> {
  const random = seeded(seed ?? 0)
  const fault = (at: string): void => {
    if (seed !== undefined && at === 'save' && random() < 0.2) throw faultError(random)
  }
  const log = new MemoryLog({ lanes: { a: ticks }, batch: () => (seed === undefined ? 50 : 1 + Math.floor(random() * 40)), fault })
  const written: [string | undefined, string][] = []
  const pipeline = pipelineOf(log, [], { sinks: [step('out', writer(written))], delivery: 'at_least_once', commit_interval: 0 })
  const loaded = await loadInput({ name: 'p', sources: [{ stdin: 'jsonl' }], transforms: chain, sinks: [{ stdout: 'jsonl' }] })
  expect(loaded.problems.filter(p => p.severity !== 'warning')).toEqual([])
  await start({ ...pipeline, transforms: loaded.pipeline!.transforms }).run()
  expect(log.dead.map(m => m.headers?.find(h => h[0] === 'error_message')?.[1])).toEqual([])
  return written
}

describe.each(Object.entries(CHAINS))('%s', (_, chain) => {
  test('every result has a unique key, and the same key when it is written again', async () => {
    const calm = await run(chain)
    expect(calm.length).toBeGreaterThan(10)
    expect(calm.filter(([key]) => key === undefined)).toEqual([])
    expect(new Set(calm.map(([key]) => key)).size).toBe(calm.length)
    let repeats = 0
    for (let seed = 1; seed <= 8; seed++) {
      const rough = await run(chain, seed)
      repeats += rough.length - calm.length
      expect(new Map(rough.toSorted())).toEqual(new Map(calm.toSorted()))
    }
    expect(repeats, 'nothing was written twice').toBeGreaterThan(0)
  }, 30_000)
})

test('the key includes the generation of the source, also if no record arrives after a restart', () => {
  const store = new Map<string, unknown>()
  const state = { get: (k: string) => store.get(k), set: (k: string, v: unknown) => void store.set(k, v) } as unknown as State
  const origin = { lane: 'l', source: 's', format: 'json' as const, generation: 'g1' }
  const positionIn = (results: Results): string => positionsOf([results.name(new Message({}), 'k', 0, 1000)], 'l')[0]!
  const first = new Results('w', state)
  first.readFrom([new Message({}, 'k', 0, undefined, 0, origin)])
  expect(positionIn(first)).toBe('l%40g1/w/=k/0-1000')
  expect(positionIn(new Results('w', state))).toBe(positionIn(first))
  first.readFrom([new Message({}, 'k', 0, undefined, 0, { ...origin, generation: 'g2' })])
  expect(positionIn(first)).toBe('l%40g2/w/=k/0-1000')
})
