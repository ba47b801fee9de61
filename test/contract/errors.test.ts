import { expect, test } from 'vitest'
import { BatchError, DataError } from '../../src/contract/errors.ts'

test('a message is cut: peers put whole values into their errors', () => {
  const { message } = new DataError(`invalid input: ${'x'.repeat(10_000_000)}`)
  expect(message.length).toBeLessThan(17_000)
  expect(message.startsWith('invalid input: xxx')).toBe(true)
  expect(message).toMatch(/x… \(10000015 characters\)$/)
  expect(new BatchError(new Map([[0, new Error('y'.repeat(1_000_000))]])).message.length).toBeLessThan(17_000)
  expect(new DataError('short').message).toBe('short')
})
