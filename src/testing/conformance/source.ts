/** Requirements for all sources: order, positions of the next record, and reads that can be aborted. */
import { isDeepStrictEqual } from 'node:util'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Batch, Message, Position, Source, SourcePlugin } from '../../contract/plugin.ts'
import { type FakeSourceContext, fakeSourceContext } from './context.ts'
import { type ConformanceTest, conformanceTest } from './suite.ts'

export interface SourceCase<C> {
  readonly plugin: SourcePlugin<C>
  /**
   * Creates an input with these text payloads in order, which ends after them. A source that generates its records ignores
   * `records` and returns the generated payloads in `expected`.
   */
  prepare(records: readonly string[]): Promise<{ config: C; expected?: readonly string[] }>
  /** Creates an empty input that never ends; undefined: the source has no such input. */
  prepareEndless?(): Promise<C>
  /** For an input that keeps a position: resets it before it is read from the start again. */
  rewound?(): Promise<void>
  cleanup?(): Promise<void> | void
  /** For sources whose input is not in the config. */
  create?(config: C, ctx: FakeSourceContext): Source
}

const RECORDS = Array.from({ length: 257 }, (_, i) => JSON.stringify({ n: i, text: 'x'.repeat((i * 7919) % 3000) }))

/**
 * The tests that every source must pass; a replayable source must also pass those of `seek` and positions.
 *
 * @example
 * import { test } from 'node:test' // or vitest
 * import { sourceConformance } from 'pipeline-runner/testing'
 *
 * for (const { name, run } of sourceConformance({ plugin, prepare })) test(name, run)
 */
export function sourceConformance<C>(one: SourceCase<C>): ConformanceTest[] {
  const { plugin } = one
  const create = (config: C, ctx: FakeSourceContext): Source => (one.create ? one.create(config, ctx) : plugin.create(config, ctx))
  const open = async (config: C, positions?: ReadonlyMap<string, Position>): Promise<{ source: Source; ctx: FakeSourceContext }> => {
    const ctx = fakeSourceContext(plugin.type, positions)
    const source = create(config, ctx)
    await source.open?.(new AbortController().signal)
    return { source, ctx }
  }
  const test = (name: string, run: () => Promise<void>): ConformanceTest => conformanceTest(name, run, () => one.cleanup?.())

  const tests = [
    test('create does no I/O: a source that is never opened can be thrown away', async () => {
      const { config } = await one.prepare(RECORDS)
      const ctx = fakeSourceContext(plugin.type)
      const source = create(config, ctx)
      assert.deepEqual(ctx.lanes, [])
      await source.close?.()
    }),

    test('reads every record once, in order, in batches of claimed lanes, then null, and again null', async () => {
      const { config, expected = RECORDS } = await one.prepare(RECORDS)
      const { source, ctx } = await open(config)
      const batches = await readAll(source)
      assert.deepEqual(
        batches.flatMap(b => b.messages.map(text)),
        expected,
      )
      const claimed = ctx.lanes.map(l => l.id)
      assert.equal(new Set(claimed).size, claimed.length, 'a lane was claimed twice')
      for (const batch of batches) {
        assert.ok(claimed.includes(batch.lane), `a batch is of lane ${batch.lane}, which was never claimed`)
        for (const m of batch.messages) {
          assert.deepEqual([m.origin?.lane, m.origin?.source], [batch.lane, plugin.type], 'origin.lane and origin.source')
          assert.ok(Number.isSafeInteger(m.time) && m.time > 0, `time must be whole epoch milliseconds, got ${m.time}`)
        }
      }
      for (const lane of claimed) {
        const offsets = batches.filter(b => b.lane === lane).flatMap(b => b.messages.map(m => m.offset))
        assert.deepEqual(
          offsets,
          [...new Set(offsets)].toSorted((a, b) => a - b),
          'offsets must rise',
        )
        assert.ok(
          offsets.every(o => o >= 0),
          'offsets must not be negative',
        )
        assert.notEqual(source.caughtUp?.(lane) ?? true, false, 'caughtUp at the end')
      }
      assert.equal(await source.read(new AbortController().signal), null)
      await source.close?.()
    }),

    test('an empty input ends at once', async () => {
      const { config, expected = [] } = await one.prepare([])
      const { source } = await open(config)
      assert.equal((await readAll(source)).flatMap(b => b.messages).length, expected.length)
      await source.close?.()
    }),

    test('an aborted read rejects with the reason, and closing twice is fine', async () => {
      const { config } = await one.prepare(RECORDS)
      const { source } = await open(config)
      await assert.rejects(source.read(AbortSignal.abort(new Error('enough'))), /enough/)
      await source.close?.()
      await source.close?.()
    }),
  ]

  if (one.prepareEndless) {
    tests.push(
      test('a read that waits is broken off by its signal, and reading goes on afterwards', async () => {
        const { source, ctx } = await open(await one.prepareEndless!())
        const abort = new AbortController()
        const failed = assert.rejects(source.read(abort.signal), /stopping/)
        // No timeout here: the test runner ends a test that hangs.
        while (!ctx.lanes.every(({ id }) => (source.caughtUp?.(id) ?? true) !== false)) await sleep(1)
        abort.abort(new Error('stopping'))
        await failed
        await assert.rejects(source.read(AbortSignal.abort(new Error('again'))), /again/)
        await source.close?.()
      }),
    )
  }

  if (!plugin.replayable) return tests

  tests.push(
    test('a new source at the position of any batch delivers exactly what follows it', async () => {
      const { config } = await one.prepare(RECORDS)
      const first = await open(config)
      const batches = await readAll(first.source)
      await first.source.close?.()
      for (let i = 0; i < batches.length; i++) {
        const { source } = await open(config, positionsAfter(batches, i))
        assert.deepEqual(laneTexts(await readAll(source)), laneTexts(batches.slice(i + 1)))
        await source.close?.()
      }
    }),

    test('seek goes back to any batch, drops what was buffered, and works after the end', async () => {
      const { config } = await one.prepare(RECORDS)
      const { source, ctx } = await open(config)
      const batches = await readAll(source)
      for (const i of [0, Math.floor(batches.length / 2), batches.length - 1]) {
        for (const [lane, position] of positionsAfter(batches, i)) await source.seek!(lane, JSON.parse(JSON.stringify(position)))
        for (const { id } of ctx.lanes) if (!positionsAfter(batches, i).has(id)) await source.seek!(id, undefined)
        assert.deepEqual(laneTexts(await readAll(source)), laneTexts(batches.slice(i + 1)))
      }
      await one.rewound?.()
      for (const { id } of ctx.lanes) await source.seek!(id, undefined)
      await source.read(new AbortController().signal)
      for (const { id } of ctx.lanes) await source.seek!(id, undefined)
      assert.deepEqual(laneTexts(await readAll(source)), laneTexts(batches))
      await source.close?.()
    }),
  )
  return tests
}

