/** What a running pipeline depends on disappears, changes or grows: it says so within seconds, and goes on or stops. */
import { beforeAll, expect, test } from 'vitest'
import { Cluster } from '../../src/connectors/kafka/client/cluster.ts'
import { testLog } from '../connectors/kafka/make.ts'
import { brokers, committed, consumeAll, createTopic, produce, unique, withAdmin } from '../support/kafka.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { get, untilStatus } from '../e2e/lib/http.ts'
import { eventually } from '../support/eventually.ts'

const PIPELINE = `
name: \${NAME}
sources: [{ kafka: { brokers: "\${BROKERS}", topics: ["\${IN}"], session_timeout: 10s } }]
sinks: [{ kafka: { brokers: "\${BROKERS}", topic: "\${OUT}" } }]
delivery: \${DELIVERY}
commit_interval: 200ms
metrics: { port: "\${PORT}" }
`
const WINDOWS = `${PIPELINE}
transforms:
  - window: { size: 10s, allowed_lateness: 0s, idle_timeout: 0s, aggregates: { n: { count: "*" } } }
`
const MARKED = WINDOWS.replace('idle_timeout: 0s', 'idle_timeout: 0s, on_gap: mark')
const T = 1_790_000_000_000

interface World {
  readonly name: string
  readonly IN: string
  readonly OUT: string
  readonly port: number
  readonly runner: Runner
  feed(from: number, count: number, partition?: number): Promise<void>
  /** \`n\` of what is in the output topic. */
  out(): Promise<number[]>
}

let cwd: string
beforeAll(() => {
  cwd = tempDir({ 'plain.yaml': PIPELINE, 'windows.yaml': WINDOWS, 'marked.yaml': MARKED })
})

async function world(file: string, delivery = 'exactly_once', partitions = 1): Promise<World> {
  const [IN, OUT, name] = [await createTopic(unique('in'), { partitions }), await createTopic(unique('out')), unique('topics')]
  const [port] = await freePorts(1)
  const runner = start(file, { name, IN, OUT, port, delivery })
  await untilStatus(runner, port, '/ready', 200)
  return {
    name,
    IN,
    OUT,
    port,
    runner,
    async feed(from, count, partition = 0) {
      await produce(
        IN,
        Array.from({ length: count }, (_, i) => ({
          key: 'k',
          partition,
          value: JSON.stringify({ n: from + i }),
          time: T + (from + i) * 1000,
        })),
      )
    },
    out: async () => (await consumeAll(OUT)).map(r => JSON.parse(String(r.value)).n as number),
  }
}

const start = (file: string, w: { name: string; IN: string; OUT: string; port: number; delivery: string }): Runner =>
  startRunner(['run', file, '--log-format', 'json'], {
    cwd,
    env: { BROKERS: brokers(), NAME: w.name, IN: w.IN, OUT: w.OUT, PORT: String(w.port), DELIVERY: w.delivery },
  })

const deleteTopic = (topic: string): Promise<void> => withAdmin(admin => admin.deleteTopics({ topics: [topic] }))

async function remake(topic: string, numPartitions = 1): Promise<void> {
  await deleteTopic(topic)
  await withAdmin(async admin => {
    // Refused while the deletion is under way.
    const make = (): Promise<unknown> =>
      admin.createTopics({ topics: [{ topic, numPartitions, configEntries: [{ name: 'retention.ms', value: '-1' }] }] }).catch(make)
    await make()
  })
}

const offsetsOf = async (w: World): Promise<{ offset: string; metadata: string | null }[]> =>
  (await withAdmin(admin => admin.fetchOffsets({ groupId: w.name, topics: [w.IN] })))[0].partitions

/** Waits until /ready says why not. @returns seconds */
async function unready(w: World, reason: RegExp): Promise<number> {
  const started = performance.now()
  await eventually(async () => expect(await get(w.port, '/ready')).toMatchObject({ status: 503, body: expect.stringMatching(reason) }), {
    by: w.runner,
    timeout: 30_000,
  })
  return (performance.now() - started) / 1000
}

