/** `repartition` on the virtual clock: the output does not depend on the input lane of a record. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { linkSink } from '../../../../src/connectors/kafka/link/ends.ts'
import { mark } from '../../../../src/connectors/kafka/link/wire.ts'
import { BatchError, Message } from '../../../../src/contract/plugin.ts'
import { guarantees } from '../../../../src/explain/guarantees.ts'
import { internalTopics } from '../../../../src/operations/catalog.ts'
import { loadPipeline, loadText } from '../../../../src/config/load.ts'
import { runTestFile } from '../../../../src/testing/engine.ts'
import { failureText, plain } from '../../../../src/testing/report.ts'
import { type PipelineTest, testPipeline } from '../../../../src/testing/pipeline.ts'
import { fakeContext, writeContext } from '../../../../src/testing/conformance/context.ts'
import type { RepartitionConfig } from '../../../../src/generated/config-types.ts'
import { tempDir } from '../../../support/runner.ts'

const COUNTS = `name: counts
sources:
  - kafka: { topics: [clicks] }
transforms:
  - repartition: { by: user, time: ts }
  - window: { size: 1m, by: user, time: ts, allowed_lateness: 0s, on_late: dlq, aggregates: { n: { count: "*" }, at: { collect: ts } } }
sinks:
  - stdout: {}
dlq: { kafka: { topic: dead } }
`
const click = (user: string, ts: number, partition: number, more: object = {}) => ({
  value: { user, ts, ...more },
  key: `k${ts}`,
  partition,
  topic: 'clicks',
})
/** A test's lanes are those that it has sent to: from here on there are two. */
async function withTwoPartitions(): Promise<PipelineTest> {
  const pipeline = await testPipeline(COUNTS)
  await pipeline.send([click('x', 0, 0), click('x', 0, 1)])
  await pipeline.restart()
  return pipeline
}
const rows = (records: readonly { value: any }[]): string[] =>
  records
    .map(r => `${r.value.key} ${r.value.start} ${r.value.n}`)
    .filter(row => !row.startsWith('x '))
    .sort()

test('records of one key are counted together, whatever partition they come from', async () => {
  await using pipeline = await testPipeline(COUNTS)
  await pipeline.send(Array.from({ length: 30 }, (_, i) => click(i % 2 ? 'ann' : 'bob', i * 1000, i % 3)))
  await pipeline.end()
  expect(rows(await pipeline.outputs())).toEqual(['ann 0 15', 'bob 0 15'])
  expect(await pipeline.deadLetters()).toEqual([])
})

test('a partition read an hour ahead of another makes no record late', async () => {
  await using pipeline = await withTwoPartitions()
  await pipeline.send(Array.from({ length: 60 }, (_, i) => click('ann', i * 60_000, 0)))
  expect(await pipeline.outputs()).toEqual([])
  await pipeline.send(Array.from({ length: 60 }, (_, i) => click('ann', i * 60_000 + 1, 1)))
  await pipeline.end()
  expect(rows(await pipeline.outputs())).toEqual(Array.from({ length: 60 }, (_, i) => `ann ${i * 60_000} 2`).sort())
  expect(await pipeline.deadLetters()).toEqual([])
})

test('an idle partition is not waited for at its end', async () => {
  await using pipeline = await withTwoPartitions()
  await pipeline.send([click('ann', 0, 0), click('bob', 1, 1)])
  await pipeline.send(click('ann', 120_000, 0))
  expect(await pipeline.outputs()).toEqual([])
  await pipeline.advance('9s')
  await pipeline.send(click('ann', 121_000, 0))
  await pipeline.advance('4s')
  // Partition 1 has been idle for 10 s: only partition 0 determines event time.
  expect(rows(await pipeline.outputs())).toEqual(['ann 0 1', 'bob 0 1'])
})

test('a partition that resumes behind the others, and passes them, is waited for like them', async () => {
  await using pipeline = await withTwoPartitions()
  await pipeline.send([click('ann', 0, 0), click('bob', 1, 1)])
  await pipeline.advance('9s')
  await pipeline.send(click('ann', 125_000, 0))
  await pipeline.advance('4s')
  expect(rows(await pipeline.outputs())).toEqual(['ann 0 1', 'bob 0 1'])
  await pipeline.send(click('bob', 122_000, 1))
  await pipeline.send(click('bob', 200_000, 1))
  await pipeline.send(click('ann', 200_000, 0))
  // No partition is idle: the time that both have reached closes the windows.
  expect(rows(await pipeline.outputs())).toEqual(['ann 120000 1', 'bob 120000 1'])
})

