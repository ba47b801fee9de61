import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Header, Message } from '../../src/contract/plugin.ts'
import { deadLetter } from '../../src/kit/dead-letter/dead-letters.ts'
import { originalHeaders, readDeadLetter } from '../../src/kit/dead-letter/read.ts'
import revive from '../../src/transforms/revive.ts'
import { runTransform, transformConformance } from '../conformance/transform.ts'

const at = { file: 'p.yaml', line: 3, column: 1 }
const failure = { step: 's', at, error: new Error('no') }
const owner = { name: 'p', sources: [{ name: 'k', type: 'kafka' }] }
const origin = { lane: 'in/0', source: 'k', topic: 'in', partition: 0, format: 'bytes' as const }
const dlq = { ...origin, lane: 'dead/0', topic: 'dead' }
/** As it comes back from the dlq. */
const stored = (m: Message, offset: number): Message =>
  Message.fromRecord(m.encode() as Buffer | null, m.encodeKey() as Buffer | null, 99, m.headers, offset, dlq)

describe('revive', () => {
  test('any record is restored unchanged; after a second failure and replay there is one counter', async () => {
    const bytes = fc.option(fc.uint8Array({ maxLength: 20 }).map(b => Buffer.from(b)))
    const header: fc.Arbitrary<Header> = fc.tuple(
      fc.constantFrom('a', 'step', 'attempts', 'error_type', 'source_offset'),
      fc.constantFrom('', 'x', '7').map(Buffer.from),
    )
    await fc.assert(
      fc.asyncProperty(
        bytes,
        bytes,
        fc.array(header, { maxLength: 4 }),
        fc.integer({ min: 0, max: 1e12 }),
        async (payload, key, headers, time) => {
          let record = Message.fromRecord(payload, key, time, headers, 5, origin)
          for (let round = 1; round <= 3; round++) {
            const letter = stored(deadLetter(record, failure, owner, 1000 * round), round)
            const run = await runTransform(revive, { max_attempts: 3, source_type: 'kafka' }, [[letter]])
            const [back] = run.out
            expect([back.encode(), back.encodeKey(), back.time]).toEqual([payload, key, time])
            expect(back.headers).toEqual([...headers, ['dlq_attempts', String(round)], ['source_topic', 'in']])
            expect(originalHeaders(back.headers!)).toEqual(headers)
            expect(readDeadLetter(letter, 0).failure).toMatchObject({ attempts: round, topic: 'in', step: 's', pipeline: 'p' })
            record = Message.fromRecord(payload, key, time, back.headers, 6 + round, origin)
          }
          const worn = stored(deadLetter(record, failure, owner, 1), 9)
          expect((await runTransform(revive, { max_attempts: 3, source_type: 'kafka' }, [[worn]])).events).toMatchObject([{ kind: 'fail' }])
        },
      ),
      { numRuns: 100 },
    )
  })

  test('a dead letter keeps the input of the step if it differs from the record', () => {
    const read = (change: (m: Message) => Message): ReturnType<typeof readDeadLetter>['failure'] => {
      const m = Message.fromRecord(Buffer.from('{"a":1}'), Buffer.from('k'), 5, undefined, 5, { ...origin, format: 'json' })
      return readDeadLetter(stored(deadLetter(change(m), failure, owner, 1), 0), 0).failure
    }
    expect(read(m => m)).toMatchObject({ stepInput: undefined, stepKey: undefined, stepInputMissing: undefined })
    expect(read(m => m.derive({ b: 2 }))).toMatchObject({ stepInput: '{"b":2}', stepKey: undefined })
    expect(read(m => m.derive('text', null))).toMatchObject({ stepInput: '"text"', stepKey: null })
    expect(read(m => m.derive(null, 'other'))).toMatchObject({ stepInput: 'null', stepKey: 'other' })
    expect(read(m => m.derive('x'.repeat(200_000)))).toMatchObject({ stepInput: undefined, stepInputMissing: 'too large' })
    expect(read(m => m.derive(10n))).toMatchObject({ stepInput: undefined, stepInputMissing: 'no JSON' })
  })
})

transformConformance(
  'revive',
  revive,
  { max_attempts: 3, source_type: 'kafka' },
  fc.array(
    fc.record({
      value: fc.string(),
      key: fc.option(fc.string()),
      headers: fc.constantFrom(undefined, [
        ['source_topic', 't'],
        ['step', 's'],
        ['error_type', 'data'],
        ['source_offset', '1'],
      ] as [string, string][]),
    }),
    { maxLength: 20 },
  ),
)
