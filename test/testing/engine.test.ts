import { describe, expect, it } from 'vitest'
import { defineTransform, type TransformPlugin } from '../../src/contract/plugin.ts'
import type { Failure } from '../../src/testing/run.ts'
import { barsStep, pipelineOf, run, socketSource, step, summing, topicSink } from './support.ts'

const sums = pipelineOf([step('sum', summing)])
const one = async (steps: string, pipeline = sums, options = {}): Promise<readonly Failure[]> => {
  const { results, problems } = await run(`clock: 0\ntests:\n  - name: t\n${steps}`, pipeline, options)
  expect(problems).toEqual([])
  return results[0].failures
}

describe('a test', () => {
  it('passes if all expectations are met, also in repeats with other batches', async () => {
    const failures = await one(
      `
    steps:
      - input:
          - values: [ { n: 1 }, { n: 2 }, { n: x } ]
            key: a
            headers: { trace: t1 }
      - expect:
          outputs:
            - { value: { n: 1, sum: 1 }, key: a, headers: { trace: t1 }, time: 0, lane: ticks/0 }
            - { raw: '{"n":2,"sum":3}', key: a }
          dead_letters:
            - { error_type: data, step: sum, message: 'n is "x"', value: { n: x }, key: a, offset: 2, headers: { trace: t1, source_topic: ticks } }
          metrics: { in: { in: 3, out: 3 }, sum: { in: 3, out: 2, dead: 1 }, out: { in: 2, out: 2 }, dlq: { in: 1 }, seen_total: 2, 'seen_total{lane="ticks/0"}': 2 }
      - advance: 5s
      - input: [ { value: { n: 4 }, time: 1970-01-01T00:00:09Z }, { value: { n: 5 } } ]
      - expect: { outputs: [ { value: { n: 4, sum: 7 }, time: 9000, key: null }, { value: { n: 5, sum: 12 }, time: 5000 } ] }
      - end: true
    expect:
      outputs: [ { value: { total: 12 } } ]`,
      sums,
      { repeat: 20 },
    )
    expect(failures).toEqual([])
  })

  it('fails with every difference, at the line of the expectation', async () => {
    const failures = await one(`
    steps:
      - input: [ { values: [ { n: 1 }, { n: 2 }, { n: 3 } ] } ]
    expect:
      outputs:
        - value: { n: 1, sum: 1 }
        - value: { n: 3, sum: 7, extra: true }
        - value: { n: 4, sum: 10 }
      metrics: { sum: { in: 4 }, seen_totl: 1 }`)
    const [channel, metric, unknown] = failures as any[]
    expect(channel).toMatchObject({ kind: 'channel', what: 'outputs', at: { line: 8 } })
    expect(channel.rows.map((r: any) => [r.kind, r.expected?.at.line])).toEqual([
      ['same', 9],
      ['unexpected', undefined],
      ['changed', 10],
      ['missing', 11],
    ])
    expect(channel.rows[2].differences).toEqual([
      { path: 'value.sum', expected: '7', actual: '6' },
      { path: 'value.extra', expected: 'true', actual: undefined },
    ])
    expect(metric).toMatchObject({ kind: 'metric', what: 'metrics.sum.in', expected: 4, actual: 3, at: { line: 12 } })
    expect(unknown).toMatchObject({ kind: 'metric', actual: undefined, hint: 'there is no metric seen_totl; did you mean seen_total?' })
  })

  it('fails if outputs or dead letters have no expectation', async () => {
    const input = '\n    steps:\n      - input: [ { value: { n: 1 } }, { value: {} } ]\n'
    expect((await one(input)).map(f => f.what)).toEqual(['outputs', 'dead_letters'])
    expect((await one(`${input}    expect: { outputs: [ { value: { n: 1, sum: 1 } } ] }`)).map(f => f.what)).toEqual(['dead_letters'])
    expect(await one(`${input}    expect: { outputs: { out: {} }, dead_letters: { count: 1 } }`)).toEqual([])
    expect(await one(`${input}    expect: { outputs: { out: { count: 2 } }, dead_letters: {} }`)).toMatchObject([{ count: [2, 1] }])
    // With one sink its name may be left out.
    expect(await one(`${input}    expect: { outputs: { count: 2 }, dead_letters: {} }`)).toMatchObject([{ count: [2, 1] }])
    expect(await one(`${input}    expect: { outputs: { count: 1 }, dead_letters: {} }`)).toEqual([])
  })

  it('compares subsets, and lists without order', async () => {
    const input = '\n    steps:\n      - input: [ { values: [ { n: 1 }, { n: 2 } ] } ]\n'
    const expecting = (options: string, messages: string): string =>
      `${input}    expect: { outputs: { out: { ${options} messages: [ ${messages} ] } } }`
    expect(await one(expecting('match: subset,', '{ value: { n: 1 } }, { value: { sum: 3 } }'))).toEqual([])
    expect(await one(expecting('', '{ value: { n: 1 } }, { value: { sum: 3 } }'))).toHaveLength(1)
    expect(await one(expecting('order: any,', '{ value: { n: 2, sum: 3 } }, { value: { n: 1, sum: 1 } }'))).toEqual([])
    expect(await one(expecting('', '{ value: { n: 2, sum: 3 } }, { value: { n: 1, sum: 1 } }'))).toHaveLength(1)
    // Two expectations are not met by one and the same message.
    expect(await one(expecting('order: any, match: subset,', '{ value: { n: 1 } }, { value: { sum: 1 } }'))).toHaveLength(1)
  })
})

