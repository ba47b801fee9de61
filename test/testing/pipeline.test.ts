/** `testPipeline`, as a user's test would call it. */
import { describe, expect, test } from 'vitest'
import { testPipeline } from 'pipeline-runner/testing'

const windowed = {
  name: 'sums',
  sources: [{ kafka: { topics: ['sales'], group: 'sums' } }],
  transforms: [{ window: { size: '1m', time: 'ts', by: 'shop', on_late: 'dlq', aggregates: { total: { sum: 'amount' } } } }],
  sinks: [{ kafka: { topic: 'sums' } }],
  dlq: { kafka: { topic: 'sums.dead' } },
}
const sale = (ts: number, amount: unknown, shop = 'a') => ({ value: { ts, amount, shop } })
const env = { KAFKA_BROKERS: 'embedded' }

describe('testPipeline', () => {
  test('returns the output of sinks and the dlq since the last call, with keys, topics and reasons', async () => {
    await using pipeline = await testPipeline(doubling)
    await pipeline.send([
      { value: { n: 1 }, key: 'k', headers: { h: 'x' }, time: '2026-01-01T00:00:00Z' },
      { value: { n: 'x' } },
      { payload: '{' },
    ])
    expect(await pipeline.outputs()).toMatchObject([{ value: { n: 2 }, key: 'k', lane: 'in/0', topic: 'out', time: Date.UTC(2026, 0, 1) }])
    expect(await pipeline.outputs()).toEqual([])
    expect((await pipeline.deadLetters()).map(d => [d.errorType, d.step, d.payload?.toString()])).toEqual([
      [expect.any(String), 'map', '{"n":"x"}'],
      ['decode', 'kafka', '{'],
    ])
    await pipeline.send({ value: { n: 2 } })
    expect((await pipeline.outputs()).map(r => r.value)).toEqual([{ n: 4 }])
    expect(pipeline.steps).toMatchObject({ map: { in: 3, out: 2, dead: 1 } })
  })

  test('a number that no double equals is not rounded in outputs', async () => {
    await using pipeline = await testPipeline({ ...doubling, transforms: [] })
    await pipeline.send({ payload: '{"n":1.10,"big":9007199254740993,"l":[1e400,1E2]}' })
    const [{ value }] = await pipeline.outputs()
    expect([value.n, value.l[1]]).toEqual([1.1, 100])
    expect(JSON.stringify(value)).toBe('{"n":1.1,"big":9007199254740993,"l":[1e400,100]}')
  })

  test('accepts new lanes while it runs', async () => {
    await using pipeline = await testPipeline(doubling)
    await pipeline.send({ value: { n: 1 }, partition: 0 })
    await pipeline.send({ value: { n: 2 }, partition: 7 })
    expect((await pipeline.outputs()).map(r => [r.lane, r.value.n])).toEqual([
      ['in/0', 2],
      ['in/7', 4],
    ])
    await pipeline.crash()
    await pipeline.send({ value: { n: 3 }, partition: 9 })
    expect((await pipeline.outputs()).map(r => [r.lane, r.value.n])).toEqual([['in/9', 6]])
  })

  test('uncommitted output of a crash is written again, according to the delivery setting', async () => {
    for (const [delivery, expected] of [
      ['at_least_once', [2, 2]],
      ['exactly_once', [2]],
    ] as const) {
      await using pipeline = await testPipeline({ ...doubling, delivery })
      await pipeline.send({ value: { n: 1 } })
      await pipeline.crash()
      expect((await pipeline.outputs()).map(r => r.value.n)).toEqual(expected)
    }
  })

  test('a window closes by the virtual clock, survives a crash, and rejects late records', async () => {
    await using pipeline = await testPipeline(windowed, { env })
    await pipeline.send([sale(1_000, 1), sale(2_000, 2)])
    await pipeline.crash()
    await pipeline.send([sale(3_000, 4), sale(61_000, 8), sale(200_000, 16), sale(5_000, 32)])
    await pipeline.end()
    expect((await pipeline.outputs()).map(r => r.value.total)).toEqual([7, 8, 16])
    expect((await pipeline.deadLetters()).map(d => d.errorType)).toEqual(['late'])
  })

  test('the examples of the guide and of the doc comment work', async () => {
    const bars = new URL('../../pipelines/bars.yaml', import.meta.url)
    await using one = await testPipeline(bars, { env })
    await one.send({ value: { symbol: 'BTC', price: 1, volume: 2, ts: 0 } })
    await one.crash()
    await one.advance('2m')
    await one.end()
    expect(await one.outputs()).toMatchObject([{ key: 'BTC', value: { close: 1, volume: 2 } }])
    expect(await one.deadLetters()).toEqual([])

    const tick = (price: number, ts: number) => ({ value: { symbol: 'BTC', price, volume: 1, ts } })
    await using two = await testPipeline(bars, { env })
    await two.send([tick(1, 0), tick(2, 120_000), tick(3, 0)])
    await two.crash()
    await two.end()
    expect((await two.outputs()).map(r => r.value.close)).toEqual([1, 2])
    expect((await two.deadLetters()).map(d => d.errorType)).toEqual(['late'])
  })

  test('throws the error that stopped the pipeline, once; its output can still be read', async () => {
    await using pipeline = await testPipeline({ ...doubling, dlq: undefined })
    await expect(pipeline.send([{ value: { n: 1 } }, { value: 'bad' }])).rejects.toThrow()
    expect(pipeline.failure).toBeInstanceOf(Error)
    await pipeline.outputs()
    await expect(pipeline.deadLetters()).rejects.toThrow('the pipeline has no dlq')
  })

  test('reports invalid arguments', async () => {
    await expect(testPipeline({ ...doubling, sinks: [{ kafak: {} }] }, { env })).rejects.toThrow('did you mean: kafka')
    await expect(testPipeline(windowed, { env, stubs: { window: [] } })).rejects.toThrow("no step that queries a peer 'window'")
    await using pipeline = await testPipeline(doubling)
    await expect(pipeline.send({ value: 1, source: 'kafak' })).rejects.toThrow("no source 'kafak'; did you mean 'kafka'?")
    await expect(pipeline.outputs('out')).rejects.toThrow("no sink 'out'")
    await expect(pipeline.advance('soon')).rejects.toThrow('soon is not a duration')
    await expect(pipeline.send({ value: 1, time: 'now' })).rejects.toThrow('time is now')
    expect(() => pipeline.metric('{')).toThrow('is not a metric')
  })
})

const doubling = {
  name: 'double',
  sources: [{ kafka: { brokers: 'embedded', topics: ['in'], group: 'double' } }],
  transforms: [{ map: { fields: { n: 'n * 2' } } }],
  sinks: [{ kafka: { brokers: 'embedded', topic: 'out' } }],
  dlq: { kafka: { brokers: 'embedded', topic: 'dead' } },
}