const linesWith = (runner: Runner, text: string): number => runner.stderr.split('\n').filter(line => line.includes(text)).length

test.each(['exactly_once', 'at_least_once'])('%s: the output topic is deleted: not ready with the reason, then exit 3', async delivery => {
  const w = await world('plain.yaml', delivery)
  await w.feed(0, 10)
  await eventually(async () => expect(await w.out()).toHaveLength(10))
  await eventually(async () => expect((await committed(w.name, w.IN)).get(0)).toBe(10))
  await deleteTopic(w.OUT)
  await w.feed(10, 10)
  expect(await unready(w, /topic .* no longer exists/)).toBeLessThan(30)
  await w.runner.exit(3, 60_000)
  expect(w.runner.stderr).toMatch(new RegExp(`topic ${w.OUT} (?:does not exist|no longer exists)`))
  // What was not written is not committed.
  expect((await committed(w.name, w.IN)).get(0)).toBe(10)
  expect(linesWith(w.runner, 'was deleted while the pipeline ran. Create it again (runner topics apply)')).toBe(1)
})

test.each(['exactly_once', 'at_least_once'])('%s: SIGTERM after the output topic was deleted ends with 1, not 0', async delivery => {
  const w = await world('plain.yaml', delivery)
  await w.feed(0, 10)
  await eventually(async () => expect(await w.out()).toHaveLength(10))
  await deleteTopic(w.OUT)
  await w.feed(10, 10)
  await unready(w, /no longer exists/)
  w.runner.kill('SIGTERM')
  const { code } = await w.runner.exited
  expect([1, 3]).toContain(code)
})

test('the output topic is deleted and created again: the pipeline continues, and no record that was read is lost', async () => {
  const w = await world('plain.yaml')
  await w.feed(0, 10)
  await eventually(async () => expect(await w.out()).toHaveLength(10))
  await remake(w.OUT)
  await w.feed(10, 10)
  await eventually(async () => expect(await w.out()).toEqual(Array.from({ length: 10 }, (_, i) => 10 + i)))
  w.runner.kill()
  await w.runner.exit(0)
})

test('the checkpoint topic is deleted: not ready, then exit 3, and no half window is written', async () => {
  const w = await world('windows.yaml')
  await w.feed(0, 15)
  await eventually(async () => expect(await w.out()).toEqual([10]))
  await deleteTopic(`__runner.${w.name}.1.checkpoint`)
  await unready(w, /checkpoints: topic .* no longer exists/)
  await w.feed(15, 15)
  await w.runner.exit(3, 60_000)
  expect(w.runner.stderr).toMatch(/checkpoint topic .* was deleted while the pipeline ran[^]*--fresh/)
  expect(linesWith(w.runner, `topic __runner.${w.name}.1.checkpoint no longer exists`)).toBe(1)
  expect(linesWith(w.runner, 'Stop every instance; then run once with --fresh')).toBe(1)
  expect(await w.out()).toEqual([10])
})

test.each(['exactly_once', 'at_least_once'])(
  '%s: a deleted source topic makes the pipeline not ready; created again, it is read from its first record',
  async delivery => {
    const w = await world('plain.yaml', delivery)
    await w.feed(0, 10)
    await eventually(async () => expect(await w.out()).toHaveLength(10))
    await deleteTopic(w.IN)
    expect(await unready(w, /topic .* no longer exists/)).toBeLessThan(10)
    await createTopic(w.IN)
    await w.feed(100, 20)
    await eventually(async () => expect((await w.out()).slice(10)).toEqual(Array.from({ length: 20 }, (_, i) => 100 + i)))
    await untilStatus(w.runner, w.port, '/ready', 200)
    expect(linesWith(w.runner, 'was deleted while it was read')).toBe(1)
    w.runner.kill()
    await w.runner.exit(0)
  },
)