const crashing = (between: string, expected: string): string => `
    steps:
      - input: [ { values: [ { n: 1 }, { n: 2 } ] } ]
${between}
      - crash: true
      - input: [ { value: { n: 3 } } ]
    expect: { outputs: [ { values: [ ${expected} ] } ] }`

describe('crash', () => {
  const exact = '{ n: 1, sum: 1 }, { n: 2, sum: 3 }, { n: 3, sum: 6 }'
  const loose = pipelineOf([step('sum', summing)], { delivery: 'at_least_once' })

  it('loses and duplicates no record under exactly_once, with a checkpoint or without', async () => {
    expect(await one(crashing('', exact))).toEqual([])
    expect(await one(crashing('      - advance: 1s', exact))).toEqual([])
  })

  it('restores state from the checkpoint, and continues after it', async () => {
    const counted = `${crashing('      - advance: 1s', exact).replace('    expect: {', '    expect: { metrics: { sum: { in: 3 } },')}`
    expect(await one(counted)).toEqual([])
  })

  it('repeats output under at_least_once', async () => {
    expect(await one(crashing('', `{ n: 1, sum: 1 }, { n: 2, sum: 3 }, ${exact}`), loose)).toEqual([])
    expect(await one(crashing('      - advance: 1s', exact), loose)).toEqual([])
  })

  it('loses records that a source without replay had delivered', async () => {
    const forgetful = pipelineOf([step('sum', summing)], { sources: [step('in', socketSource)], delivery: 'at_least_once' })
    expect(await one(crashing('', '{ n: 1, sum: 1 }, { n: 2, sum: 3 }, { n: 3, sum: 3 }'), forgetful)).toEqual([])
  })

  it('without state uses the position of the source', async () => {
    const through = defineTransform({
      type: 'through',
      schema: {},
      create: () => ({ process: (ms, out) => ms.forEach(m => out.emit(m)) }),
    }) as TransformPlugin
    const stateless = pipelineOf([step('through', through)], { delivery: 'at_least_once' })
    expect(await one(crashing('      - advance: 1s', '{ n: 1 }, { n: 2 }, { n: 3 }'), stateless)).toEqual([])
    expect(await one(crashing('', '{ n: 1 }, { n: 2 }, { n: 1 }, { n: 2 }, { n: 3 }'), stateless)).toEqual([])
  })
})

describe('restart', () => {
  it('drains first', async () => {
    const failures = await one(`
    steps:
      - input: [ { values: [ { n: 1 }, { n: 2 } ] } ]
      - restart: true
      - input: [ { value: { n: 3 } } ]
    expect:
      outputs: [ { values: [ { n: 1, sum: 1 }, { n: 2, sum: 3 }, { n: 3, sum: 6 } ] } ]
      metrics: { sum: { in: 3 } }`)
    expect(failures).toEqual([])
  })
})

describe('lanes', () => {
  it('run one after another, and keep separate state', async () => {
    const failures = await one(
      `
    steps:
      - input:
          - { value: { n: 1 }, partition: 1 }
          - { value: { n: 10 }, partition: 0 }
          - { value: { n: 2 }, partition: 1 }
          - { value: { n: 5 }, topic: other, partition: 10 }
      - crash: true
      - input: [ { value: { n: 20 }, partition: 0 } ]
    expect:
      outputs:
        - { value: { n: 5, sum: 5 }, lane: other/10 }
        - { values: [ { n: 10, sum: 10 }, { n: 20, sum: 30 } ], lane: ticks/0 }
        - { values: [ { n: 1, sum: 1 }, { n: 2, sum: 3 } ], lane: ticks/1 }`,
      sums,
      { repeat: 10 },
    )
    expect(failures).toEqual([])
  })

  it('read from several sources and write to several sinks', async () => {
    const wide = pipelineOf([step('sum', summing)], {
      sources: [step('a', socketSource), step('b', socketSource)],
      sinks: [step('x', topicSink), { ...step('y', topicSink), when: 'n > 1.0' } as never],
      delivery: 'at_least_once',
    })
    const failures = await one(
      `
    steps:
      - input: { b: [ { value: { n: 2 } } ], a: [ { value: { n: 1 }, lane: conn-1 } ] }
    expect:
      outputs:
        x: [ { value: { n: 2, sum: 2 }, lane: b }, { value: { n: 1, sum: 1 }, lane: conn-1 } ]
        y: [ { value: { n: 2, sum: 2 } } ]`,
      wide,
    )
    expect(failures).toEqual([])
  })
})

