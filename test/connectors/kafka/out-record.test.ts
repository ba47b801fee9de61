import { expect, test } from 'vitest'
import { recordMaker } from '../../../src/connectors/kafka/out-record.ts'
import { Message } from '../../../src/contract/plugin.ts'
import { sinkConfig } from './config.ts'

test.each([
  [1_767_225_600_123, 1_767_225_600_123],
  [1_767_225_600_123.9, 1_767_225_600_123],
  [0.5, 0],
  [Number.NaN, 0],
  [Number.POSITIVE_INFINITY, 0],
])('a record is dated in whole ms: %d => %d', (time, expected) => {
  expect(recordMaker(sinkConfig({ topic: 't' }))(new Message({ n: 1 }, null, time)).time).toBe(expected)
})
