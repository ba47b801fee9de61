/** How tests and their child processes make a driver for real brokers. */
import { KafkaDriver } from '../../../src/connectors/kafka/client/driver.ts'
import type { Logger } from '../../../src/contract/plugin.ts'

const line = (o: object, m: string): void => {
  if (process.env.KAFKA_TEST_LOG) console.error(m, o)
}
export const testLog: Logger = { debug: line, info: line, warn: line, error: line }

export interface MakeOptions {
  readonly brokers: string
}

export const makeDriver = (options: MakeOptions): KafkaDriver =>
  new KafkaDriver(`kafka:${options.brokers}`, { brokers: options.brokers.split(','), clientId: 'runner-test', log: testLog })

export default (options: unknown): KafkaDriver => makeDriver(options as MakeOptions)