describe('the clock', () => {
  it('fires idle windows at their own time', async () => {
    const bars = pipelineOf([barsStep()])
    const tick = 'symbol: A, price: 1.5, volume: 0.1'
    const failures = await one(
      `
    steps:
      - input: [ { value: { ${tick}, ts: 1000 } }, { value: { ${tick}, ts: 50000 } } ]
      - advance: 11s
      - expect: { outputs: [] }
      - advance: 2s
    expect:
      outputs: [ { key: A, value: { symbol: A, interval: 1m, start: 0, end: 60000, open: 1.5, high: 1.5, low: 1.5, close: 1.5, volume: 0.2, vwap: 1.5, count: 2 } } ]`,
      bars,
      { repeat: 10 },
    )
    expect(failures).toEqual([])
  })
})

describe('a step that waits', () => {
  const waiting = (wait: () => Promise<unknown>): TransformPlugin =>
    defineTransform({
      type: 'waiting',
      schema: {},
      create: () => ({
        async process(messages, out) {
          await wait()
          for (const m of messages) out.emit(m)
        },
      }),
    }) as TransformPlugin
  const input =
    '\n    steps:\n      - input: [ { values: [ { n: 1 }, { n: 2 } ] } ]\n      - advance: 1s\n      - crash: true\n    expect: { outputs: [ { values: [ { n: 1, sum: 1 }, { n: 2, sum: 3 } ] } ] }'

  it('is waited for in real time', async () => {
    const lookup = (): Promise<unknown> => import('node:fs/promises').then(fs => fs.readFile(import.meta.filename))
    expect(await one(input, pipelineOf([step('waiting', waiting(lookup)), step('sum', summing)]), { repeat: 5 })).toEqual([])
  })

  it('is not waited for indefinitely', async () => {
    const never = waiting(() => new Promise(() => {}))
    const failures = await one(input, pipelineOf([step('waiting', never)]), { restTimeout: 100 })
    expect(failures).toMatchObject([
      { kind: 'error', at: { line: 6 }, text: expect.stringMatching(/did not come to rest within 0.1 s.*lane ticks\/0/) },
    ])
  })
})

describe('many records', () => {
  it('pass through a small max_in_flight', async () => {
    const lines = Array.from({ length: 20_000 }, (_, n) => JSON.stringify({ n })).join('\n')
    const { results } = await run(
      'tests:\n  - name: t\n    steps: [ { input: [ { file: many.jsonl } ] } ]\n    expect: { outputs: { out: { count: 20000 } } }',
      pipelineOf([step('sum', summing)], { max_in_flight: 50 }),
      { repeat: 2 },
      { 'many.jsonl': lines },
    )
    expect(results[0].failures).toEqual([])
  })
})

describe('a pipeline that stops', () => {
  const strict = pipelineOf([step('sum', summing)], { dlq: undefined })
  const input = '\n    steps:\n      - input: [ { values: [ { n: 1 }, { n: no }, { n: 2 } ] } ]\n'

  it('fails the test, unless the test expects it', async () => {
    expect(await one(input, strict)).toMatchObject([
      { kind: 'error', what: 'error', text: expect.stringMatching(/the pipeline stopped: step 'sum'.*rejected ticks\/0 offset 1/s) },
    ])
    expect(await one(`${input}    expect: { stops: "Add a 'dlq:' section", outputs: [] }`, strict)).toEqual([])
    expect(await one(`${input}    expect: { stops: other, outputs: [] }`, strict)).toMatchObject([
      { what: 'stops', text: expect.stringMatching(/another error/) },
    ])
    expect(await one(`${input}    expect: { stops: dlq, outputs: {out: {}}, dead_letters: {} }`)).toMatchObject([
      { what: 'stops', text: expect.stringMatching(/has not stopped/) },
    ])
  })

  it('does not stop at a record that its source rejects to the sender: the rejection is a dead letter of the test', async () => {
    const source = { ...socketSource, create: () => ({ ...socketSource.create({}, {} as never), reject: () => {} }) }
    const reporting = { ...strict, delivery: 'at_least_once' as const, sources: [step('in', source)] }
    expect(await one(`${input}    expect: { dead_letters: [ { value: { n: no } } ], outputs: { out: { count: 2 } } }`, reporting)).toEqual(
      [],
    )
  })

  it('stops again before the same record after a restart', async () => {
    expect(
      await one(`${input}      - expect: { stops: offset 1 }\n      - restart: true\n    expect: { stops: offset 1, outputs: [] }`, strict),
    ).toEqual([])
    expect(
      await one(`${input}      - expect: { stops: offset 1 }\n      - crash: true\n    expect: { stops: offset 1, outputs: [] }`, strict),
    ).toEqual([])
  })
})