test('a window of a key without new records closes by the time of the other keys', async () => {
  await using pipeline = await testPipeline(COUNTS.replace('repartition: {', 'repartition: { partitions: 50,'))
  await pipeline.send([click('ann', 0, 0), click('bob', 0, 0), click('cid', 0, 0), click('ann', 70_000, 0)])
  expect(rows(await pipeline.outputs())).toEqual(['ann 0 1', 'bob 0 1', 'cid 0 1'])
})

test('a record that is late in its own lane is late', async () => {
  await using pipeline = await testPipeline(COUNTS)
  await pipeline.send([click('ann', 0, 0), click('ann', 70_000, 0), click('ann', 5, 0, { late: true })])
  const dead = await pipeline.deadLetters()
  expect(dead).toHaveLength(1)
  expect(dead[0]).toMatchObject({ errorType: 'late', step: 'window', value: { user: 'ann', ts: 5, late: true }, key: 'k5' })
  expect(dead[0].headers).toMatchObject({ source_topic: 'clicks', source_partition: '0', source_offset: '2' })
})

test.each(['crash', 'restart'] as const)('a %s in the middle loses and doubles nothing', async how => {
  await using pipeline = await testPipeline(`${COUNTS}delivery: exactly_once\n`.replace('stdout: {}', 'kafka: { topic: out }'))
  for (let i = 0; i < 40; i++) {
    await pipeline.send(click(i % 2 ? 'ann' : 'bob', i * 4000, i % 3))
    if (i % 3 === 0) await pipeline.advance(`${(i * 37) % 150}ms`)
    if (i % 7 === 0) await pipeline[how]()
  }
  await pipeline.end()
  const found = (await pipeline.outputs()).map(r => r.value)
  expect(found.flatMap(v => v.at as number[]).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i * 4000))
  expect(new Set(found.map(v => `${v.key} ${v.start}`)).size).toBe(found.length)
})

describe('records after the repartition', () => {
  const echo = (transforms: string): string =>
    `name: echo\nsources: [{ kafka: { topics: [in] } }]\ntransforms:\n${transforms}sinks: [{ kafka: { topic: out } }]\ndlq: { kafka: { topic: dead } }\n`

  test('bytes, headers and numbers are unchanged', async () => {
    await using pipeline = await testPipeline(echo('  - repartition: user\n'))
    await pipeline.send({
      payload: '{"user":"ann", "amount":1.10,"big":12345678901234567890}',
      key: 'k',
      headers: { trace: 'x', none: null },
      time: 77,
    })
    await pipeline.end()
    const [record] = await pipeline.outputs()
    expect(record).toMatchObject({ key: 'ann', headers: { trace: 'x', none: null }, time: 77 })
    expect(record.payload!.toString()).toBe('{"user":"ann", "amount":1.10,"big":12345678901234567890}')
  })

  test('a record with a header that the step writes', async () => {
    await using pipeline = await testPipeline(echo('  - repartition: user\n'))
    await pipeline.send({ value: { user: 'ann' }, headers: { runner_link: 'idle' } })
    await pipeline.end()
    expect(await pipeline.outputs()).toMatchObject([{ key: 'ann', value: { user: 'ann' }, headers: { runner_link: 'idle' } }])
  })

  test('changed values are passed on, with the source record for the dead letter', async () => {
    await using pipeline = await testPipeline(
      echo('  - map: { keep: true, fields: { total: amount * 2 } }\n  - repartition: user\n  - filter: total < limit\n'),
    )
    await pipeline.send([
      { payload: '{"user":"ann","amount":12345678901234567890.5,"limit":9e30}', key: 'k' },
      { payload: '{"user":"ann", "amount":1}', key: 'k2' },
    ])
    await pipeline.end()
    expect((await pipeline.outputs()).map(r => r.payload!.toString())).toEqual([
      '{"user":"ann","amount":12345678901234567890.5,"limit":9e30,"total":24691357802469135781}',
    ])
    const [dead] = await pipeline.deadLetters()
    expect(dead.payload!.toString()).toBe('{"user":"ann", "amount":1}')
    expect(dead).toMatchObject({ key: 'k2', step: 'filter', headers: { source_topic: 'in', source_offset: '1' } })
  })

  test('a record without the key is dead-lettered by the step', async () => {
    await using pipeline = await testPipeline(echo('  - repartition: value.?user.orValue(null)\n'))
    await pipeline.send({ value: { amount: 1 } })
    await pipeline.end()
    expect(await pipeline.deadLetters()).toMatchObject([{ step: 'repartition', errorType: 'data' }])
  })
})

