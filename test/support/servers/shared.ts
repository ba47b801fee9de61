import { dockerRuns, startKafkaContainer, startPostgresContainer } from './docker.ts'
import { startKafka } from './kafka.ts'
import { startPostgres } from './postgres.ts'

/** One broker for a whole test run: the one `KAFKA_BROKERS` names, else a container, else jars from Maven. Says which. */
export async function sharedKafka(
  given: string | undefined,
  say: (line: string) => void,
): Promise<{ brokers: string; stop(): Promise<void> }> {
  if (given !== undefined && given !== '') {
    say(`Kafka: using ${given} (KAFKA_BROKERS)`)
    return { brokers: given, stop: async () => {} }
  }
  if (await dockerRuns()) {
    try {
      const container = await startKafkaContainer()
      say(`Kafka: Docker container at ${container.brokers}`)
      return container
    } catch (error) {
      say(`Kafka: Docker runs but the container did not start (${(error as Error).message.split('\n')[0]}); using jars`)
    }
  }
  // This one is never restarted, and its controller must not give it up on a busy machine.
  const server = await startKafka({ say, properties: { 'broker.session.timeout.ms': 30_000 } })
  say(`Kafka: Apache Kafka by Maven at ${server.brokers}, pid ${server.pid}`)
  return server
}

/** One PostgreSQL for a whole test run: the one `PG_DSN_RW` names, else a container, else binaries from npm. Says which. */
export async function sharedPostgres(
  given: string | undefined,
  say: (line: string) => void,
): Promise<{ dsn: string; stop(): Promise<void> }> {
  if (given !== undefined && given !== '') {
    say('PostgreSQL: using PG_DSN_RW')
    return { dsn: given, stop: async () => {} }
  }
  if (await dockerRuns()) {
    try {
      const container = await startPostgresContainer()
      say('PostgreSQL: Docker container')
      return container
    } catch (error) {
      say(`PostgreSQL: Docker runs but the container did not start (${(error as Error).message.split('\n')[0]}); using npm's binaries`)
    }
  }
  const server = await startPostgres()
  say(`PostgreSQL: npm's binaries at 127.0.0.1:${server.port}, pid ${server.pid}`)
  return server
}
