/** Offsets without a record are not a gap: transaction markers, aborted transactions, records that compaction has removed. */
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs'
import { expect, test } from 'vitest'
import { brokers, consumeAll, createTopic, unique, withAdmin } from '../support/kafka.ts'
import { runRunner, tempDir } from '../support/runner.ts'

const PIPELINE = `
name: \${NAME}
sources: [{ kafka: { topics: ["\${IN}"], isolation_level: "\${ISOLATION}", missing_offsets: "\${MISSING}" } }]
transforms:
  - window: { size: 10s, allowed_lateness: 0s, idle_timeout: 0s, aggregates: { n: { count: "*" } } }
sinks: [{ kafka: { topic: "\${OUT}" } }]
delivery: exactly_once
metrics: { enabled: false }
`
const T = 1_790_000_000_000

async function runs(IN: string, ISOLATION: string, MISSING = 'auto'): Promise<() => Promise<number>> {
  const [NAME, OUT] = [unique('holes'), await createTopic(unique('out'))]
  const cwd = tempDir({ 'p.yaml': PIPELINE })
  return async () => {
    // A commit is acknowledged before its markers are there; it waits for them.
    await consumeAll(IN)
    const env = { NAME, IN, OUT, ISOLATION, MISSING, KAFKA_BROKERS: brokers() }
    const { code, stderr } = await runRunner(['run', 'p.yaml', '--until-idle', '500ms'], { cwd, env })
    expect([code, stderr]).toEqual([0, expect.not.stringMatching(/damaged|deleted|missing|lost/)])
    const rows = (await consumeAll(OUT)).map(r => JSON.parse(String(r.value)) as { n: number })
    return rows.reduce((sum, { n }) => sum + n, 0)
  }
}

/** One record a second, in transactions of five; every second transaction is aborted. */
async function feed(topic: string, transactions: number, from: number): Promise<void> {
  const producer = new Kafka({ brokers: [brokers()], logLevel: logLevel.NOTHING }).producer({
    transactionalId: unique('feed'),
    idempotent: true,
    maxInFlightRequests: 1,
  })
  await producer.connect()
  for (let i = 0; i < transactions; i++) {
    const transaction = await producer.transaction()
    const time = (k: number): string => String(T + (from + i * 5 + k) * 1000)
    await transaction.send({ topic, messages: Array.from({ length: 5 }, (_, k) => ({ key: 'k', value: '{}', timestamp: time(k) })) })
    await (i % 2 === 0 ? transaction.commit() : transaction.abort())
  }
  await producer.disconnect()
}

test.each(['read_committed', 'read_uncommitted'])('%s: markers and aborted transactions', async isolation => {
  const IN = await createTopic(unique('in'))
  const run = await runs(IN, isolation)
  await feed(IN, 9, 0)
  await run()
  // And from a checkpoint whose next offset is a marker, or the first of an aborted transaction.
  await feed(IN, 9, 45)
  await feed(IN, 1, 200)
  expect(await run()).toBe(isolation === 'read_committed' ? 50 : 90)
})

test('compaction; then the topic is no longer compacted, and its holes remain', { timeout: 120_000 }, async () => {
  const IN = await createTopic(unique('in'), {
    config: {
      'cleanup.policy': 'compact',
      'segment.ms': '200',
      'min.cleanable.dirty.ratio': '0.01',
      'min.compaction.lag.ms': '0',
      'max.compaction.lag.ms': '200',
      'retention.ms': '-1',
    },
  })
  const producer = new Kafka({ brokers: [brokers()], logLevel: logLevel.NOTHING }).producer()
  await producer.connect()
  const send = (n: number, key: string): Promise<unknown> =>
    producer.send({ topic: IN, messages: [{ key, value: '{}', timestamp: String(T + n * 1000) }] })
  for (let n = 0; n < 20; n++) await send(n, n % 2 === 0 ? `k${n}` : 'again')
  let kept = 0
  for (let n = 20; ; n++) {
    // A new segment, before which the log is compacted.
    await send(n, 'again')
    const offsets = (await consumeAll(IN)).map(r => r.offset)
    kept = offsets.length
    if (offsets.at(-1)! - offsets[0] + 1 > kept) break
  }
  await producer.disconnect()
  const run = await runs(IN, 'read_committed')
  const counted = await run()
  expect(counted).toBeGreaterThan(0)
  expect(kept).toBeGreaterThan(10)

  await withAdmin(async admin => {
    const configEntries = [
      { name: 'cleanup.policy', value: 'delete' },
      { name: 'retention.ms', value: '-1' },
    ]
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: IN, configEntries }] })
  })
  const env = { NAME: unique('holes'), IN, OUT: unique('none'), ISOLATION: 'read_committed', MISSING: 'auto', KAFKA_BROKERS: brokers() }
  const { code, stderr } = await runRunner(['run', 'p.yaml', '--until-idle', '500ms'], { cwd: tempDir({ 'p.yaml': PIPELINE }), env })
  expect([code, stderr]).toEqual([3, expect.stringMatching(/is not compacted.*or it was compacted before.*missing_offsets: expected/s)])
  expect(await (await runs(IN, 'read_committed', 'expected'))()).toBe(counted)
})

test('a group that is read by a running pipeline cannot be moved', async () => {
  // Brokers refuse it, so a position never changes under a running pipeline. One that changes while it is stopped is noticed (identity).
  const [IN, OUT, NAME] = [await createTopic(unique('in')), await createTopic(unique('out')), unique('moved')]
  const { startRunner } = await import('../support/runner.ts')
  const { eventually } = await import('../support/eventually.ts')
  const env = { NAME, IN, OUT, ISOLATION: 'read_committed', MISSING: 'auto', KAFKA_BROKERS: brokers() }
  const runner = startRunner(['run', 'p.yaml'], { cwd: tempDir({ 'p.yaml': PIPELINE }), env })
  await withAdmin(async admin => {
    await eventually(async () => expect((await admin.describeGroups([NAME])).groups[0].state).toBe('Stable'))
    const moved = admin.setOffsets({ groupId: NAME, topic: IN, partitions: [{ partition: 0, offset: '0' }] })
    await expect(moved).rejects.toThrow(/must be (?:in state|empty)|not empty|running|stopped/i)
  })
  runner.kill()
  await runner.exit(0)
})
