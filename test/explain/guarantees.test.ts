import { describe, expect, it } from 'vitest'
import { guarantees, weakest } from '../../src/explain/guarantees.ts'
import { obstacles } from '../../src/config/delivery.ts'
import { pipelineOf, sink, source, step, transactional } from './support.ts'

/** The pairs that break a `delivery: exactly_once`; dead letters may repeat. */
const brokenPromises = (pipeline: Parameters<typeof guarantees>[0]) =>
  pipeline.delivery === 'exactly_once' ? guarantees(pipeline).filter(p => !p.dlq && p.guarantee !== 'exactly_once') : []

type Delivery = 'at_least_once' | 'exactly_once'
const SOURCES = { forgets: source({ replayable: false }), plain: source(), here: source(transactional('a')) }
const SINKS = {
  ephemeral: sink({ onRedelivery: 'ephemeral' }),
  appends: sink(),
  idempotent: sink({ onRedelivery: 'idempotent', reason: 'rows are replaced by key' }),
  here: sink({ transactions: { scope: () => 'a' } }),
  hereToo: sink({ onRedelivery: 'idempotent', transactions: { scope: () => 'a' } }),
  there: sink({ transactions: { scope: () => 'b' } }),
}
const guarantee = (from: keyof typeof SOURCES, to: keyof typeof SINKS, delivery: Delivery) => {
  const [pair] = guarantees(pipelineOf({ sources: [step('in', SOURCES[from])], sinks: [step('out', SINKS[to])], delivery }))
  return pair
}

describe('the guarantee of a pair', () => {
  it.each<[keyof typeof SOURCES, keyof typeof SINKS, Delivery, string, RegExp]>([
    ['forgets', 'appends', 'at_least_once', 'at_most_once', /cannot be read again after a crash: it keeps its records/],
    ['forgets', 'idempotent', 'at_least_once', 'at_most_once', /cannot be read again/],
    ['forgets', 'here', 'exactly_once', 'at_most_once', /cannot be read again/],
    ['here', 'ephemeral', 'exactly_once', 'at_most_once', /does not store records/],
    ['plain', 'appends', 'at_least_once', 'at_least_once', /records are written again, which duplicates them: it keeps both copies/],
    ['plain', 'idempotent', 'at_least_once', 'effectively_once', /overwrites the first write: rows are replaced by key/],
    ['here', 'here', 'exactly_once', 'exactly_once', /one transaction \(a\)/],
    ['here', 'here', 'at_least_once', 'at_least_once', /duplicates them/],
    ['here', 'hereToo', 'at_least_once', 'effectively_once', /overwrites the first write/],
    ['here', 'there', 'exactly_once', 'at_least_once', /'in' \(a\) and 'out' \(b\) are different systems, and no transaction spans both/],
    ['here', 'appends', 'exactly_once', 'at_least_once', /'out' cannot write into a transaction/],
    ['plain', 'here', 'exactly_once', 'at_least_once', /'in' has no transaction for its position/],
  ])('%s -> %s under %s is %s', (from, to, delivery, expected, reason) => {
    const pair = guarantee(from, to, delivery)
    expect(pair.guarantee).toBe(expected)
    expect(pair.reason).toMatch(reason)
  })

  it('shows how to get a stronger guarantee', () => {
    expect(guarantee('here', 'here', 'at_least_once').hint).toMatch(/exactly_once is possible/)
    expect(guarantee('here', 'there', 'at_least_once').hint).toBeUndefined()
    expect(guarantee('here', 'here', 'exactly_once').hint).toBeUndefined()
  })
})

describe('a sink whose peer recognizes repeated writes', () => {
  const transform = { kind: 'transform', type: 't', schema: {}, create: () => ({ process() {} }) }
  const reason = (over: object, config: object = {}, recognizesRepeats = () => true) => {
    const transforms = [step('t', { ...transform, ...over }, config), step('plain', transform)]
    return guarantees(
      pipelineOf({ sources: [step('in', SOURCES.plain, config)], transforms, sinks: [step('out', sink({ recognizesRepeats }))] }),
    )[0].reason
  }

  it.each([
    [{ varies: 'queries again' }, {}, 't queries again'],
    [{ varies: false }, {}, undefined],
    [{}, {}, undefined],
    [{ varies: (c: { x: boolean }) => (c.x ? 'has x' : undefined) }, { x: true }, 't has x'],
    [{ varies: (c: { x: boolean }) => (c.x ? 'has x' : undefined) }, { x: false }, undefined],
    [{ varies: (_: object, { endless }: { endless: boolean }) => (endless ? 'waits' : undefined) }, {}, 't waits'],
    [{ varies: (_: object, { endless }: { endless: boolean }) => (endless ? 'waits' : undefined) }, { follow: false }, undefined],
  ])('%j %j', (over, config, expected) => {
    expect(/the content can differ because (.*)$/.exec(reason(over, config))?.[1]).toBe(expected)
    expect(reason(over, config, () => false)).not.toContain('content')
  })

  it.each([
    ['meta.time', true, 't uses meta.time, which is the time of reading'],
    ['"x" + string(meta["time"])', true, 't uses meta.time, which is the time of reading'],
    ['meta.timeout', true, undefined],
    ['meta.time', false, undefined],
  ])('%s, dated by reading: %s', (expression, datedByRead, expected) => {
    const pipeline = pipelineOf({
      sources: [step('in', source({ datedByRead }))],
      transforms: [step('t', transform, { fields: { at: expression } })],
      sinks: [step('out', sink({ recognizesRepeats: () => true }))],
    })
    expect(/the content can differ because (.*)$/.exec(guarantees(pipeline)[0].reason)?.[1]).toBe(expected)
  })

  it('treats results of windows as dated by their records', () => {
    const pipeline = pipelineOf({
      sources: [step('in', source({ datedByRead: true }))],
      transforms: [step('w', { ...transform, windowSpan: () => 0 }), step('t', transform, 'meta.time')],
      sinks: [step('out', sink({ recognizesRepeats: () => true }))],
    })
    expect(guarantees(pipeline)[0].reason).not.toContain('content')
  })

  it('names a plugin that does not declare its guarantee', () => {
    const foreign = { ...step('mine', transform), foreign: true }
    const [pair] = guarantees(
      pipelineOf({
        sources: [step('in', SOURCES.plain)],
        transforms: [foreign],
        sinks: [step('out', sink({ recognizesRepeats: () => true }))],
      }),
    )
    expect(pair.reason).toContain('mine is a plugin that does not declare `varies: false`')
  })
})

