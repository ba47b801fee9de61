/** Three brokers on one machine, each also a controller: for leaders that move, freeze or vanish. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { type KafkaOptions, type KafkaServer, startKafka } from './kafka.ts'
import { freePorts } from './ports.ts'

export interface KafkaCluster {
  /** `host:port` of all, comma-separated. */
  readonly brokers: string
  readonly servers: readonly KafkaServer[]
  /** Which of `servers` leads the partition, as the others (not in `without`) have it; undefined: none does. */
  leader(topic: string, partition: number, without?: readonly KafkaServer[]): Promise<KafkaServer | undefined>
  stop(): Promise<void>
}

export async function startKafkaCluster(options: Pick<KafkaOptions, 'version'> = {}): Promise<KafkaCluster> {
  const ports = await freePorts(6)
  const ids = [1, 2, 3]
  const clusterId = randomBytes(16).toString('base64url')
  const starting = ids.map(async (id, i) => {
    const [port, controller] = [ports[2 * i], ports[2 * i + 1]]
    return await startKafka({
      ...options,
      port,
      clusterId,
      properties: {
        'node.id': id,
        'controller.quorum.voters': ids.map((other, j) => `${other}@127.0.0.1:${ports[2 * j + 1]}`).join(),
        listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
        'default.replication.factor': 3,
        'offsets.topic.replication.factor': 3,
        'transaction.state.log.replication.factor': 3,
        'transaction.state.log.min.isr': 2,
        'min.insync.replicas': 2,
      },
    })
  })
  const started = await Promise.allSettled(starting)
  const servers = started.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
  const stop = async (): Promise<void> => {
    for (const server of servers) server.resume()
    await Promise.all(servers.map(server => server.stop()))
  }
  const failed = started.find(one => one.status === 'rejected')
  if (failed) {
    await stop()
    throw failed.reason
  }
  return {
    brokers: servers.map(server => server.brokers).join(),
    servers,
    async leader(topic, partition, without = []) {
      const [asked] = servers.filter(server => !without.includes(server))
      const { stdout } = await promisify(execFile)('kcat', ['-L', '-J', '-b', asked.brokers, '-t', topic], { timeout: 20_000 })
      const { topics } = JSON.parse(stdout) as { topics: { partitions: { partition: number; leader: number }[] }[] }
      const id = topics[0]?.partitions.find(p => p.partition === partition)?.leader ?? -1
      return servers[id - 1]
    },
    stop,
  }
}
