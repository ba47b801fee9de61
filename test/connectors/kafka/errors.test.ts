import { expect, test } from 'vitest'
import { connectionBroke, toPipelineError } from '../../../src/connectors/kafka/kafkajs/errors.ts'
import { Cluster } from '../../../src/connectors/kafka/kafkajs/cluster.ts'
import { testLog } from './make.ts'

test('a request on a connection that broke after it was handed out is tried again', async () => {
  const cluster = new Cluster({ brokers: ['127.0.0.1:1'], clientId: 'test', log: testLog })
  // What kafkajs itself says, so that another wording of it is noticed.
  const broker = (cluster as unknown as { create(address: object): { metadata(topics: string[]): Promise<void> } }).create({
    host: '127.0.0.1',
    port: 1,
  })
  const error = await broker.metadata([]).catch((e: unknown) => e)
  expect(connectionBroke(error)).toBe(true)
  expect(toPipelineError(error, 'ask').retryable).toBe(true)
  await cluster.close()
})

test('a mistake in a program is not tried again', () => {
  expect(toPipelineError(new TypeError('x is undefined'), 'ask').retryable).toBe(false)
})