test('the source topic is created again under open windows: exit 3, and no window mixes both', async () => {
  const w = await world('windows.yaml')
  await w.feed(0, 15)
  await eventually(async () => expect(await w.out()).toEqual([10]))
  await remake(w.IN)
  await w.feed(15, 30)
  await w.runner.exit(3, 60_000)
  expect(w.runner.stderr).toMatch(/deleted and created again[^]*--fresh/)
  expect(linesWith(w.runner, 'entries of state from the former records')).toBe(1)
  expect(await w.out()).toEqual([10])
})

test('at least once without state: the last commit reaches the topic after it was created again, and is not used', async () => {
  const w = await world('plain.yaml', 'at_least_once')
  await w.feed(0, 10)
  const metadata = await eventually(async () => {
    const [partition] = await offsetsOf(w)
    expect(partition.offset).toBe('10')
    return partition.metadata
  })
  w.runner.kill('SIGKILL')
  await w.runner.exited
  await remake(w.IN)
  await w.feed(100, 20)
  // What the killed process had sent: the brokers check the name of the topic only.
  const cluster = new Cluster({ brokers: brokers().split(','), clientId: 'late', log: testLog })
  const partitions = [{ partition: 0, offset: '10', metadata }]
  await eventually(async () => {
    const coordinator = await cluster.coordinator('group', w.name)
    await coordinator.offsetCommit({ groupId: w.name, groupGenerationId: -1, memberId: '', topics: [{ topic: w.IN, partitions }] })
  })
  await cluster.close()
  expect(await offsetsOf(w)).toMatchObject([{ offset: '10', metadata }])

  const runner = start('plain.yaml', { ...w, delivery: 'at_least_once' })
  await eventually(async () => expect((await w.out()).slice(10)).toEqual(Array.from({ length: 20 }, (_, i) => 100 + i)), { by: runner })
  runner.kill()
  await runner.exit(0)
  expect(linesWith(runner, 'belongs to a topic of this name that was deleted')).toBe(1)
  // Of the new topic, so the next run goes on there.
  const again = start('plain.yaml', { ...w, delivery: 'at_least_once' })
  await untilStatus(again, w.port, '/ready', 200)
  await w.feed(200, 1)
  await eventually(async () => expect((await w.out()).slice(30)).toEqual([200]), { by: again })
  again.kill()
  await again.exit(0)
  expect(linesWith(again, 'belongs to a topic of this name that was deleted')).toBe(0)
})

test('added partitions are picked up by running instances, and nothing is written twice', async () => {
  const w = await world('plain.yaml')
  const others = await Promise.all(
    [1, 2].map(async () => {
      const [port] = await freePorts(1)
      const runner = start('plain.yaml', { ...w, port, delivery: 'exactly_once' })
      await untilStatus(runner, port, '/ready', 200)
      return runner
    }),
  )
  await w.feed(0, 10)
  await withAdmin(admin => admin.createPartitions({ topicPartitions: [{ topic: w.IN, count: 4 }] }))
  for (let p = 0; p < 4; p++) await w.feed(100 * (p + 1), 50, p)
  const want = [...Array.from({ length: 10 }, (_, i) => i), ...[1, 2, 3, 4].flatMap(h => Array.from({ length: 50 }, (_, i) => 100 * h + i))]
  await eventually(async () => expect((await w.out()).toSorted((a, b) => a - b)).toEqual(want), { timeout: 40_000 })
  for (const runner of [w.runner, ...others]) {
    runner.kill()
    await runner.exit(0)
  }
  expect((await w.out()).toSorted((a, b) => a - b)).toEqual(want)
  for (const runner of [w.runner, ...others]) expect(linesWith(runner, 'changed its number of partitions')).toBe(1)
})

