import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { accept } from '../../src/testing/accept.ts'
import { pipelineOf, run, step, summing, topicSink } from './support.ts'

const sums = pipelineOf([step('sum', summing)])

/** Runs, accepts, and runs the accepted file: all tests must pass. */
async function accepted(text: string, pipeline = sums): Promise<{ text: string; count: number; left: number }> {
  const { results, problems } = await run(text, pipeline)
  expect(problems).toEqual([])
  const out = accept(text, results)
  if (out.left.length === 0) {
    const again = await run(out.text, pipeline)
    expect(again.problems).toEqual([])
    expect(again.results.flatMap(r => r.failures)).toEqual([])
  }
  return { ...out, left: out.left.length }
}

describe('--accept', () => {
  it('changes only failed expectations, and keeps comments, styles and all other text', async () => {
    const { text, count } = await accepted(`# top
tests:

  - name:   "odd   spacing"   # stays
    steps:
      - input:   [ {value: {n: 1}},   {value: {n: 2}} ]   # as it is
    expect:
      # before the list
      outputs:   # beside it
        # the first
        - value: { n: 1, sum: 99 }   # nearly
          key: null
        # the second
        - value:
            n: 2
            sum: 3 # right
      metrics: { sum: { in: 7, out: 2 } }   # counted
  - name: another
    steps: [ { input: [ {value: {n: 5}} ] } ]
    expect: { outputs: [ { value: {n: 5, sum: 5} } ] }
`)
    expect(count).toBe(2)
    expect(text).toBe(`# top
tests:

  - name:   "odd   spacing"   # stays
    steps:
      - input:   [ {value: {n: 1}},   {value: {n: 2}} ]   # as it is
    expect:
      # before the list
      outputs:   # beside it
        # the first
        - value: { n: 1, sum: 1 } # nearly
          key: null
        # the second
        - value:
            n: 2
            sum: 3 # right
      metrics: { sum: { in: 2, out: 2 } }   # counted
  - name: another
    steps: [ { input: [ {value: {n: 5}} ] } ]
    expect: { outputs: [ { value: {n: 5, sum: 5} } ] }
`)
  })

  it('adds and removes messages at their position', async () => {
    const { text } = await accepted(`tests:
  - name: t
    steps:
      - input: [ { values: [ { n: 1 }, { n: 2 }, { n: 3 }, { n: 4 } ] } ]
    expect:
      outputs:
        - value: { n: 1, sum: 1 }
        # never comes
        - value: { n: -100, sum: -99 }
          key: gone
        - value: { n: 3, sum: 6 } # third
`)
    expect(text).toBe(`tests:
  - name: t
    steps:
      - input: [ { values: [ { n: 1 }, { n: 2 }, { n: 3 }, { n: 4 } ] } ]
    expect:
      outputs:
        - value: { n: 1, sum: 1 }
        - { value: { n: 2, sum: 3 } }
        - value: { n: 3, sum: 6 } # third
        - { value: { n: 4, sum: 10 } }
`)
  })

  it('fills empty lists and empties full ones', async () => {
    const { text } = await accepted(`tests:
  - name: t
    steps:
      - input: [ { value: { n: 1 } } ]
      - expect:
          outputs: []
          dead_letters:
            - { step: sum }
      - input: [ { raw: '{', key: k } ]
      - expect: { dead_letters: [] }
`)
    expect(text).toBe(`tests:
  - name: t
    steps:
      - input: [ { value: { n: 1 } } ]
      - expect:
          outputs:
            - { value: { n: 1, sum: 1 } }
          dead_letters: []
      - input: [ { raw: '{', key: k } ]
      - expect: { dead_letters: [ { error_type: decode, step: in, message: "malformed JSON at column 2: expected a key in double quotes, but the text ends here", raw: "{", key: k } ] }
`)
  })

  it('extends a list of values', async () => {
    const { text } = await accepted(`tests:
  - name: t
    steps:
      - input: [ { values: [ { n: 1 }, { n: 2 }, { n: 3 } ], key: k } ]
    expect:
      outputs:
        - key: k
          values:
            - { n: 1, sum: 1 } # one
            - { n: 2, sum: 5 }
`)
    expect(text).toContain(`        - key: k
          values:
            - { n: 1, sum: 1 } # one
            - { n: 2, sum: 3 }
            - { n: 3, sum: 6 }
`)
  })

  it('writes the expectations of a test that has none, or lacks some', async () => {
    const { text } = await accepted(`tests:
  - name: none
    steps:
      - input: [ { value: { n: 1 } }, { value: {}, key: k } ]   # the end

  # about some
  - name: some
    steps:
      - input: [ { value: { n: 1 } }, { raw: { hex: ff } } ]
    expect:
      outputs: [ { value: { n: 1, sum: 1 } } ]
`)
    expect(text).toBe(`tests:
  - name: none
    steps:
      - input: [ { value: { n: 1 } }, { value: {}, key: k } ]   # the end
    expect:
      outputs:
        - { value: { n: 1, sum: 1 } }
      dead_letters:
        - { error_type: data, step: sum, message: n is undefined, value: {}, key: k }

  # about some
  - name: some
    steps:
      - input: [ { value: { n: 1 } }, { raw: { hex: ff } } ]
    expect:
      outputs: [ { value: { n: 1, sum: 1 } } ]
      dead_letters:
        - { error_type: decode, step: in, message: the payload is not valid UTF-8, raw: { base64: /w== } }
`)
  })

  it('keeps only the keys that an expectation has', async () => {
    const { text } = await accepted(`tests:
  - name: t
    steps:
      - input: [ { value: { n: 1 }, time: 1000, headers: { a: b } }, { value: { n: 2 } } ]
      - input: [ { value: { n: x }, key: k } ]
    expect:
      outputs:
        out:
          match: subset
          count: 3
          messages:
            - { value: { sum: 9 }, headers: { a: c }, time: 2000, lane: ticks/0 }
            - { value: { n: 2 } }
      dead_letters:
        - { message: nonsense, error_type: decode, step: sum, offset: 7, key: z }
`)
    expect(text).toContain('          count: 2\n')
    expect(text).toContain('            - { value: { sum: 1 }, headers: { a: b }, time: 1000, lane: ticks/0 }\n')
    expect(text).toContain('            - { value: { n: 2 } }\n')
    expect(text).toContain(`        - { message: n is "x", error_type: data, step: sum, offset: 2, key: k }\n`)
  })

  it('names the sinks if there are several', async () => {
    const two = pipelineOf([], { sinks: [step('x', topicSink), step('y', topicSink)] })
    const { text } = await accepted('tests:\n  - name: t\n    steps:\n      - input: [ { value: 1 } ]\n', two)
    expect(text).toBe(
      'tests:\n  - name: t\n    steps:\n      - input: [ { value: 1 } ]\n    expect:\n      outputs:\n        x:\n          - { value: 1 }\n        y:\n          - { value: 1 }\n',
    )
  })

  it('does not change values that an expectation cannot hold, or that aliases share', async () => {
    const strict = pipelineOf([step('sum', summing)], { dlq: undefined })
    const stopped = 'tests:\n  - name: t\n    steps:\n      - input: [ { value: {} } ]\n'
    expect(await accepted(stopped, strict)).toEqual({ text: stopped, count: 0, left: 1 })
    const shared = `tests:
  - { name: a, steps: &s [ { input: [ { value: { n: 1 } } ] } ], expect: { outputs: &o [ { value: { n: 1, sum: 1 } } ] } }
  - { name: b, steps: [ { input: [ { value: { n: 2 } } ] } ], expect: { outputs: *o } }
`
    expect(await accepted(shared)).toEqual({ text: shared, count: 0, left: 1 })
  })
})