/** A source that never ends may block all timers, so the timeout of the test runner would not apply. */
const MAX_MESSAGES = 1_000_000
const MAX_BATCHES = 100_000
/** Consecutive batches with messages and the same position: the source reads in a loop. */
const MAX_STILL = 100

/** Reads a source to its end. @throws {Error} if it does not end within the limits */
export async function readAll(source: Source): Promise<Batch[]> {
  const batches: Batch[] = []
  const { signal } = new AbortController()
  let messages = 0
  let still = 0
  for (let batch = await source.read(signal); batch !== null; batch = await source.read(signal)) {
    const before = batches.at(-1)
    const moved = before?.lane !== batch.lane || batch.messages.length === 0 || !isDeepStrictEqual(before.position, batch.position)
    still = moved ? 0 : still + 1
    batches.push(batch)
    messages += batch.messages.length
    if (messages > MAX_MESSAGES || batches.length > MAX_BATCHES || still > MAX_STILL)
      throw new Error(
        `the source does not end: ${messages} messages in ${batches.length} batches, the last at position ${JSON.stringify(batch.position)}`,
      )
  }
  return batches
}

const text = (m: Message): string => String(m.encode())

function laneTexts(batches: readonly Batch[]): Record<string, string[]> {
  const texts: Record<string, string[]> = {}
  for (const b of batches) (texts[b.lane] ??= []).push(...b.messages.map(m => `${m.offset} ${text(m)}`))
  return texts
}

/** The position of each lane after batch `i`. */
function positionsAfter(batches: readonly Batch[], i: number): Map<string, Position> {
  return new Map(batches.slice(0, i + 1).map(b => [b.lane, b.position]))
}
