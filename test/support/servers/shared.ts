import { dockerRuns, startKafkaContainer } from './docker.ts'
import { startKafka } from './kafka.ts'

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
  const server = await startKafka({ say })
  say(`Kafka: Apache Kafka by Maven at ${server.brokers}, pid ${server.pid}`)
  return server
}
