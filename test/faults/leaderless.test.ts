/**
 * Partitions lose all their brokers under a running pipeline, of a cluster of three: `/ready` says so within seconds, one line is logged,
 * and output resumes by itself. How long that takes is printed: under three seconds on a machine that has time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { kafkaBackend } from '../e2e/lib/backend.ts'
import { untilStatus } from '../e2e/lib/http.ts'
import { startRunner, tempDir } from '../support/runner.ts'
import { type KafkaCluster, startCluster } from '../support/servers/kafka-cluster.ts'
import { freePorts } from '../support/servers/ports.ts'

let cluster: KafkaCluster
beforeAll(async () => {
  cluster = await startCluster()
}, 180_000)
afterAll(() => cluster?.stop())

const PIPELINE = `
name: \${NAME}
sources: [{ kafka: { topics: ["\${IN}"] } }]
sinks: [{ kafka: { topic: "\${OUT}" } }]
delivery: \${DELIVERY}
commit_interval: 100ms
metrics: { port: "\${PORT}" }
`

/** `FAULT_CASES=all` has the long run. */
const CASES = [
  ['both', 'exactly_once', [2, 3], [2, 3]],
  ['both', 'at_least_once', [2, 3], [2, 3]],
  ['the source', 'exactly_once', [2, 3], [1]],
  ['the sink', 'exactly_once', [1], [2, 3]],
] as const

test.each(process.env.FAULT_CASES === 'all' ? CASES : CASES.slice(0, 1))(
  '%s, %s',
  { timeout: 180_000 },
  async (what, delivery, inOn, outOn) => {
    const name = `leaderless-${what.replaceAll(' ', '-')}-${delivery}`
    const [IN, OUT] = [`${name}-in`, `${name}-out`]
    const backend = await kafkaBackend(cluster.brokers)
    const admin = new Kafka({ brokers: [cluster.brokers], logLevel: logLevel.NOTHING }).admin()
    try {
      await admin.connect()
      const topic = (topic: string, replicas: readonly number[]) => ({
        topic,
        replicaAssignment: [{ partition: 0, replicas: [...replicas] }],
        configEntries: [{ name: 'retention.ms', value: '-1' }],
      })
      await admin.createTopics({ topics: [topic(IN, inOn), topic(OUT, outOn)], waitForLeaders: true })
      const [port] = await freePorts(1)
      const env = { NAME: name, IN, OUT, DELIVERY: delivery, PORT: String(port), KAFKA_BROKERS: cluster.brokers }
      const runner = startRunner(['run', 'p.yaml', '--log-format', 'json'], { cwd: tempDir({ 'p.yaml': PIPELINE }), env })
      await untilStatus(runner, port, '/ready', 200)
      await backend.produce(IN, [{ key: 'k', value: '1' }])
      await backend.waitFor(OUT, 1)

      await Promise.all(cluster.nodes.slice(1).map(node => node.kill()))
      // Where the source still works, there is something to write.
      if (inOn[0] === 1) await backend.produce(IN, [{ key: 'k', value: '2' }])
      await untilStatus(runner, port, '/ready', 503, 10_000)
      await expect.poll(() => fetch(`http://127.0.0.1:${port}/ready`).then(r => r.text()), { timeout: 20_000 }).toMatch(/has no leader/)
      // As long as an operator takes: back-offs have grown by then.
      await sleep(5000)
      await Promise.all(cluster.nodes.slice(1).map(node => node.restart()))
      const leader = async (topic: string): Promise<number> =>
        (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions[0].leader
      for (const topic of [IN, OUT]) while (!((await leader(topic).catch(() => -1)) > 0)) await sleep(20)
      const back = performance.now()
      if (inOn[0] !== 1) await backend.produce(IN, [{ key: 'k', value: '2' }])
      await backend.waitFor(OUT, 2)
      const took = performance.now() - back
      process.stderr.write(`${what}, ${delivery}: output ${Math.round(took)} ms after the leader's return\n`)
      await untilStatus(runner, port, '/ready', 200, 10_000)
      runner.kill()
      await runner.exit(0)
      const lines = runner.stderr.split('\n').filter(line => /have no leader/.test(line))
      const down = [...(inOn[0] === 1 ? [] : [IN]), ...(outOn[0] === 1 ? [] : [OUT])]
      // The topics of the checkpoints may be on the same brokers.
      const named = lines.map(line => (JSON.parse(line) as { topic: string }).topic).filter(topic => [IN, OUT].includes(topic))
      expect(named.toSorted(), lines.join('\n')).toEqual(down)
      expect((await backend.readAll(OUT)).map(r => String(r.value))).toEqual(['1', '2'])
    } finally {
      await admin.disconnect()
      await backend.close()
    }
  },
)