describe('--accept, any expectation', () => {
  const entry = fc.oneof(
    fc.record({ n: fc.nat(4), sum: fc.nat(9) }).map(v => `{ value: { n: ${v.n}, sum: ${v.sum} } }`),
    fc.constantFrom(
      '{ raw: x } # odd',
      '{ key: k }',
      '{ headers: { a: null, b: c } }',
      '{ values: [ { n: 2, sum: 3 }, 7 ], key: k }',
      '{ value: [ 1 ], time: 5 }',
    ),
  )
  const dead = fc.constantFrom(
    '{ step: sum }',
    '{ offset: 9, error_type: x }',
    '{ message: n is }',
    '{ raw: null, step: x, key: { hex: ff } }',
  )

  it('gives a file that passes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { maxLength: 5 }),
        fc.array(dead, { maxLength: 3 }),
        fc.boolean(),
        fc.boolean(),
        async (outputs, deads, flow, any) => {
          const list = (items: string[], indent: string): string =>
            items.length === 0
              ? ' []'
              : flow
                ? ` [ ${items.map(i => i.replace(/ #.*/, '')).join(', ')} ]`
                : items.map(i => `\n${indent}- ${i}`).join('')
          const out = any
            ? `\n        out:\n          order: any\n          messages:${list(outputs, '            ')}`
            : list(outputs, '        ')
          const { left } = await accepted(`clock: 0
tests:
  - name: t
    steps:
      - input: [ { values: [ { n: 1 }, { n: 2 }, { n: x }, { n: 3 } ], key: k, headers: { a: b } }, { raw: '{' } ]
    expect:
      outputs:${out}
      dead_letters:${list(deads, '        ')}
`)
          expect(left).toBe(0)
        },
      ),
      { numRuns: 150 },
    )
  })
})
