import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DataError, Message } from '../../../src/contract/plugin.ts'
import { deadLetter } from '../../../src/kit/dead-letter/dead-letters.ts'
import { ATTEMPTS, DLQ_HEADERS } from '../../../src/kit/dead-letter/headers.ts'
import { readDeadLetter } from '../../../src/kit/dead-letter/read.ts'

const src = join(import.meta.dirname, '../../../src')
/** Words of other meanings, too. */
const COMMON: readonly string[] = ['pipeline', 'step', 'attempts']

test('only headers.ts spells the names of dead-letter headers', () => {
  const names = [...Object.values(DLQ_HEADERS), ATTEMPTS].filter(name => !COMMON.includes(name))
  const spelled = new RegExp(`header\\(\\w+, '|\\['(${names.join('|')})',|=== '(${names.join('|')})'`)
  const files = globSync('**/*.ts', { cwd: src }).filter(file => !file.startsWith('generated'))
  // `source_step` there is a format of schemas.
  expect(files.filter(file => file !== 'kit/dead-letter/headers.ts' && spelled.test(readFileSync(join(src, file), 'utf8')))).toEqual([
    'config/wiring.ts',
  ])
})

test('a dead letter is read back with every header it was written with, behind those of its record', () => {
  const origin = { lane: 'ticks/3', source: 'in', topic: 'ticks', partition: 3, format: 'json' } as const
  const record = Message.fromRecord(Buffer.from('{"a":1}'), Buffer.from('k'), 17, [['own', 'x']], 41, origin)
  record.value = { a: 2 }
  record.key = 'other'
  const failure = { step: 'check', at: { file: 'p.yaml', line: 7 }, error: new DataError('a is 2') }
  const letter = deadLetter(record, failure, 'orders', Date.UTC(2026, 0, 2))
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
  })
})
