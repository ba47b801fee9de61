/** The topic of the dlq is deleted under a running pipeline. */
import { expect, test } from 'vitest'
import { brokers, committed, consumeAll, createTopic, produce, unique, withAdmin } from '../support/kafka.ts'
import { startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { get, untilStatus } from '../e2e/lib/http.ts'

test.each(['exactly_once', 'at_least_once'])(
  '%s: not ready with the reason, then exit 3; nothing is committed without its dead letter',
  { timeout: 120_000 },
  async delivery => {
    const [IN, OUT, DEAD, name] = [
      await createTopic(unique('in')),
      await createTopic(unique('out')),
      await createTopic(unique('dead')),
      unique('dlq'),
    ]
    const [port] = await freePorts(1)
    const file = `
name: ${name}
sources: [{ kafka: { topics: [${IN}] } }]
transforms: [{ filter: "n > 0" }]
sinks: [{ kafka: { topic: ${OUT} } }]
dlq: { kafka: { topic: ${DEAD} } }
delivery: ${delivery}
commit_interval: 200ms
metrics: { port: ${port} }
`
    const start = () =>
      startRunner(['run', 'p.yaml', '--log-format', 'json'], { cwd: tempDir({ 'p.yaml': file }), env: { KAFKA_BROKERS: brokers() } })
    const runner = start()
    await untilStatus(runner, port, '/ready', 200)
    await withAdmin(admin => admin.deleteTopics({ topics: [DEAD] }))
    await untilStatus(runner, port, '/ready', 503, 10_000)
    expect((await get(port, '/ready')).body).toContain(`topic ${DEAD} no longer exists`)
    await produce(IN, [
      { key: 'k', value: '{"n":1}' },
      { key: 'k', value: '{"n":"bad"}' },
    ])
    const { code } = await runner.exited
    expect([code, runner.stderr]).toEqual([3, expect.stringContaining(DEAD)])
    expect(runner.stderr.split('\n').filter(line => line.includes(`topic ${DEAD} no longer exists: it was deleted`))).toHaveLength(1)
    expect((await committed(name, IN)).get(0) ?? 0).toBeLessThan(2)
    await withAdmin(admin => admin.createTopics({ topics: [{ topic: DEAD, numPartitions: 1 }] }))
    const again = start()
    await expect.poll(() => consumeAll(DEAD).then(r => r.length), { timeout: 30_000 }).toBe(1)
    again.kill()
    await again.exit(0)
  },
)
