import { expect, test } from 'vitest'
import { connectionBroke, toPipelineError } from '../../../src/connectors/kafka/client/errors.ts'
import { Connections } from '../../../src/connectors/kafka/client/connections.ts'
import { testLog } from './make.ts'

test('a request on a connection that closed after it was acquired is retried', async () => {
  const connections = new Connections({ brokers: [], clientId: 'test', log: testLog })
  // The original message of kafkajs, so that a changed wording is detected.
  const broker = connections.create({ host: '127.0.0.1', port: 1 })
  const error: unknown = await broker.metadata([]).catch((e: unknown) => e)
  expect(connectionBroke(error)).toBe(true)
  expect(toPipelineError(error, 'ask').retryable).toBe(true)
  connections.close()
})

test('a programming error is not retried', () => {
  expect(toPipelineError(new TypeError('x is undefined'), 'ask').retryable).toBe(false)
})
