import fc from 'fast-check'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DataError, Message } from '../../../src/contract/plugin.ts'
import { deadLetter } from '../../../src/kit/dead-letter/dead-letters.ts'
import { ATTEMPTS, DLQ_HEADERS } from '../../../src/kit/dead-letter/headers.ts'
import { failureTime, readDeadLetter } from '../../../src/kit/dead-letter/read.ts'

const src = join(import.meta.dirname, '../../../src')
/** Words of other meanings, too. */
const COMMON: readonly string[] = ['pipeline', 'step', 'attempts']

test('only headers.ts contains the names of dead-letter headers', () => {
  const names = [...Object.values(DLQ_HEADERS), ATTEMPTS].filter(name => !COMMON.includes(name))
  const spelled = new RegExp(`header\\(\\w+, '|\\['(${names.join('|')})',|=== '(${names.join('|')})'`)
  const files = globSync('**/*.ts', { cwd: src }).filter(file => !file.startsWith('generated'))
  // `source_step` in the others is a format of schemas.
  expect(files.filter(file => file !== 'kit/dead-letter/headers.ts' && spelled.test(readFileSync(join(src, file), 'utf8')))).toEqual([
    'config/references.ts',
    'config/wiring.ts',
    'cli/lsp/complete.ts',
  ])
})

test('a dead letter is read back with all its headers, after those of its record', () => {
  const origin = { lane: 'ticks/3', source: 'in', topic: 'ticks', partition: 3, format: 'json' } as const
  const record = Message.fromRecord(Buffer.from('{"a":1}'), Buffer.from('k'), 17, [['own', 'x']], 41, origin)
  record.value = { a: 2 }
  record.key = 'other'
  const failure = { step: 'check', at: { file: 'p.yaml', line: 7 }, error: new DataError('a is 2') }
  const letter = deadLetter(record, failure, { name: 'orders', sources: [{ name: 'in', type: 'kafka' }] }, Date.UTC(2026, 0, 2))
  const known: readonly string[] = Object.values(DLQ_HEADERS)
  expect(letter.headers!.slice(1).filter(([name]) => !known.includes(name))).toEqual([])
  expect(letter.headers![1][0]).toBe(DLQ_HEADERS.topic)
  const read = readDeadLetter(Message.fromRecord(letter.payload, letter.keyBytes, 0, letter.headers, 5, origin), 0)
  expect(read).toMatchObject({ payload: record.payload, headers: [['own', 'x']], time: 17 })
  expect(read.failure).toEqual({
    topic: 'ticks',
    partition: 3,
    offset: 41,
    pipeline: 'orders',
    step: 'check',
    sourceStep: 'in',
    sourceType: 'kafka',
    location: 'p.yaml:7',
    errorType: 'data',
    message: 'a is 2',
    attempts: 1,
    failedAt: '2026-01-02T00:00:00.000Z',
    firstFailedAt: undefined,
    stepInput: '{"a":2}',
    stepInputMissing: undefined,
    stepKey: 'other',
    cutFrom: undefined,
    unreadable: [],
  })
})

test('headers of other writers: whatever their content, the dead letter is read, shown and dated, and unreadable headers are named', () => {
  const origin = { lane: 'dead/0', source: 'dlq', format: 'bytes' } as const
  const numbers = [DLQ_HEADERS.partition, DLQ_HEADERS.offset, DLQ_HEADERS.time, DLQ_HEADERS.attempts, DLQ_HEADERS.failedAt]
  const names = [...numbers, DLQ_HEADERS.firstFailedAt, DLQ_HEADERS.stepInput]
  const good = ['0', '1', '1700000000000', '1', '2026-01-02T00:00:00.000Z', '2026-01-02T00:00:00.000Z', '{"a":1}']
  fc.assert(
    fc.property(
      fc.array(fc.option(fc.oneof(fc.string(), fc.constantFrom('NaN', '1e999', '-1', '9e99', '{', 'Infinity', '8640000000000001'))), {
        minLength: names.length,
        maxLength: names.length,
      }),
      values => {
        const headers: [string, string][] = [
          [DLQ_HEADERS.topic, 'in'],
          [DLQ_HEADERS.step, 's'],
          [DLQ_HEADERS.errorType, 'data'],
          ...names.map((name, i) => [name, values[i] ?? good[i]] as [string, string]),
        ]
        const letter = readDeadLetter(Message.fromRecord(Buffer.from('1'), null, 5, headers, 3, origin), 0)
        expect(new Date(letter.time).toISOString()).toBeTruthy()
        expect(new Date(failureTime(letter)).toISOString()).toBeTruthy()
        for (const n of [letter.failure!.offset, letter.failure!.partition, letter.failure!.attempts])
          expect(n).toSatisfy(Number.isSafeInteger)
        if (letter.failure!.stepInput !== undefined) JSON.parse(letter.failure!.stepInput)
        if (values.every(v => v === null)) expect(letter.failure!.unreadable).toEqual([])
      },
    ),
    { numRuns: 500 },
  )
  const bad = names.map(name => [name, 'x'] as [string, string])
  const head: [string, string][] = [
    [DLQ_HEADERS.topic, 'in'],
    [DLQ_HEADERS.step, 's'],
    [DLQ_HEADERS.errorType, 'data'],
  ]
  expect(readDeadLetter(Message.fromRecord(null, null, 5, [...head, ...bad], 3, origin), 0)).toMatchObject({
    time: 5,
    failure: { offset: -1, attempts: 1, failedAt: undefined, unreadable: expect.arrayContaining(names) },
  })
})

test('a dead letter of the runner is readable, whatever the time and the counters of its message', () => {
  const origin = { lane: 'in/0', source: 'in', topic: 'in', format: 'bytes' } as const
  const failure = { step: 's', at: { file: 'p.yaml', line: 1 }, error: new Error('no') }
  for (const time of [Number.NaN, Number.POSITIVE_INFINITY, -1e300, 1.5, 0]) {
    const record = Message.fromRecord(Buffer.from('x'), null, time, [['dlq_attempts', '1e999']], 1, origin)
    const letter = deadLetter(record, failure, { name: 'p', sources: [] }, 99)
    const read = readDeadLetter(Message.fromRecord(letter.payload, null, 99, letter.headers, 0, origin), 0)
    expect(read.failure).toMatchObject({ unreadable: [], attempts: 1 })
    expect(read.time).toBe(Math.abs(time) < 8.64e15 ? time : 99)
  }
})
