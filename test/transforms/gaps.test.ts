/** `on_gap`: unmarked results equal those of a run without loss. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json, TransformPlugin } from '../../src/contract/plugin.ts'
import type { BarsConfig, WindowConfig } from '../../src/generated/config-types.ts'
import bars from '../../src/transforms/bars.ts'
import window from '../../src/transforms/window.ts'
import { type Input, runTransform, type Step } from '../conformance/transform.ts'

const S = 1000
const shared = { allowed_lateness: 3 * S, idle_timeout: 0, on_late: 'drop', max_future: 3_600_000, outside: 'drop' } as const
const windows: WindowConfig = {
  ...shared,
  on_gap: 'mark',
  aggregates: { n: { count: '*' }, ids: { collect: 'id' } },
  collect_limit: 10_000,
}
const kinds: Record<string, [TransformPlugin, object]> = {
  tumbling: [window, { ...windows, size: 10 * S }],
  hopping: [window, { ...windows, size: 10 * S, every: 5 * S }],
  sessions: [window, { ...windows, gap: 4 * S }],
  bars: [
    bars,
    {
      ...shared,
      on_gap: 'mark',
      interval: 10 * S,
      retain: 0,
      gap_fill: 'none',
      gap_limit: 0,
      prices: 'positive',
      fields: { symbol: 'symbol', price: 'price', volume: 'volume', ts: 'ts' },
    } satisfies BarsConfig,
  ],
}

interface Case {
  readonly records: readonly Input[]
  /** Lost: from and up to. */
  readonly from: number
  readonly to: number
}

/** Records of two keys, out of order by up to the allowed lateness, and a range of them that is lost. */
const cases: fc.Arbitrary<Case> = fc
  .tuple(
    fc.array(fc.tuple(fc.integer({ min: 0, max: 4 * S }), fc.integer({ min: 0, max: 3 * S }), fc.boolean()), {
      minLength: 2,
      maxLength: 60,
    }),
    fc.nat(),
    fc.nat(),
  )
  .map(([steps, a, b]) => {
    let now = 1_000_000
    const records = steps.map(([forward, back, first], id) => {
      now += forward
      const time = now - back
      const symbol = first ? 'A' : 'B'
      return { key: symbol, time, value: { id, symbol, price: 1 + id, volume: 1, ts: time } as Json }
    })
    const from = a % records.length
    return { records, from, to: from + 1 + (b % (records.length - from)) }
  })

const withGap = ({ records, from, to }: Case): Step[] => [records.slice(0, from), { gap: { reason: 'lost' } }, records.slice(to)]
const out = async (
  plugin: TransformPlugin,
  config: object,
  steps: readonly Step[],
  restartAt: number[] = [],
): Promise<Record<string, Json>[]> =>
  (await runTransform(plugin, config as never, steps, { end: true, restartAt })).out.map(m => m.value as Record<string, Json>)

describe.each(Object.entries(kinds))('%s', (_, [plugin, config]) => {
  test('a result without the gap mark is complete, also across restarts', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.subarray([1, 2]), async (c, restartAt) => {
        const whole = new Set((await out(plugin, config, [c.records])).map(r => JSON.stringify(r)))
        const found = await out(plugin, config, withGap(c), restartAt)
        for (const r of found) if (r.incomplete !== true) expect(whole).toContain(JSON.stringify(r))
      }),
      { numRuns: 300 },
    )
  })

  test('exactly the results that would be marked are withheld or dead-lettered', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async c => {
        const marked = await out(plugin, config, withGap(c))
        const kept = marked.filter(r => r.incomplete !== true)
        expect(await out(plugin, { ...config, on_gap: 'withhold' }, withGap(c))).toEqual(kept)
        const dead = await runTransform(plugin, { ...config, on_gap: 'dead_letter' } as never, withGap(c), { end: true })
        expect(dead.out.map(m => m.value)).toEqual(kept)
        const letters = dead.failures
          .filter(f => (f.error as { code?: string }).code === 'PIPE_GAP')
          .map(f => ({ ...(f.message.value as object), incomplete: true }))
        expect(letters).toEqual(marked.filter(r => r.incomplete === true))
      }),
      { numRuns: 100 },
    )
  })
})

test('windows outside the gap are emitted without the mark', async () => {
  const at = (t: number): Input => ({ key: 'k', time: t * S, value: { id: t } })
  const steps: Step[] = [[at(1), at(11), at(21)], { gap: { reason: 'lost' } }, [at(41), at(51), at(61), at(71)]]
  const found = await out(window, { ...windows, size: 10 * S }, steps)
  // 21 s was seen, 3 s of lateness allowed: 18 s to 41 s + 3 s may lack records.
  expect(found.map(r => [r.start, r.incomplete ?? false])).toEqual([
    [0, false],
    [10_000, true],
    [20_000, true],
    [40_000, true],
    [50_000, false],
    [60_000, false],
    [70_000, false],
  ])
})
