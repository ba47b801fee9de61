/** Requirements for all sinks: messages are stored once, byte for byte and in the order of their lane when `write` resolves. */
import assert from 'node:assert/strict'
import { Message, type Sink, type SinkPlugin } from '../../contract/plugin.ts'
import { fakeContext, writeContext } from './context.ts'
import { type ConformanceTest, conformanceTest } from './suite.ts'

export interface SinkCase<C> {
  readonly plugin: SinkPlugin<C>
  /** Creates an empty destination. `read` returns the value of each stored message as text. */
  prepare(): Promise<{ config: C; read(): Promise<string[]> }>
  /** After each test. */
  cleanup?(): Promise<void> | void
  /** Default: `plugin.create(config, fakeContext(plugin.type))`. */
  create?(config: C): Sink
  /** The text that `read` returns for a message with this JSON value; default: its JSON. */
  show?(value: unknown): string
  /** Whether stored messages are kept when the sink is closed and reopened. Default: true. */
  persists?: boolean
}

/**
 * The tests that every sink must pass.
 *
 * @example
 * import { test } from 'vitest' // or node:test
 * import { sinkConformance } from 'pipeline-runner/testing'
 *
 * for (const { name, run } of sinkConformance({ plugin, prepare })) test(name, run)
 */
export function sinkConformance<C>(one: SinkCase<C>): ConformanceTest[] {
  const show = one.show ?? ((value: unknown) => JSON.stringify(value))
  const create = (config: C): Sink => (one.create ? one.create(config) : one.plugin.create(config, fakeContext(one.plugin.type)))
  const open = async (config: C): Promise<Sink> => {
    const sink = create(config)
    await sink.open?.(new AbortController().signal)
    return sink
  }
  const test = (name: string, run: () => Promise<void>): ConformanceTest => conformanceTest(name, run, () => one.cleanup?.())

  return [
    test('create does no I/O: a sink that is never opened can be thrown away', async () => {
      const { config } = await one.prepare()
      await create(config).close?.()
    }),

    test('what write resolved for is there, in order; an empty write is nothing', async () => {
      const { config, read } = await one.prepare()
      const sink = await open(config)
      const values = Array.from({ length: 300 }, (_, i) => ({ n: i, text: `é"\\,;\n${'x'.repeat(i)}` }))
      await sink.write([], writeContext())
      for (let i = 0; i < values.length; i += 77) {
        await sink.write(
          values.slice(i, i + 77).map(v => new Message(v, 'k')),
          writeContext(),
        )
        assert.deepEqual(
          await read(),
          values.slice(0, i + 77).map(v => show(v)),
        )
      }
      await sink.close?.()
    }),

    test('untouched messages leave with the bytes they came with', async () => {
      const { config, read } = await one.prepare()
      const sink = await open(config)
      const bytes = '{"n" : 1.0, "text":"\\u00e9"}'
      const origin = { lane: 'in/0', source: 'in', format: 'json' } as const
      const message = Message.fromRecord(Buffer.from(bytes), null, 1, undefined, 0, origin)
      await sink.write([message], writeContext())
      // The value of the message, because its numbers keep all digits.
      assert.deepEqual(await read(), [one.show ? one.show(message.value) : bytes])
      await sink.close?.()
    }),

    test('overlapping writes of two lanes keep the order of each, and every message whole', async () => {
      const { config, read } = await one.prepare()
      const sink = await open(config)
      const lane = async (name: string): Promise<void> => {
        for (let i = 0; i < 30; i++)
          await sink.write(
            [2 * i, 2 * i + 1].map(n => new Message({ n, text: name })),
            writeContext(name),
          )
      }
      await Promise.all([lane('a/0'), lane('b/1')])
      const got = await read()
      assert.equal(got.length, 120)
      for (const name of ['a/0', 'b/1']) {
        const mine = Array.from({ length: 60 }, (_, n) => show({ n, text: name }))
        assert.deepEqual(
          got.filter(line => mine.includes(line)),
          mine,
        )
      }
      await sink.close?.()
    }),

    test('closing twice is fine, and another sink with the same target appends to what is there', async () => {
      const { config, read } = await one.prepare()
      for (const n of [1, 2]) {
        const sink = await open(config)
        await sink.write([new Message({ n, text: '' })], writeContext())
        await sink.close?.()
        await sink.close?.()
      }
      if (one.persists !== false)
        assert.deepEqual(
          await read(),
          [1, 2].map(n => show({ n, text: '' })),
        )
    }),
  ]
}
