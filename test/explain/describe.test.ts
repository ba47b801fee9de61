import '../../src/built-in.ts'
import { describe, expect, it } from 'vitest'
import { describe as explain } from '../../src/explain/describe.ts'
import { toMermaid, toSvg } from '../../src/explain/mermaid.ts'
import { formatSize } from '../../src/explain/readable.ts'
import { toText } from '../../src/explain/text.ts'
import { loadInput } from '../../src/config/load.ts'
import { pipelineOf, sink, source, step, transactional } from './support.ts'

const schema = {
  type: 'object',
  shorthand: 'topics',
  properties: {
    topics: { type: 'array', items: { type: 'string' } },
    group: { type: 'string' },
    linger: { type: 'string', format: 'duration' },
    batch_size: { anyOf: [{ type: 'string', format: 'size' }, { type: 'null' }] },
    retries: { type: 'integer' },
    sasl: { type: 'object', properties: { username: { type: 'string' }, password: { type: 'string', secret: true } } },
    tokens: { type: 'array', items: { type: 'string', secret: true } },
    endpoints: {
      type: 'array',
      items: { type: 'object', properties: { timeout: { type: 'string', format: 'duration' }, url: { type: 'string' } } },
    },
  },
}
const config = {
  topics: ['ticks', 'more'],
  group: 'g',
  linger: 90_000,
  batch_size: 131_072,
  retries: 5000,
  sasl: { username: 'u', password: 'canary-1' },
  tokens: ['canary-2', 'canary-3'],
  endpoints: [{ timeout: 1500, url: 'redis://me:canary-4@host:6379/0' }],
}
const filter = { kind: 'transform', type: 'filter', schema: { shorthand: 'expression' }, create: () => ({}) }
const bars = { kind: 'transform', type: 'bars', schema: {}, stateful: true, create: () => ({}) }
const pipeline = pipelineOf({
  name: 'bars',
  description: 'One-minute bars',
  delivery: 'exactly_once',
  sources: [step('log', source({ schema, ...transactional('a') }), config, { secrets: ['sasl.password', 'tokens.0', 'tokens.1'] })],
  transforms: [step('filter', filter, { expression: 'price > 0.0 && note != "<b>"' }), step('bars', bars, {}, { when: 'symbol != ""' })],
  sinks: [
    step('out', sink({ transactions: { scope: () => 'a' } }), { topic: 'bars' }),
    step('late', sink({ transactions: { scope: () => 'a' } }), { path: 'late.jsonl' }, { from: { step: 'bars', port: 'late' } }),
  ],
  dlq: step('dlq', sink({ transactions: { scope: () => 'a' } }), { topic: 'dead' }),
})
const plain = (_style: string, text: string): string => text

it('shows the effect of missing records for each stateful step', () => {
  const type = (type: string, over: object = {}) => ({ kind: 'transform', type, schema: {}, stateful: true, create: () => ({}), ...over })
  const survives = { survivesGap: (c: { on_gap: string }) => c.on_gap !== 'stop' }
  const e = explain(
    pipelineOf({
      transforms: [
        step('stops', type('w', survives), { on_gap: 'stop' }),
        step('marks', type('b', survives), { on_gap: 'mark' }),
        step('dedupe', type('d', { survivesGap: true })),
        step('own', type('own')),
        step('map', filter),
      ],
    }),
  )
  expect(e.gaps).toEqual({
    stops: expect.stringMatching(/^stops the run \(exit 3\).*on_gap/),
    marks: expect.stringContaining('incomplete: true'),
    dedupe: expect.stringContaining('continues'),
    own: 'stops the run (exit 3)',
  })
  expect(toText(e, plain)).toMatch(/Missing records\n {2}stops {3}stops the run/)
})

describe('the description', () => {
  const e = explain(pipeline)

  it('has every step with its resolved config, units as written and secrets masked', () => {
    expect(e.steps.map(s => [s.kind, s.name, s.headline])).toEqual([
      ['source', 'log', 'ticks, more'],
      ['transform', 'filter', 'price > 0.0 && note != "<b>"'],
      ['transform', 'bars', ''],
      ['sink', 'out', 'bars'],
      ['sink', 'late', 'late.jsonl'],
      ['dlq', 'dlq', 'dead'],
    ])
    expect(e.steps[0]).toMatchObject({ group: 'g', at: { file: 'p.yaml', line: 7, column: 5 } })
    expect(e.steps[0].config).toEqual({
      topics: ['ticks', 'more'],
      group: 'g',
      linger: '90s',
      batch_size: '128KiB',
      retries: 5000,
      sasl: { username: 'u', password: '***' },
      tokens: ['***', '***'],
      endpoints: [{ timeout: '1500ms', url: 'redis://me:***@host:6379/0' }],
    })
  })

  it('has the edges with the guarantee of each', () => {
    expect(e.edges).toEqual([
      { from: 'log', to: 'filter' },
      { from: 'filter', to: 'bars' },
      { from: 'bars', to: 'out', guarantee: 'exactly_once' },
      { from: 'bars', port: 'late', to: 'late', guarantee: 'exactly_once' },
      { from: 'bars', to: 'dlq', dead: true, guarantee: 'exactly_once' },
    ])
    expect(e.weakest).toMatchObject({ source: 'log', sink: 'out', guarantee: 'exactly_once' })
  })

  it('joins several sources, and needs no transforms', () => {
    const two = explain(pipelineOf({ sources: [step('a', source({ replayable: false })), step('b', source())] }))
    expect(two.edges).toEqual([
      { from: 'a', to: 'out', guarantee: 'at_most_once' },
      { from: 'b', to: 'out', guarantee: 'at_most_once' },
    ])
  })

  it('shows sizes in the largest exact unit', () => {
    expect([1, 1024, 1000, 10_485_760, 1500, 0].map(formatSize)).toEqual(['1B', '1KiB', '1KB', '10MiB', '1500B', '0B'])
  })
})