describe('raw input', () => {
  it('is passed byte for byte', async () => {
    const bytes = pipelineOf([], { sources: [step('in', socketSource, { format: 'bytes' })], delivery: 'at_least_once' })
    const failures = await one(
      `
    steps:
      - input:
          - { raw: '{"a":', key: { hex: ff00 } }
          - { raw: { base64: /w== } }
          - { raw: null }
          - { raw: '' }
          - { raw: { text: ab, repeat: 3 } }
    expect:
      outputs: [ { raw: '{"a":', key: { hex: "ff 00" } }, { raw: { hex: ff }, key: null }, { raw: null }, { raw: '' }, { raw: ababab } ]`,
      bytes,
    )
    expect(failures).toEqual([])
  })

  it('may be text without quotes, lines of a file, or data the client cannot unpack', async () => {
    const text = pipelineOf([], {
      sources: [step('in', socketSource, { format: 'text' })],
      sinks: [step('out', { ...topicSink, readsValue: true })],
      delivery: 'at_least_once',
    })
    const { results } = await run(
      `
tests:
  - name: t
    steps:
      - input: [ { value: hello }, { value: { a: 1 } }, { file: lines.txt, key: f }, { raw: x, failure: unknown codec 7 } ]
    expect:
      outputs: [ { value: hello }, { value: { a: 1 } }, { value: one, key: f }, { raw: 'two ' } ]
      dead_letters: [ { error_type: decode, message: unknown codec 7, raw: x } ]
`,
      text,
      {},
      { 'lines.txt': 'one\n\ntwo ' },
    )
    expect(results[0].failures).toEqual([])
  })
})

const unsteady = (value: (batch: number) => unknown): TransformPlugin =>
  defineTransform({
    type: 'unsteady',
    schema: {},
    create: () => ({ process: (ms, out) => ms.forEach(m => out.emit(m.derive(value(ms.length)))) }),
  }) as TransformPlugin

describe('repeat', () => {
  const input = '\n    steps:\n      - input: [ { values: [ 1, 2, 3, 4, 5, 6 ] } ]\n    expect: { outputs: { out: { count: 6 } } }'

  it('finds a step whose output depends on how batches are split', async () => {
    const p = pipelineOf([
      step(
        'unsteady',
        unsteady(batch => ({ batch })),
      ),
    ])
    expect(await one(input, p)).toEqual([])
    const [failure] = (await one(input, p, { repeat: 5 })) as any[]
    expect(failure).toMatchObject({ kind: 'repeat', what: 'outputs', text: expect.stringMatching(/run \d has a different output/) })
    expect(failure.rows.some((r: any) => r.kind === 'changed' && r.differences[0].expected === '"{\\"batch\\":6}"')).toBe(true)
  })

  it('finds randomness', async () => {
    expect(
      await one(
        input,
        pipelineOf([
          step(
            'unsteady',
            unsteady(() => Math.random()),
          ),
        ]),
        { repeat: 3 },
      ),
    ).toMatchObject([{ kind: 'repeat' }])
  })

  it('gives one hash for a thousand runs of windows, crashes and idle time', async () => {
    const { results } = await run(
      `
clock: 0
tests:
  - name: t
    steps:
      - input:
          - values: [ { symbol: A, price: 1, volume: 1, ts: 1000 }, { symbol: B, price: '2.50', volume: 1, ts: 30000 }, { symbol: A, price: 4, volume: 0.1, ts: 61000 } ]
          - { value: { symbol: C, price: 1, volume: 1, ts: 2000 }, partition: 1 }
      - crash: true
      - input: [ { values: [ { symbol: A, price: 3, volume: 1, ts: 59999 }, { symbol: A, price: 9, volume: 1, ts: 63000 }, {} ] } ]
      - advance: 300ms
      - crash: true
      - advance: 75s
    expect: { outputs: { out: { count: 4 } }, dead_letters: { count: 1 } }
`,
      pipelineOf([barsStep()]),
      { repeat: 1000 },
    )
    expect(results[0].failures).toEqual([])
    expect(results[0].hash).toMatch(/^[0-9a-f]{64}$/)
  })
})
