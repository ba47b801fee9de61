/** Records of a batch are decoded from one text where their bytes lie side by side: with the values that each would have by itself. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type Output, Message, type Origin } from '../../src/contract/plugin.ts'
import { checkTransform, decodeTransform } from '../../src/runtime/chain.ts'

const origin: Origin = { source: 's', lane: 't/0', topic: 't', partition: 0, format: 'json' } as unknown as Origin

const record = fc.oneof(
  fc.json(),
  fc.constantFrom('{"price":1.10,"n":12345678901234567890}', '{"text":"Ωé🙂"}', '[1,2', '-0', '', '"\\u0000"'),
  fc.record({ symbol: fc.string(), price: fc.double({ noNaN: true, noDefaultInfinity: true }) }).map(r => JSON.stringify(r)),
)
const layout = fc.record({
  text: fc.option(record, { nil: undefined, freq: 12 }),
  gap: fc.constantFrom(0, 0, 0, 3, 400),
  newBuffer: fc.boolean(),
})

/** Records in buffers of their own or one behind the other, with gaps; undefined is a tombstone. */
function messagesOf(layouts: readonly { text: string | undefined; gap: number; newBuffer: boolean }[]): Message[] {
  const messages: Message[] = []
  let shared = Buffer.alloc(1 << 16, 0xff)
  let at = 0
  layouts.forEach(({ text, gap, newBuffer }, i) => {
    const bytes = text === undefined ? null : Buffer.from(text)
    if (newBuffer || at + gap + (bytes?.length ?? 0) > shared.length) {
      shared = Buffer.alloc(Math.max(1 << 16, bytes?.length ?? 0), 0xff)
      at = 0
    }
    at += gap
    bytes?.copy(shared, at)
    const payload = bytes && shared.subarray(at, (at += bytes.length))
    messages.push(Message.fromRecord(payload, null, i, undefined, i, origin))
  })
  return messages
}

it('decodes batches as it decodes single records', () => {
  fc.assert(
    fc.property(fc.array(layout, { minLength: 1, maxLength: 30 }), layouts => {
      const passed: Message[] = []
      const failed = new Map<Message, string>()
      const out = { emit: (m: Message) => passed.push(m), fail: (m: Message, e: Error) => failed.set(m, e.message) } as unknown as Output
      const messages = messagesOf(layouts)
      void decodeTransform(256).process(messages, out)
      messages.forEach((m, i) => {
        const { text } = layouts[i]
        const single = Message.fromRecord(text === undefined ? null : Buffer.from(text), null, i, undefined, i, origin)
        let expected: unknown
        try {
          expected = single.value
        } catch (error) {
          expect(failed.get(m)).toBe((error as Error).message)
          return
        }
        expect(passed).toContain(m)
        expect(m.value).toEqual(expected)
      })
    }),
    { numRuns: 500 },
  )
})

it('passes an empty batch and tombstones', () => {
  const out = { emit: (m: Message) => seen.push(m), fail: (m: Message) => seen.push(m) } as unknown as Output
  const seen: Message[] = []
  void decodeTransform(256).process([], out)
  const tombstones = messagesOf([{ text: undefined, gap: 0, newBuffer: false }])
  void checkTransform(256).process(tombstones, out)
  expect(seen).toEqual(tombstones)
})