describe('every format', () => {
  it('hides secrets', async () => {
    const e = explain(pipeline)
    for (const text of [toText(e, plain), toMermaid(e), await toSvg(e), JSON.stringify(e)]) expect(text).not.toContain('canary')
  })
})

describe('text', () => {
  it('omits the settings that have their default; all includes them', async () => {
    const file = `
name: p
commit_interval: 1s
sources: [{ kafka: { topics: [in], format: json, brokers: "\${BROKERS}" } }]
transforms: [{ filter: a > 1 }, { throttle: { key: k, interval: 1m } }]
sinks: [{ file: out.jsonl }]
retry: { max_delay: 5s }
`
    const { pipeline, problems } = await loadInput(file, { env: { BROKERS: 'localhost:9092' } })
    expect(problems.filter(p => p.severity === 'error')).toHaveLength(0)
    const e = explain(pipeline!)
    const settings = (all: boolean): string => toText(e, plain, undefined, all).split('\nSteps\n')[1]
    expect(settings(false)).toMatchInlineSnapshot(`
      "  kafka  source  (text):4:13
          topics:
            - in
          format: json
          brokers: localhost:9092
        filter  transform  (text):5:16
          condition: a > 1
        throttle  transform  (text):5:35
          key: k
          interval: 1m
        file  sink  (text):6:11
          path: out.jsonl

      Runtime
          commit_interval: 1s
          retry:
            max_delay: 5s

      Settings with their default are omitted; --all prints them.
      "
    `)
    const all = settings(true)
    for (const line of ['start_at: earliest', 'fsync: ', 'max_in_flight: 10000', 'initial_delay: 100ms']) expect(all).toContain(line)
    expect(all).not.toContain('--all')
  })

  it('shows the graph, the guarantees with reasons, and the configs', () => {
    const text = toText(explain(pipeline), plain)
    expect(text.split('\nDelivery\n')[0]).toBe(`bars  One-minute bars
p.yaml  delivery: exactly_once  version: 1

  ●    log     ticks, more  group g                               line 7
  │
  │    filter  price > 0.0 && note != "<b>"                       line 7
  │    bars    when symbol != ""  (state)                         line 7
  │
  ├──▶ out     log  bars                        exactly once      line 7
  ├──▶ late    log  late.jsonl  from bars.late  exactly once      line 7
  └┄┄▶ dlq     log  dead                        exactly once      line 7
`)
    expect(text).toContain(
      '  log → out   exactly once\n              outputs, state and source position are committed in one transaction (a)\n',
    )
    expect(text).toContain('  Weakest link: log → out, exactly once\n')
    expect(text).toContain('  log  source  p.yaml:7:5\n    topics:\n      - ticks\n      - more\n')
    expect(text).toContain('    commit_interval: 100ms\n')
  })
})

describe('mermaid', () => {
  const text = toMermaid(explain(pipeline))

  it('has the graph, and names and expressions are escaped', () => {
    expect(text).toContain('  n0[("log<br/>ticks, more")]')
    expect(text).toContain('    n1["filter<br/>price &gt; 0.0 &amp;&amp; note != &quot;&lt;b&gt;&quot;"]')
    expect(text).toContain('  n2 -->|"late, exactly once"| n4')
    expect(text).toContain('  lane -.->|"exactly once"| n5')
    const hostile = toMermaid(explain(pipelineOf({ sinks: [step('out', sink(), { path: '"] --> x; click\nn0 "javascript:alert(1)' })] })))
    expect(hostile.split('\n').filter(l => l.includes('click'))).toEqual([
      '  n1[("out (log)<br/>&quot;] --&gt; x; click n0 &quot;javascript:alert(…")]',
    ])
  })

  it('draws an SVG without external resources', async () => {
    const svg = await toSvg(explain(pipeline))
    expect(svg).toMatch(/^<svg /)
    for (const word of ['ticks, more', 'exactly once', 'price &gt; 0.0']) expect(svg).toContain(word)
    expect(svg.replaceAll('http://www.w3.org/', '')).not.toMatch(/https?:|@import/)
  })
})
