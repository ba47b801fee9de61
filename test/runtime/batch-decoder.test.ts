/** Records of a batch are parsed together, with the same values and errors as one by one. */
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
/** Adjacent values that are malformed one by one and could be valid together. */
const pieces = fc
  .tuple(
    fc.constantFrom(
      '[1,2',
      '{"a":1},{"b":[2,"],["]}',
      '[[1],[2]],[3',
      '{"a":"',
      '}{"a"',
      '"],["',
      '1,[2',
      '[3',
      '4]',
      '[],[]',
      '{}',
      ',',
      ']',
      '\\",',
    ),
    fc.array(fc.nat(40), { maxLength: 6 }),
  )
  .map(([seed, cuts]) => {
    const text = `${seed},${seed}],[{"x":"a\\"b"}],{"y":"]"}`
    const at = [0, ...cuts.map(cut => cut % text.length).sort((a, b) => a - b), text.length]
    return at.slice(1).map((end, i) => text.slice(at[i], end))
  })
const texts = fc
  .array(
    fc.oneof({ weight: 8, arbitrary: fc.option(record, { nil: undefined, freq: 12 }).map(t => [t]) }, { weight: 2, arbitrary: pieces }),
    {
      minLength: 1,
      maxLength: 30,
    },
  )
  .map(list => list.flat())
const layouts = texts.chain(list =>
  fc.tuple(...list.map(text => fc.record({ text: fc.constant(text), gap: fc.constantFrom(0, 0, 3, 400), newBuffer: fc.boolean() }))),
)

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

/** Runs a batch, and compares each message with the same record decoded alone. */
function expectAsSingles(messages: Message[]): void {
  const passed: Message[] = []
  const failed = new Map<Message, string>()
  const out = { emit: (m: Message) => passed.push(m), fail: (m: Message, e: Error) => failed.set(m, e.message) } as unknown as Output
  void decodeTransform(256).process(messages, out)
  const expected = messages.filter(m => {
    const single = Message.fromRecord(m.payload, null, 0, undefined, 0, origin)
    let value: unknown
    try {
      value = single.value
    } catch (error) {
      expect(failed.get(m)).toBe((error as Error).message)
      return false
    }
    expect(m.value).toStrictEqual(value)
    expect(m.changed).toBe(false)
    expect(m.encode()).toBe(m.payload)
    return true
  })
  expect(passed).toEqual(expected)
  expect(passed.length + failed.size).toBe(messages.length)
}

it('batches decode to the same values as single records', () => {
  fc.assert(
    fc.property(layouts, list => expectAsSingles(messagesOf(list))),
    { numRuns: 400 },
  )
})

it.each([
  ['items that are balanced only when joined', ['1,2', '[3', '4]']],
  ['two values in one record, none in the next', ['{},{}', '', '{}']],
  ['a string that is closed only by the next record', ['{"a":"', '"}', '{}']],
  ['strings that are closed only when joined, with as many items as records', ['{"x":"', '{"},{"y":1}']],
  ['an escape at the end', ['{"a":"\\', '"}', '{}']],
  ['mismatched brackets', ['[}', '{]', '{}']],
  ['one malformed record among good ones', ['{"a":1}', '{"a":01}', '{"a":2}']],
  ['a trailing comma', ['{},', '{}', '[],']],
  ['surrounding white space', [' {}', '{} ', '{}\n', '[1 , 2]', '{}']],
  ['escaped keys', ['{"\\\\":1}', '{"\\n":2}', '{"a":1}', '{"\\u0061":2}']],
  ['too deep', ['{}', '['.repeat(257) + ']'.repeat(257), '{}', '{}']],
  ['exact numbers', ['{"a":1.1}', '{"a":1.10}', '{"a":1.2}', '{"a":12345678901234567890}']],
  ['more records than are parsed at once', Array.from({ length: 3000 }, (_, i) => `{"i":${i},"text":"${'x'.repeat(i % 97)}"}`)],
  ['large records between small ones', Array.from({ length: 60 }, (_, i) => `{"i":${i},"text":"${'x'.repeat((i % 3) * 2100)}"}`)],
  ['a record larger than the batch limit', ['{}', JSON.stringify({ a: 'x'.repeat(100_000) }), '{}', '{}']],
])('%s', (_, list) => {
  expectAsSingles(messagesOf(list.map(text => ({ text, gap: 0, newBuffer: false }))))
})

it('a value that was read or assigned before is kept', () => {
  const messages = messagesOf(['{"a":1}', '{"a":2}', '{"a":3}'].map(text => ({ text, gap: 0, newBuffer: false })))
  const { value } = messages[0]
  messages[1].value = 'mine'
  void decodeTransform(256).process(messages, { emit: () => {}, fail: () => {} } as unknown as Output)
  expect(messages[0].value).toBe(value)
  expect(messages.map(m => m.value)).toEqual([{ a: 1 }, 'mine', { a: 3 }])
})

it('an empty batch and tombstones pass', () => {
  const out = { emit: (m: Message) => seen.push(m), fail: (m: Message) => seen.push(m) } as unknown as Output
  const seen: Message[] = []
  void decodeTransform(256).process([], out)
  const tombstones = messagesOf([{ text: undefined, gap: 0, newBuffer: false }])
  void checkTransform(256).process(tombstones, out)
  expect(seen).toEqual(tombstones)
})
