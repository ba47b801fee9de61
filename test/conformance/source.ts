/** What every source promises, seen from the runtime's side: order, positions that say what follows, waiting that can be broken off. */
import { afterEach, describe, expect, test } from 'vitest'
import type { Batch, Message, Position, Source, SourcePlugin } from '../../src/contract/plugin.ts'
import { fakeSourceContext, type FakeSourceContext } from './lib/fake-context.ts'
import { eventually } from '../support/eventually.ts'

export interface SourceCase<C> {
  readonly plugin: SourcePlugin<C>
  /**
   * Makes an input whose lanes hold, in order, what `records` says (text payloads), and that ends behind them.
   * A source that makes its own records ignores them and says what it makes.
   */
  prepare(records: readonly string[]): Promise<{ config: C; expected?: readonly string[] }>
  /** An input that holds nothing and never ends; undefined: the source has no such thing. */
  prepareEndless?(): Promise<C>
  /** For an input in which a position leaves its mark: makes it as new before it is read from the start again. */
  rewound?(): Promise<void>
  cleanup?(): Promise<void> | void
  /** For sources that take their input from somewhere else than the config. */
  create?(config: C, ctx: FakeSourceContext): Source
}

export interface Opened {
  readonly source: Source
  readonly ctx: FakeSourceContext
}

const RECORDS = Array.from({ length: 257 }, (_, i) => JSON.stringify({ n: i, text: 'x'.repeat((i * 7919) % 3000) }))

export function sourceConformance<C>(title: string, one: SourceCase<C>): void {
  const { plugin } = one
  const open = async (config: C, positions?: ReadonlyMap<string, Position>): Promise<Opened> => {
    const ctx = fakeSourceContext(plugin.type, positions)
    const source = one.create ? one.create(config, ctx) : plugin.create(config, ctx)
    await source.open?.(new AbortController().signal)
    return { source, ctx }
  }

  describe(`${title}: source conformance`, () => {
    afterEach(() => one.cleanup?.())

    test('create does no I/O: a source that is never opened can be thrown away', async () => {
      const { config } = await one.prepare(RECORDS)
      const ctx = fakeSourceContext(plugin.type)
      const source = one.create ? one.create(config, ctx) : plugin.create(config, ctx)
      expect(ctx.lanes).toEqual([])
      await source.close?.()
    })

    test('reads every record once, in order, in batches of claimed lanes, then null, and again null', async () => {
      const { config, expected = RECORDS } = await one.prepare(RECORDS)
      const { source, ctx } = await open(config)
      const batches = await readAll(source)
      expect(batches.flatMap(b => b.messages.map(text))).toEqual(expected)
      const claimed = ctx.lanes.map(l => l.id)
      expect(new Set(claimed).size).toBe(claimed.length)
      for (const batch of batches) {
        expect(claimed).toContain(batch.lane)
        for (const m of batch.messages) {
          expect(m.origin).toMatchObject({ lane: batch.lane, source: plugin.type })
          expect(Number.isSafeInteger(m.time) && m.time > 0).toBe(true)
        }
      }
      for (const lane of claimed) {
        const offsets = batches.filter(b => b.lane === lane).flatMap(b => b.messages.map(m => m.offset))
        expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b))
        expect(offsets.every(o => o >= 0)).toBe(true)
        expect(source.caughtUp?.(lane) ?? true).not.toBe(false)
      }
      expect(await source.read(new AbortController().signal)).toBe(null)
      await source.close?.()
    })

    test('an empty input ends at once', async () => {
      const { config, expected = [] } = await one.prepare([])
      const { source } = await open(config)
      expect((await readAll(source)).flatMap(b => b.messages)).toHaveLength(expected.length)
      await source.close?.()
    })

    test('an aborted read rejects with the reason, and closing twice is fine', async () => {
      const { config } = await one.prepare(RECORDS)
      const { source } = await open(config)
      await expect(source.read(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
      await source.close?.()
      await source.close?.()
    })

    if (one.prepareEndless) {
      test('a read that waits is broken off by its signal, and reading goes on afterwards', async () => {
        const { source, ctx } = await open(await one.prepareEndless!())
        const abort = new AbortController()
        const read = source.read(abort.signal)
        const failed = expect(read).rejects.toThrow('stopping')
        await eventually(() => expect(ctx.lanes.every(({ id }) => source.caughtUp?.(id) !== false)).toBe(true), { interval: 1 })
        abort.abort(new Error('stopping'))
        await failed
        await expect(source.read(AbortSignal.abort(new Error('again')))).rejects.toThrow('again')
        await source.close?.()
      })
    }

    if (!plugin.replayable) return

    test('a new source at the position of any batch delivers exactly what follows it', async () => {
      const { config } = await one.prepare(RECORDS)
      const first = await open(config)
      const batches = await readAll(first.source)
      await first.source.close?.()
      for (let i = 0; i < batches.length; i++) {
        const { source } = await open(config, positionsAfter(batches, i))
        expect(laneTexts(await readAll(source))).toEqual(laneTexts(batches.slice(i + 1)))
        await source.close?.()
      }
    })

    test('seek goes back to any batch, drops what was buffered, and works after the end', async () => {
      const { config } = await one.prepare(RECORDS)
      const { source, ctx } = await open(config)
      const batches = await readAll(source)
      for (const i of [0, Math.floor(batches.length / 2), batches.length - 1]) {
        for (const [lane, position] of positionsAfter(batches, i)) await source.seek!(lane, JSON.parse(JSON.stringify(position)))
        for (const { id } of ctx.lanes) if (!positionsAfter(batches, i).has(id)) await source.seek!(id, undefined)
        expect(laneTexts(await readAll(source))).toEqual(laneTexts(batches.slice(i + 1)))
      }
      await one.rewound?.()
      for (const { id } of ctx.lanes) await source.seek!(id, undefined)
      await source.read(new AbortController().signal)
      for (const { id } of ctx.lanes) await source.seek!(id, undefined)
      expect(laneTexts(await readAll(source))).toEqual(laneTexts(batches))
      await source.close?.()
    })
  })
}

export async function readAll(source: Source): Promise<Batch[]> {
  const batches: Batch[] = []
  const { signal } = new AbortController()
  for (let batch = await source.read(signal); batch !== null; batch = await source.read(signal)) batches.push(batch)
  return batches
}

const text = (m: Message): string => String(m.encode())

function laneTexts(batches: readonly Batch[]): Record<string, string[]> {
  const texts: Record<string, string[]> = {}
  for (const b of batches) (texts[b.lane] ??= []).push(...b.messages.map(m => `${m.offset} ${text(m)}`))
  return texts
}

/** Where each lane stands behind batch `i`. */
function positionsAfter(batches: readonly Batch[], i: number): Map<string, Position> {
  return new Map(batches.slice(0, i + 1).map(b => [b.lane, b.position]))
}
