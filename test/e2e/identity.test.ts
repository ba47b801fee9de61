/** State goes on only with what it was made from: a topic that was created again, a checkpoint topic that is gone, a shadow run, a new version. */
import { expect, test } from 'vitest'
import { OnDemandTransactor } from '../../src/connectors/kafka/connect.ts'
import { embeddedDriver } from '../../src/connectors/kafka/embedded/driver.ts'
import { withAdmin } from '../support/kafka.ts'
import { runRunner, tempDir } from '../support/runner.ts'
import { type Backend, embeddedBackend, kafkaBackend } from './lib/backend.ts'

const PIPELINE = `
name: \${NAME}
version: \${VERSION:-1}
sources: [{ kafka: { topics: ["\${IN}"], group: "\${GROUP}" } }]
sinks: [{ kafka: { topic: "\${OUT}", create_topics: true } }]
delivery: exactly_once
metrics: { enabled: false }
`
const WINDOWS = `${PIPELINE}
transforms:
  - window: { size: 10s, allowed_lateness: 0s, idle_timeout: 0s, aggregates: { n: { count: "*" } } }
`
const T = 1_790_000_000_000

class World {
  readonly backend: Backend
  readonly cwd: string
  readonly name = `id-${Math.random().toString(36).slice(2, 8)}`

  constructor(backend: Backend, cwd: string) {
    this.backend = backend
    this.cwd = cwd
  }

  /** One record a second from \`from\` on. */
  async feed(topic: string, from: number, count: number): Promise<void> {
    const records = Array.from({ length: count }, (_, i) => ({
      key: 'k',
      value: JSON.stringify({ n: from + i }),
      time: T + (from + i) * 1000,
    }))
    // The embedded log of this process learns with the first try that its topic is another one.
    await this.backend.produce(topic, records).catch(() => this.backend.produce(topic, records))
  }

  run(file: string, env: Record<string, string>, ...flags: string[]) {
    return runRunner(['run', file, '--until-idle', '1s', '--log-format', 'json', ...flags], {
      cwd: this.cwd,
      env: { ...this.backend.env, NAME: this.name, GROUP: this.name, ...env },
    })
  }

  async values(topic: string): Promise<Record<string, unknown>[]> {
    return (await this.backend.readAll(topic)).map(r => JSON.parse(String(r.value)))
  }

  async remake(topic: string): Promise<void> {
    if (this.backend.name === 'kafka') {
      await withAdmin(async admin => {
        await admin.deleteTopics({ topics: [topic] })
        // False: it is there, made by a request whose answer was late. Refused while the deletion is under way.
        const make = (): Promise<unknown> =>
          admin.createTopics({ topics: [{ topic, numPartitions: 1, configEntries: [{ name: 'retention.ms', value: '-1' }] }] }).catch(make)
        await make()
      })
      return
    }
    const driver = embeddedDriver({ path: `${this.cwd}/.runner/log.db` })
    await driver.admin.deleteTopics([topic])
    await driver.createTopics([{ topic, partitions: 1, config: { 'retention.ms': '-1' } }])
    await driver.close()
  }
}