test.each([
  ['windows.yaml', 'exactly_once'],
  ['plain.yaml', 'exactly_once'],
] as const)(
  '%s, %s: another program sets the offset of the group back: the checkpoint decides, and one line says so',
  async (file, delivery) => {
    const w = await world(file, delivery)
    await w.feed(0, 25)
    const results = file === 'plain.yaml' ? 25 : 2
    await eventually(async () => expect(await w.out()).toHaveLength(results))
    await eventually(async () => expect((await committed(w.name, w.IN)).get(0)).toBe(25))
    w.runner.kill()
    await w.runner.exit(0)
    await withAdmin(admin => admin.setOffsets({ groupId: w.name, topic: w.IN, partitions: [{ partition: 0, offset: '3' }] }))
    const again = start(file, { ...w, delivery })
    await untilStatus(again, w.port, '/ready', 200)
    await w.feed(25, 10)
    await eventually(async () => expect(await w.out()).toHaveLength(file === 'plain.yaml' ? 35 : 3), { by: again })
    again.kill()
    await again.exit(0)
    expect(linesWith(again, 'another program has set the offset of the group')).toBe(1)
    const found = await w.out()
    expect(new Set(found).size === found.length || file === 'windows.yaml').toBe(true)
    if (file === 'windows.yaml') expect(found).toEqual([10, 10, 10])
  },
)

/** The runner is frozen while records come and are deleted. The fetch that waits at the broker has the first five of them. */
async function overtaken(w: World): Promise<void> {
  await w.feed(0, 15)
  await eventually(async () => expect((await committed(w.name, w.IN)).get(0)).toBe(15))
  w.runner.kill('SIGSTOP')
  await w.feed(15, 5)
  await w.feed(20, 25)
  await withAdmin(async admin => {
    // kafkajs looks for the leader in what it knows already.
    await admin.fetchTopicMetadata({ topics: [w.IN] })
    await admin.deleteTopicRecords({ topic: w.IN, partitions: [{ partition: 0, offset: '30' }] })
  })
  w.runner.kill('SIGCONT')
}
const LOST = /from (15|20) to 29 were deleted before they were read/

test.each(['exactly_once', 'at_least_once'])(
  '%s: retention overtakes a running pipeline without state: one log line with the number of lost records',
  async delivery => {
    const w = await world('plain.yaml', delivery)
    await overtaken(w)
    const first = Number(LOST.exec(await w.runner.line(LOST))![1])
    const want = Array.from({ length: 45 }, (_, i) => i).filter(i => i < first || i >= 30)
    // At least once: what the fetch had may be written and not yet committed.
    const found = async () => (await w.out()).filter(i => delivery === 'exactly_once' || i < first || i >= 30)
    await eventually(async () => expect(await found()).toEqual(want), { timeout: 30_000 })
    expect(linesWith(w.runner, 'were deleted before they were read')).toBe(1)
    w.runner.kill()
    await w.runner.exit(0)
  },
)

test('retention overtakes open windows: exit 3, and no window with a gap', async () => {
  const w = await world('windows.yaml')
  await overtaken(w)
  await w.runner.exit(3, 60_000)
  expect(w.runner.stderr).toMatch(LOST)
  expect(linesWith(w.runner, 'would miss them')).toBe(1)
  expect(await w.out()).toEqual([10])
})

test('retention overtakes open windows with on_gap: mark: windows that lack records are marked, also after kill -9', async () => {
  const w = await world('marked.yaml')
  await overtaken(w)
  await w.runner.line(LOST)
  await eventually(async () => expect((await committed(w.name, w.IN)).get(0)).toBe(45))
  w.runner.kill('SIGKILL')
  await w.runner.exited
  const again = start('marked.yaml', { ...w, delivery: 'exactly_once' })
  await w.feed(45, 16)
  await eventually(async () => expect((await consumeAll(w.OUT)).length).toBeGreaterThanOrEqual(5), { by: again })
  const results = (await consumeAll(w.OUT)).map(r => JSON.parse(String(r.value)) as { start: number; n: number; incomplete?: boolean })
  const whole = results.filter(r => r.incomplete !== true)
  expect(whole.map(r => [(r.start - T) / 1000, r.n])).toEqual([
    [0, 10],
    [40, 10],
    [50, 10],
  ])
  expect(results.filter(r => r.incomplete === true).map(r => (r.start - T) / 1000)).toEqual(expect.arrayContaining([10, 30]))
  again.kill()
  await again.exit(0)
})
