/** What the world outside the file can refuse: credentials, addresses, ports, topics. */
import { createServer } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BarsPipeline } from '../e2e/lib/bars-run.ts'
import { type Backend, kafkaBackend } from '../e2e/lib/backend.ts'
import { get, untilStatus } from '../e2e/lib/http.ts'
import { makeTicks } from '../support/golden-ticks.ts'
import { runRunner, tempDir } from '../support/runner.ts'
import { type KafkaServer, startKafka } from '../support/servers/kafka.ts'
import { freePorts } from '../support/servers/ports.ts'
import { startProxy } from '../support/tcp-proxy.ts'

let broker: KafkaServer
let backend: Backend
let sasl: number

beforeAll(async () => {
  const [plain, secured, controller] = await freePorts(3)
  sasl = secured
  broker = await startKafka({
    port: plain,
    properties: {
      listeners: `PLAINTEXT://127.0.0.1:${plain},SECURED://127.0.0.1:${secured},CONTROLLER://127.0.0.1:${controller}`,
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${plain},SECURED://127.0.0.1:${secured}`,
      'controller.quorum.voters': `1@127.0.0.1:${controller}`,
      'inter.broker.listener.name': 'PLAINTEXT',
      'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:SASL_PLAINTEXT',
      'sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.secured.plain.sasl.jaas.config':
        'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="right-password";',
    },
  })
  backend = await kafkaBackend(broker.brokers)
})
afterAll(async () => {
  await backend?.close()
  await broker?.stop()
})

const login = (password: string): Record<string, string> => ({
  KAFKA_BROKERS: `127.0.0.1:${sasl}`,
  KAFKA_SECURITY_PROTOCOL: 'SASL_PLAINTEXT',
  KAFKA_SASL_MECHANISM: 'PLAIN',
  KAFKA_SASL_USERNAME: 'alice',
  KAFKA_SASL_PASSWORD: password,
})

test('SASL: the right password works, exactly once', async () => {
  const ticks = makeTicks({ seed: 2, count: 3_000, partitions: [['AAA']] })
  const pipeline = await BarsPipeline.create(backend, tempDir(), 1)
  await pipeline.feedAll(ticks)
  await pipeline.start(['--until-idle', '1s'], { env: login('right-password') }).exit(0)
  await pipeline.verify(ticks)
})

test('SASL: a wrong password ends with 3 and names the settings to check, without the password', async () => {
  const pipeline = await BarsPipeline.create(backend, tempDir(), 1)
  const runner = pipeline.start([], { env: login('wrong-password-7d1f') })
  await runner.exit(3)
  expect(runner.stderr).toMatch(/authentication/i)
  expect(runner.stderr).toMatch(/sasl_password/)
  expect(runner.stderr + runner.stdout).not.toContain('7d1f')
})

test('TLS to a port without TLS ends with 3 and the reason', async () => {
  const pipeline = await BarsPipeline.create(backend, tempDir(), 1)
  const runner = pipeline.start([], { env: { KAFKA_SECURITY_PROTOCOL: 'SSL' } })
  await runner.exit(3)
  expect(runner.stderr).toMatch(/TLS/)
  expect(runner.stderr).toMatch(/security_protocol/)
})

test('a missing topic ends with 3 and is named', async () => {
  const pipeline = await BarsPipeline.create(backend, tempDir(), 1, { input: 'no-such-topic' })
  const runner = pipeline.start()
  await runner.exit(3)
  expect(runner.stderr).toMatch(/no-such-topic/)
})

test('an address without a server: the runner retries with a log line, is not ready, and works as soon as the server starts', {
  timeout: 60_000,
}, async () => {
  const proxy = await startProxy(broker.brokers)
  try {
    proxy.cut()
    const ticks = makeTicks({ seed: 3, count: 3_000, partitions: [['AAA']] })
    const [port] = await freePorts(1)
    const pipeline = await BarsPipeline.create(backend, tempDir(), 1, { metricsPort: port })
    await pipeline.feedAll(ticks)
    const runner = pipeline.start([], { env: { KAFKA_BROKERS: proxy.address } })
    await runner.line(/trying again|retry/i)
    expect(runner.stderr).toContain(proxy.address)
    expect((await get(port, '/ready')).status).toBe(503)
    expect((await get(port, '/health')).status).toBe(200)
    proxy.restore()
    await untilStatus(runner, port, '/ready', 200)
    await pipeline.verify(ticks)
    runner.kill('SIGTERM')
    await runner.exit(0)
  } finally {
    await proxy.stop()
  }
})

test('SIGTERM while waiting for a broker ends at once', async () => {
  const [nobody] = await freePorts(1)
  const pipeline = await BarsPipeline.create(backend, tempDir(), 1)
  const runner = pipeline.start([], { env: { KAFKA_BROKERS: `127.0.0.1:${nobody}` } })
  await runner.line(/trying again|retry/i)
  runner.kill('SIGTERM')
  await runner.exit(0)
})

test('a metrics port that is in use ends with 3 and is named; nothing is read', async () => {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as { port: number }
    const pipeline = await BarsPipeline.create(backend, tempDir(), 1, { metricsPort: port })
    const runner = pipeline.start()
    await runner.exit(3)
    expect(runner.stderr).toContain(String(port))
    expect(await backend.committed(pipeline.group, pipeline.input)).toEqual(new Map())
  } finally {
    server.close()
  }
})

test('an invalid file ends with 2 and the position of the error', async () => {
  const cwd = tempDir({ 'wrong.yaml': 'name: wrong\nsources:\n  - kafka: { topicz: [a] }\nsinks:\n  - stdout: {}\n' })
  const { code, stderr } = await runRunner(['run', 'wrong.yaml'], { cwd })
  expect(code).toBe(2)
  expect(stderr).toMatch(/wrong\.yaml:3:14/)
  expect(stderr).toMatch(/topics/)
})
