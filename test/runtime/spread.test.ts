import { expect, test } from 'vitest'
import { testPipeline } from '../../src/testing/pipeline.ts'

const windowInto = (sink: string, source = ''): string => `name: t
sources:
  - kafka: { topics: [clicks] }
${source}transforms:
  - window: { size: 1m, by: user, time: ts, aggregates: { n: { count: "*" } } }
sinks:
  - ${sink}
`
const UPSERT = 'postgres: { dsn: "postgres://127.0.0.1/x", table: counts, columns: [key, start, n], key: [key, start] }'
const click = (user: string, ts: number, partition: number) => ({ value: { user, ts }, key: `${ts}`, partition })

test('partial rows of two partitions never overwrite each other: the pipeline stops', async () => {
  await using pipeline = await testPipeline(windowInto(UPSERT))
  await pipeline.send([click('ann', 0, 0), click('bob', 1, 1)])
  const stopped = async (): Promise<unknown> => {
    await pipeline.send(click('ann', 2, 1))
    return pipeline.outputs()
  }
  await expect(stopped()).rejects.toThrow(/records of one `user` are on several lanes .*repartition: \{ by: user \}/)
})

test('the suggested step can be pasted: an expression that YAML would read differently is quoted', async () => {
  await using pipeline = await testPipeline(windowInto(UPSERT).replace('by: user', `by: 'user + ": "'`))
  const stopped = async (): Promise<unknown> => {
    await pipeline.send([click('ann', 0, 0), click('ann', 1, 1)])
    return pipeline.outputs()
  }
  await expect(stopped()).rejects.toThrow('put `- repartition: { by: "user + \\": \\"" }` before window')
})

test('a sink that keeps every row receives all rows', async () => {
  await using pipeline = await testPipeline(windowInto('stdout: {}'))
  await pipeline.send([click('ann', 0, 0), click('ann', 1, 1)])
  await pipeline.end()
  expect((await pipeline.outputs()).map(r => r.value.n)).toEqual([1, 1])
})

test('keyed_by is trusted', async () => {
  await using pipeline = await testPipeline(windowInto(UPSERT, '    keyed_by: user\n'))
  await pipeline.send([click('ann', 0, 0), click('ann', 1, 1)])
  await pipeline.end()
  expect(await pipeline.outputs()).toHaveLength(2)
})
