/** `runner topics` on both logs. */
import { beforeAll, describe, expect, test } from 'vitest'
import { loadCatalog } from '../../src/operations/catalog.ts'
import { type Backend, embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { runRunner, tempDir } from '../support/runner.ts'
import { unique } from '../support/unique.ts'

const ROOT = new URL('../../', import.meta.url).pathname

describe.each(['kafka', 'embedded'] as const)('%s', name => {
  const cwd = tempDir()
  const made: Promise<Backend> = name === 'kafka' ? kafkaBackend() : Promise.resolve(embeddedBackend(cwd))
  // The broker may have to be started, which takes more than a test has time for.
  beforeAll(async () => void (await made))
  const topics = async (...args: string[]) => {
    const { code, stdout, stderr } = await runRunner(['topics', ...args], { cwd, env: (await made).env })
    return { code, stdout, stderr }
  }
  const json = async (...args: string[]) => JSON.parse((await topics(...args, '--json')).stdout) as any

  test('create makes a topic with its settings, list shows it, a second create is an error', async () => {
    const topic = unique('made')
    expect(
      (await topics('create', topic, '--partitions', '6', '--retention-ms', '86400000', '--config', 'max.message.bytes=2000')).code,
    ).toBe(0)
    const found = (await json('list')).topics.find((t: any) => t.name === topic)
    expect(found).toMatchObject({ partitions: 6, replication: 1, retention_ms: 86_400_000, config: { 'max.message.bytes': '2000' } })
    expect((await topics('list')).stdout).toMatch(new RegExp(`^${topic} +6 +1 +24h$`, 'm'))
    const again = await topics('create', topic)
    expect(again.code).toBe(4)
    expect(again.stderr).toContain('exists already')
    expect((await topics('create', unique('bad'), '--config', 'retention.ms=soon')).code).toBe(3)
    expect((await topics('create', 'a', '--partitions', '0')).code).toBe(2)
  })

  test('plan shows the difference without changes; apply makes the changes; the next plan is empty', async () => {
    const [a, b] = [unique('a'), unique('b')]
    await topics('create', b, '--partitions', '2', '--config', 'max.message.bytes=3000')
    const dir = tempDir({
      'cat.yaml': `topics:\n  - { name: ${a}, partitions: 8, retention: 24h }\n  - { name: ${b}, partitions: 3, retention: 30d, config: { cleanup.policy: "compact,delete" } }\n`,
    })
    const wanted = [
      ['create', `topic ${a}`, 'topic'],
      ['grow', `topic ${b}`, 'partitions'],
      ['set', `topic ${b}`, 'cleanup.policy'],
      ['set', `topic ${b}`, 'retention.ms'],
    ]
    const changes = async (...args: string[]) => (await json(...args)).changes.map((c: any) => [c.action, c.subject, c.what]).sort()
    expect(await changes('plan', `${dir}/cat.yaml`)).toEqual(wanted)
    expect(await changes('plan', `${dir}/cat.yaml`)).toEqual(wanted)
    expect((await topics('apply', `${dir}/cat.yaml`)).code).toBe(0)
    await expect.poll(async () => changes('plan', dir), { interval: 300 }).toEqual([])
    const list = (await json('list')).topics as any[]
    expect(list.find(t => t.name === a)).toMatchObject({ partitions: 8, retention_ms: 86_400_000 })
    // Topics that are not in the catalog stay.
    expect(list.find(t => t.name === b)).toMatchObject({ partitions: 3, config: { 'max.message.bytes': '3000' } })
    expect((await topics('apply', dir)).stdout).toMatch(/matches the catalogs/)
  })

  test('fewer partitions are an error, and no change is applied', async () => {
    const [a, b] = [unique('a'), unique('b')]
    await topics('create', a, '--partitions', '3')
    const dir = tempDir({ 'cat.yaml': `topics:\n  - { name: ${a}, partitions: 2 }\n  - { name: ${b} }\n` })
    const { code, stderr } = await topics('apply', dir)
    expect(code).toBe(4)
    expect(stderr).toContain('write 3 in the catalog')
    expect((await json('list')).topics.some((t: any) => t.name === b)).toBe(false)
  })

  if (name === 'kafka') {
    test('a change that the brokers reject does not block the others, and each rejection is reported', async () => {
      const [a, b, c] = [unique('a'), unique('b'), unique('c')]
      const dir = tempDir({
        'cat.yaml': `topics:\n  - { name: ${a}, replication: 3 }\n  - { name: ${b}, config: { "no.such": 1 } }\n  - { name: ${c} }\n`,
      })
      const { code, stdout, stderr } = await topics('apply', dir)
      expect(code).toBe(3)
      expect(stdout).toContain('1 change(s) made')
      expect(stderr).toMatch(new RegExp(`^error: topic ${a}: .*REPLICATION.*\\n^error: topic ${b}: .*no.such`, 'm'))
      expect((await json('list')).topics.some((t: any) => t.name === c)).toBe(true)
    })

    test('another replication factor is an error', async () => {
      const a = unique('a')
      await topics('create', a)
      const dir = tempDir({ 'cat.yaml': `topics: [{ name: ${a}, replication: 3 }]\n` })
      const { code, stderr } = await topics('apply', dir)
      expect(code).toBe(4)
      expect(stderr).toContain('kafka-reassign-partitions')
    })
  }

  test('ACLs are omitted if the log has none, and the plan reports that', async () => {
    const a = unique('a')
    const dir = tempDir({ 'cat.yaml': `topics:\n  - name: ${a}\n    acls: [{ principal: "User:x", operations: [read, describe] }]\n` })
    const { code, stdout } = await topics('apply', dir)
    expect(code).toBe(0)
    expect(stdout).toMatch(/skip +ACLs +2 ACLs.*(no authorizer|no logins)/)
  })

  // On the shared broker this would delete other tests' topics.
  if (name === 'embedded') {
    test('only --prune deletes topics, and only with --yes', async () => {
      const dir = tempDir({ 'cat.yaml': `topics: [{ name: kept }]\n` })
      await topics('create', 'gone')
      expect((await topics('apply', dir)).code).toBe(0)
      const asked = await topics('apply', dir, '--prune')
      expect(asked.code).toBe(4)
      expect(asked.stderr).toContain('--yes')
      const names = async () => (await json('list')).topics.map((t: any) => t.name)
      expect(await names()).toContain('gone')
      expect((await topics('apply', dir, '--prune', '--yes')).code).toBe(0)
      expect(await names()).toEqual(['kept'])
    })
  }
})

test('the shipped catalogs match the contract', async () => {
  const shape = async (name: string, env: Record<string, string> = {}) => {
    const { catalog, problems } = await loadCatalog(`${ROOT}topics/${name}.yaml`, env)
    expect(problems).toEqual([])
    return catalog!.topics.map(t => [
      t.name,
      t.partitions ?? 1,
      t.config['retention.ms'] === undefined ? undefined : Number(t.config['retention.ms']) / 3_600_000,
    ])
  }
  expect(await shape('exchange')).toEqual([
    ['ticks.v1.raw', 6, 24],
    ['orderbook.v1.raw', 6, 24],
    ['events.v1.dlq', 6, 24],
  ])
  expect(await shape('wallex')).toEqual([
    ['wallet-events', 10, 7 * 24],
    ['wallet-events-dlq', 5, 30 * 24],
  ])
  expect((await shape('kylo')).map(t => t[0])).toEqual(['txns.company.batches', 'rules.promote.requests'])
  expect((await shape('pulse')).map(t => t[0])).toEqual(['ticks.BTCUSDT', 'bars.BTCUSDT.1m', 'pulse.journal', 'events.v1.dlq'])
  expect(await shape('algotrade')).toEqual([
    ['market-data-updates', 8, 24],
    ['symbol-subscriptions', 1, undefined],
    ['strategy-signals', 4, 7 * 24],
    ['strategy-compilations', 1, undefined],
    ['trade-executions', 4, 30 * 24],
    ['portfolio-updates', 1, undefined],
    ['forward-test-events', 1, undefined],
    ['user-notifications', 2, 24],
    ['realtime-updates', 1, 1],
    ['service-health', 1, undefined],
    ['audit-logs', 1, undefined],
  ])
  // The topics that the pipelines write to, independent of the variables.
  expect((await shape('algotrade', { TOPIC_PREFIX: 'staging.' })).map(t => String(t[0]).startsWith('staging.'))).not.toContain(false)
  expect((await shape('wallex', { WALLET_EVENTS_TOPIC: 'w', WALLET_EVENTS_DLQ_TOPIC: 'd' })).map(t => t[0])).toEqual(['w', 'd'])
  expect((await shape('pulse', { JOURNAL_TOPIC: 'j' })).map(t => t[0])).toContain('j')
})

test('all errors of a catalog are reported at once, each with its position, by validate and by plan', async () => {
  const dir = tempDir({
    'cat.yaml':
      'topics:\n  - name: a b\n    partitons: 3\n  - name: ok\n    partitions: 0\n    retention: 24 hours\n    acls: [{ principal: x, operations: [raed] }]\n',
    'more.yaml':
      'topics:\n  - name: twice\n  - name: twice\n    retention: 1h\n    config: { retention.ms: 1, retension.bytes: 3, vendor.thing: 1 }\n',
  })
  const { code, stdout } = await runRunner(['validate', dir])
  expect(code).toBe(2)
  for (const line of [
    'cat.yaml:2:11 CONFIG_TOPIC',
    'cat.yaml:3:5 CONFIG_UNKNOWN_KEY',
    'did you mean: partitions',
    'cat.yaml:5:17',
    'cat.yaml:6:16 CONFIG_DURATION',
    'did you mean: 24h',
    'cat.yaml:7:25',
    'did you mean: read',
    'more.yaml:3:11 CONFIG_DUPLICATE_NAME',
    'more.yaml:5:15 CONFIG_VALUE',
    'more.yaml:5:32 CONFIG_UNKNOWN_KEY',
    'did you mean: retention.bytes',
  ])
    expect(stdout).toContain(line)
  expect(stdout).toContain('9 problems in 2 of 2 files')
  const planned = await runRunner(['topics', 'plan', dir])
  expect(planned.code).toBe(2)
  expect(planned.stderr).toContain('cat.yaml:2:11')
})

test('wrong settings are exit code 2 with their variable, an unreachable broker is exit code 3', async () => {
  const wrong = await runRunner(['topics', 'list'], { env: { KAFKA_BROKERS: 'localhost:9092', KAFKA_SECURITY_PROTOCOL: 'SASL_SLL' } })
  expect(wrong.code).toBe(2)
  expect(wrong.stderr).toMatch(/^error: KAFKA_SECURITY_PROTOCOL: .*did you mean SASL_SSL/m)
  expect((await runRunner(['topics', 'list', '--brokers', 'localhost'])).stderr).toContain('--brokers: ')
  const gone = await runRunner(['topics', 'list', '--brokers', '127.0.0.1:1'])
  expect(gone.code).toBe(3)
  expect(gone.stderr).toContain('127.0.0.1:1')
  expect(gone.stderr.trim().split('\n')).toHaveLength(1)
  const typo = await runRunner(['topics', 'lst'])
  expect(typo.code).toBe(2)
  expect(typo.stderr).toContain('Did you mean list?')
  const help = await runRunner(['topics', 'apply', '--help'])
  expect(help.code).toBe(0)
  expect(help.stdout).toContain('Example:')
})