for (const name of ['kafka', 'embedded'] as const) {
  const use = async (work: (w: World) => Promise<void>): Promise<void> => {
    const cwd = tempDir({ 'plain.yaml': PIPELINE, 'windows.yaml': WINDOWS })
    const backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      await work(new World(backend, cwd))
    } finally {
      await backend.close()
    }
  }

  test(`${name}: a topic that was created again is read from its first record`, () =>
    use(async w => {
      const [IN, OUT] = [await w.backend.topic('in'), await w.backend.topic('out')]
      await w.feed(IN, 0, 3)
      expect((await w.run('plain.yaml', { IN, OUT })).code).toBe(0)
      await w.remake(IN)
      await w.feed(IN, 100, 10)
      const again = await w.run('plain.yaml', { IN, OUT })
      expect(again.code).toBe(0)
      expect(again.stderr).toContain('was deleted and created again')
      expect((await w.values(OUT)).map(v => v.n)).toEqual([0, 1, 2, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109])
    }))

  test(`${name}: with open windows of the former topic, the run stops, and --fresh starts from the beginning`, () =>
    use(async w => {
      const [IN, OUT] = [await w.backend.topic('in'), await w.backend.topic('out')]
      await w.feed(IN, 0, 15)
      // A window is open: idle_timeout is 0, and --until-idle stops by a signal.
      expect((await w.run('windows.yaml', { IN, OUT })).code).toBe(0)
      await w.remake(IN)
      await w.feed(IN, 0, 25)
      const refused = await w.run('windows.yaml', { IN, OUT })
      expect(refused.code).toBe(3)
      expect(refused.stderr).toMatch(/deleted and created again[^]*--fresh/)
      expect((await w.run('windows.yaml', { IN, OUT }, '--fresh')).code).toBe(0)
      expect((await w.values(OUT)).map(v => v.n)).toEqual([10, 10, 10])
    }))

  test(`${name}: another group and output topic are a separate run, from the first record`, () =>
    use(async w => {
      const [IN, OUT, SHADOW] = [await w.backend.topic('in'), await w.backend.topic('out'), await w.backend.topic('shadow')]
      await w.feed(IN, 0, 15)
      expect((await w.run('windows.yaml', { IN, OUT })).code).toBe(0)
      await w.feed(IN, 15, 10)
      expect((await w.run('windows.yaml', { IN, OUT: SHADOW, GROUP: `${w.name}-shadow` })).code).toBe(0)
      expect((await w.run('windows.yaml', { IN, OUT })).code).toBe(0)
      expect(await w.values(SHADOW)).toEqual(await w.values(OUT))
      expect((await w.values(OUT)).map(v => v.n)).toEqual([10, 10])
    }))

  test(`${name}: a higher version reads from the oldest record, so that its windows are whole`, () =>
    use(async w => {
      const [IN, OUT, OUT2] = [await w.backend.topic('in'), await w.backend.topic('out'), await w.backend.topic('out2')]
      await w.feed(IN, 0, 15)
      expect((await w.run('windows.yaml', { IN, OUT })).code).toBe(0)
      await w.feed(IN, 15, 10)
      expect((await w.run('windows.yaml', { IN, OUT: OUT2, VERSION: '2' })).code).toBe(0)
      expect((await w.values(OUT2)).map(v => v.n)).toEqual([10, 10])
    }))
}

test.each(['of the group', 'of another group'])('kafka: state of 0.1.0, which had no group, with a position %s', async whose => {
  const cwd = tempDir({ 'windows.yaml': WINDOWS })
  const backend = await kafkaBackend()
  const w = new World(backend, cwd)
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const transactor = new OnDemandTransactor(
    { brokers: backend.env.KAFKA_BROKERS, client_id: 'test', security_protocol: 'PLAINTEXT' } as never,
    { pipeline: w.name, version: 1, log } as never,
  )
  try {
    const [IN, OUT] = [await backend.topic('in'), await backend.topic('out')]
    await w.feed(IN, 0, 15)
    // 0.1.0 has read 15 and counted 15 in all: what it kept stands for itself.
    const lane = { id: `${IN}/0`, source: 'kafka', topic: IN, partition: 0 }
    await transactor.claim(lane)
    await transactor.save(lane, { position: 15, state: [['window.clock', 'max', String(T + 14_000)]] })
    const offset = whose === 'of the group' ? '15' : '12'
    await withAdmin(admin => admin.setOffsets({ groupId: `${w.name}-g`, topic: IN, partitions: [{ partition: 0, offset }] }))
    await w.feed(IN, 15, 10)
    const { code, stderr } = await w.run('windows.yaml', { IN, OUT, GROUP: `${w.name}-g` })
    if (offset === '15') {
      expect(stderr).toContain('using the state of 0.1.0')
      // It began at 15, and not at the first record.
      expect({ code, out: await w.values(OUT) }).toMatchObject({ code: 0, out: [{ n: 5 }] })
      expect((await w.run('windows.yaml', { IN, OUT, GROUP: `${w.name}-g` })).stderr).not.toContain('0.1.0')
    } else {
      expect(code).toBe(3)
      expect(stderr).toMatch(/ends at 15, but group .* has read up to 12/)
    }
  } finally {
    await transactor.close()
    await backend.close()
  }
})

test('kafka: a deleted checkpoint topic stops the run, and no half window is published', async () => {
  const cwd = tempDir({ 'windows.yaml': WINDOWS })
  const backend = await kafkaBackend()
  const w = new World(backend, cwd)
  try {
    const [IN, OUT] = [await backend.topic('in'), await backend.topic('out')]
    await w.feed(IN, 0, 15)
    expect((await w.run('windows.yaml', { IN, OUT })).code).toBe(0)
    await withAdmin(admin => admin.deleteTopics({ topics: [`__runner.${w.name}.1.checkpoint`] }))
    await w.feed(IN, 15, 10)
    const refused = await w.run('windows.yaml', { IN, OUT })
    expect(refused.code).toBe(3)
    expect(refused.stderr).toMatch(/its state is missing[^]*--fresh/)
    expect((await w.values(OUT)).map(v => v.n)).toEqual([10])
    expect((await w.run('windows.yaml', { IN, OUT }, '--fresh')).code).toBe(0)
    expect((await w.values(OUT)).map(v => v.n)).toEqual([10, 10, 10])
  } finally {
    await backend.close()
  }
})