describe('a pipeline', () => {
  const mixed = pipelineOf({
    sources: [step('a', SOURCES.here), step('b', SOURCES.forgets)],
    sinks: [step('x', SINKS.here), step('y', SINKS.idempotent)],
    dlq: step('dlq', SINKS.here),
    delivery: 'exactly_once',
  })

  it('has one guarantee per source and sink, the dlq included', () => {
    expect(guarantees(mixed).map(p => [p.source, p.sink, p.guarantee, p.dlq])).toEqual([
      ['a', 'x', 'exactly_once', false],
      ['a', 'y', 'effectively_once', false],
      ['a', 'dlq', 'exactly_once', true],
      ['b', 'x', 'at_most_once', false],
      ['b', 'y', 'at_most_once', false],
      ['b', 'dlq', 'at_most_once', true],
    ])
  })

  it('has the guarantee of its weakest part, the first of them', () => {
    expect(weakest(guarantees(mixed))).toMatchObject({ source: 'b', sink: 'x' })
    expect(weakest([])).toBeUndefined()
  })
})

describe('an impossible delivery setting', () => {
  // Two modules decide this, one for the report and one for validation: they must agree.
  it('is found for exactly the combinations that the checker rejects', () => {
    for (const a of Object.values(SOURCES)) {
      for (const x of Object.values(SINKS)) {
        for (const d of [undefined, ...Object.values(SINKS)]) {
          const p = pipelineOf({ sources: [step('a', a)], sinks: [step('x', x)], dlq: d && step('dlq', d), delivery: 'exactly_once' })
          const refused = obstacles(p.sources, p.sinks).length > 0
          expect([a.replayable, x.onRedelivery, d?.onRedelivery, brokenPromises(p).length > 0]).toEqual([
            a.replayable,
            x.onRedelivery,
            d?.onRedelivery,
            refused,
          ])
        }
      }
    }
  })

  it('is not reported without a delivery setting', () => {
    expect(brokenPromises(pipelineOf())).toEqual([])
  })
})

describe('writes of an instance that has lost a lane', () => {
  const fenceOf = (from: object, to: object, delivery: Delivery = 'at_least_once'): string | undefined =>
    guarantees(pipelineOf({ sources: [step('in', source(from))], sinks: [step('out', sink(to))], delivery }))[0].fence

  it('are reported if lanes have leases and no transaction fences the write', () => {
    expect(fenceOf({ leased: true }, {})).toBe(
      'an instance that has lost a lane may finish the write that it has begun; it does not begin another',
    )
    expect(fenceOf({ leased: () => true }, { fence: () => 'is refused by the server' })).toBe(
      'an instance that has lost a lane is refused by the server',
    )
    expect(fenceOf({ leased: () => false }, {})).toBeUndefined()
    expect(fenceOf({}, {})).toBeUndefined()
    expect(fenceOf({ ...transactional('a'), leased: true }, { transactions: { scope: () => 'a' } }, 'exactly_once')).toBeUndefined()
  })
})

describe('late writes of a stalled connection', () => {
  const late = (_: unknown, leased: boolean): string => `late, ${leased ? 'leased' : 'not leased'}`
  const lateOf = (from: object, to: object, delivery: Delivery = 'at_least_once'): string | undefined =>
    guarantees(pipelineOf({ sources: [step('in', source(from))], sinks: [step('out', sink(to))], delivery }))[0].late

  it('are reported if a record counts and no transaction covers the write', () => {
    expect(lateOf({ leased: true }, { late })).toBe('late, leased')
    expect(lateOf({}, { late })).toBe('late, not leased')
    expect(lateOf({}, {})).toBeUndefined()
    expect(lateOf({}, { late: () => undefined })).toBeUndefined()
    expect(lateOf({}, { late, onRedelivery: 'ephemeral' })).toBeUndefined()
    expect(lateOf(transactional('a'), { transactions: { scope: () => 'a' }, late }, 'exactly_once')).toBeUndefined()
  })
})
