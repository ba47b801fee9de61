/** Topics of the embedded log are deleted under a running pipeline. */
import { expect, test } from 'vitest'
import { embeddedDriver } from '../../src/connectors/kafka/embedded/driver.ts'
import { embeddedBackend } from '../e2e/lib/backend.ts'
import { get, untilStatus } from '../e2e/lib/http.ts'
import { startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'

test('source: not ready with the reason and one log line, then read from its first record; output and DLQ: created again, and nothing is lost', async () => {
  const cwd = tempDir()
  const backend = embeddedBackend(cwd)
  const [IN, OUT, DEAD] = [await backend.topic('in'), await backend.topic('out'), await backend.topic('dead')]
  const [port] = await freePorts(1)
  const file = `
name: deleted
sources: [{ kafka: { topics: [${IN}] } }]
transforms: [{ filter: "n > 0" }]
sinks: [{ kafka: { topic: ${OUT} } }]
dlq: { kafka: { topic: ${DEAD} } }
commit_interval: 100ms
metrics: { port: ${port} }
`
  const runner = startRunner(['run', `${tempDir({ 'p.yaml': file })}/p.yaml`, '--log-format', 'json'], { cwd, env: backend.env })
  const driver = embeddedDriver({ path: `${cwd}/.runner/log.db` })
  const feed = (from: number): Promise<void> => backend.produce(IN, [{ value: `{"n":${from}}` }, { value: '{"n":"bad"}' }])
  try {
    await untilStatus(runner, port, '/ready', 200)
    await feed(1)
    await backend.waitFor(OUT, 1)
    await backend.waitFor(DEAD, 1)

    await driver.admin.deleteTopics([IN])
    await untilStatus(runner, port, '/ready', 503, 10_000)
    expect((await get(port, '/ready')).body).toContain(`topic ${IN} no longer exists; create it again`)
    // The first write of a producer that knew the former topic fails.
    await feed(2).catch(() => feed(2))
    await untilStatus(runner, port, '/ready', 200)
    await backend.waitFor(OUT, 2)
    await backend.waitFor(DEAD, 2)

    await driver.admin.deleteTopics([OUT, DEAD])
    await feed(3)
    await backend.waitFor(OUT, 1)
    await backend.waitFor(DEAD, 1)
    expect((await backend.readAll(OUT)).map(r => String(r.value))).toEqual(['{"n":3}'])
    runner.kill()
    await runner.exit(0)
    expect(runner.stderr.split('\n').filter(line => line.includes(`topic ${IN} no longer exists`))).toHaveLength(1)
  } finally {
    await driver.close()
    await backend.close()
  }
})