test('only the record that is too large for the internal topic is rejected, whatever marks precede it', async () => {
  const config = {
    by: 'user',
    partitions: 3,
    replication: -1,
    retention: 86_400_000,
    compression: 'none',
    brokers: `embedded:${join(tempDir(), 'log.db')}`,
  } as RepartitionConfig
  const { plugin, config: own } = linkSink(config, { pipeline: 'p', version: 1, group: undefined, step: 'repartition' })
  const sink = plugin.create(own, fakeContext('repartition'))
  await sink.open?.(new AbortController().signal)
  const messages = [new Message('a', 'k'), mark('time', 1), new Message('x'.repeat(2_000_000), 'k'), new Message('b', 'k')]
  const error = await Promise.resolve(sink.write(messages, writeContext())).catch((e: unknown) => e)
  expect(error).toBeInstanceOf(BatchError)
  expect([...(error as BatchError).failed.keys()]).toEqual([2])
  await sink.close?.()
})

describe('validate', () => {
  const problems = async (transforms: string, sources = 'kafka: { topics: [a] }'): Promise<string[]> => {
    const text = `name: t\nsources: [{ ${sources} }]\ntransforms:\n${transforms}sinks: [{ stdout: {} }]\n`
    return (await loadText('t.yaml', text, { env: {} })).problems.map(p => `${p.severity} ${p.code} ${p.message}`)
  }
  const window = '  - window: { size: 1m, by: user, aggregates: { n: { count: "*" } } }\n'

  test('a later step may group by its key', async () => {
    expect(await problems(`  - repartition: user\n${window}`)).toEqual([])
    expect(await problems('  - repartition: user\n  - window: { size: 1m, aggregates: { n: { count: "*" } } }\n')).toEqual([])
    expect(await problems(`  - repartition: team\n${window}`)).toEqual([
      expect.stringMatching(/^error CONFIG_LANE_KEY window groups records by `user`.*repartition keeps records together by team/),
    ])
  })

  test('the time field of a later window must match that of repartition', async () => {
    expect(await problems('  - repartition: symbol\n  - bars: 1m\n')).toEqual([
      expect.stringMatching(/^error CONFIG_CHECK bars takes its time from the field ts/),
    ])
    expect(await problems('  - repartition: { by: symbol, time: ts }\n  - bars: 1m\n')).toEqual([])
  })

  test('a source that reads all records again in each run is an error', async () => {
    expect(await problems('  - repartition: user\n', 'kafka: { topics: [a], once: true }')).toEqual([
      expect.stringMatching(/^error CONFIG_CHECK kafka reads everything again/),
    ])
  })
})

test('the name of the internal topic has pipeline, version, group and step, and the plan includes its partitions', async () => {
  const text = `name: t\nversion: 3\nsources: [{ kafka: { topics: [a], group: g } }]\ntransforms: [{ repartition: { by: user, partitions: 7, retention: 1d } }]\nsinks: [{ stdout: {} }]\n`
  const { pipeline } = await loadText('t.yaml', text, { env: {} })
  expect(internalTopics(pipeline!).topics).toEqual([
    {
      name: '__runner.t.3.g.repartition',
      partitions: 7,
      replication: undefined,
      config: { 'cleanup.policy': 'delete', 'retention.ms': '86400000' },
    },
  ])
})

test('the guarantee of a pipeline does not exceed that of the internal topic', async () => {
  const promises = async (source: string, sink: string, delivery = 'at_least_once'): Promise<string[]> => {
    const text = `name: t\nsources: [{ ${source} }]\ntransforms: [{ repartition: user }]\nsinks: [{ ${sink} }]\ndelivery: ${delivery}\n`
    const { pipeline } = await loadText('t.yaml', text, { env: {} })
    return guarantees(pipeline!).map(p => `${p.source} ${p.sink} ${p.guarantee}: ${p.reason}`)
  }
  const kafka = 'kafka: { topics: [a] }'
  expect(await promises(kafka, 'kafka: { topic: b }', 'exactly_once')).toEqual([
    expect.stringMatching(/^kafka kafka_2 exactly_once: repartitioned exactly once by repartition; outputs, state and source position/),
  ])
  expect(await promises(kafka, 'postgres: { dsn: "postgres://h/x", table: t, columns: [id], key: [id] }')).toEqual([
    expect.stringMatching(/^kafka postgres effectively_once: repartitioned exactly once by repartition/),
  ])
  expect(await promises('http: { port: 8899, path: /x, allow_unauthenticated: true }', 'kafka: { topic: b }')).toEqual([
    expect.stringMatching(/^http kafka at_most_once: repartitioned at most once by repartition/),
  ])
})

test('the example gives one result in fifty runs, however batches are split', async () => {
  const load = (path: string, { env, set }: { env: Readonly<Record<string, string>>; set: readonly { argument: string }[] }) =>
    loadPipeline(path, { env, set: set.map(s => s.argument) })
  const { problems, results } = await runTestFile('examples/repartition/pipeline.test.yaml', { repeat: 50, load })
  expect(problems).toEqual([])
  expect(results.flatMap(r => r.failures.map(f => failureText(f, plain)))).toEqual([])
  expect(results).toHaveLength(4)
})
