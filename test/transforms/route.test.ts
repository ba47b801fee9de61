import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { testPipeline } from '../../src/testing/pipeline.ts'
import { defineTransform, ExactNumber, Message } from '../../src/contract/plugin.ts'

const SINKS = '[{ name: out, kafka: { topic: out } }, { name: a, kafka: { topic: a } }, { name: b, kafka: { topic: b } }]'
/** A sink that no branch names would receive the end of the chain. */
const named = (sinks: string, transforms: unknown): string =>
  sinks.replaceAll(/\{ name: ([ab]),/g, (all, name) =>
    JSON.stringify(transforms).includes(`"${name}"`) ? all : `{ name: ${name}, when: "false",`,
  )
const file = (transforms: unknown, sinks = SINKS): string =>
  `name: t
sources: [{ kafka: { topics: [in] }, keyed_by: id }]
transforms: ${JSON.stringify(transforms)}
sinks: ${named(sinks, transforms)}
dlq: { kafka: { topic: dead } }
delivery: exactly_once
`
const ENV = { KAFKA_BROKERS: 'embedded' }
const tag = (name: string): object => ({ map: { keep: true, fields: { path: `value.?path.orValue("") + "${name}"` } } })

/** `sink: n path` of each output, in the order of each sink. */
async function written(transforms: unknown, numbers: readonly unknown[], sinks = SINKS): Promise<string[]> {
  await using pipeline = await testPipeline(file(transforms, sinks), { env: ENV })
  await pipeline.send(numbers.map(n => ({ value: { n, id: `k${n}` } })))
  await pipeline.end()
  const out: string[] = []
  for (const sink of ['out', 'a', 'b'].filter(name => sinks.includes(`name: ${name}`)))
    for (const { value } of await pipeline.outputs(sink)) out.push(`${sink}: ${value.n}${value.path === undefined ? '' : ` ${value.path}`}`)
  for (const d of await pipeline.deadLetters()) out.push(`dead: ${d.value.n} ${d.step}`)
  return out
}

const large = { name: 'large', when: 'n > 10' }
const small = { name: 'small', when: 'n < 5' }
const ONLY_A = '[{ name: a, kafka: { topic: a } }, { name: b, kafka: { topic: b } }]'

test.each<[what: string, transforms: unknown[], expected: string[], sinks?: string]>([
  [
    'joined branches: the order of all messages is kept, and others pass',
    [
      {
        route: [
          { ...large, steps: [tag('L')] },
          { ...small, steps: [tag('S')] },
        ],
      },
      tag('.'),
    ],
    ['out: 1 S.', 'out: 7 .', 'out: 20 L.', 'out: 2 S.', 'out: 30 L.'],
  ],
  [
    'the first branch that matches',
    [
      {
        route: [
          { ...large, steps: [tag('L')] },
          { name: 'more', when: 'n > 1', steps: [tag('M')] },
        ],
      },
    ],
    ['out: 1', 'out: 7 M', 'out: 20 L', 'out: 2 M', 'out: 30 L'],
  ],
  [
    'all branches that match: each passes its copy on',
    [
      {
        route: {
          match: 'all',
          branches: [
            { ...large, steps: [tag('L')] },
            { name: 'more', when: 'n > 1', steps: [tag('M')] },
          ],
        },
      },
    ],
    ['out: 1', 'out: 7 M', 'out: 20 L', 'out: 20 M', 'out: 2 M', 'out: 30 L', 'out: 30 M'],
  ],
  [
    'a branch without when receives the rest',
    [
      {
        route: [
          { ...large, steps: [tag('L')] },
          { name: 'rest', steps: [tag('R')] },
        ],
      },
    ],
    ['out: 1 R', 'out: 7 R', 'out: 20 L', 'out: 2 R', 'out: 30 L'],
  ],
  [
    'a branch without steps: its messages pass unchanged',
    [{ route: [large, { name: 'rest', steps: [tag('R')] }] }],
    ['out: 1 R', 'out: 7 R', 'out: 20', 'out: 2 R', 'out: 30'],
  ],
  [
    'a branch that ends in its own sinks',
    [
      {
        route: [
          { ...large, to: 'a', steps: [tag('L')] },
          { ...small, to: ['a', 'b'] },
        ],
      },
      tag('.'),
    ],
    ['out: 7 .', 'a: 1', 'a: 20 L', 'a: 2', 'a: 30 L', 'b: 1', 'b: 2'],
  ],
  [
    'every branch ends in its own sinks',
    [
      {
        route: [
          { ...large, to: 'a' },
          { name: 'rest', to: 'b' },
        ],
      },
    ],
    ['a: 20', 'a: 30', 'b: 1', 'b: 7', 'b: 2'],
    ONLY_A,
  ],
  ['unmatched messages are dropped', [{ route: { branches: [large], on_unmatched: 'drop' } }], ['out: 20', 'out: 30']],
  [
    'unmatched messages are dead letters of the route',
    [{ name: 'sizes', route: { branches: [large, small], on_unmatched: 'dlq' } }],
    ['out: 1', 'out: 20', 'out: 2', 'out: 30', 'dead: 7 sizes'],
  ],
  [
    'messages for which `when` of the route is false skip it',
    [{ when: 'n != 20', route: { branches: [{ ...large, steps: [tag('L')] }], on_unmatched: 'drop' } }],
    ['out: 20', 'out: 30 L'],
  ],
  [
    '`when` of a step in a branch: the others stay in the branch',
    [{ route: [{ ...large, steps: [{ ...tag('X'), when: 'n > 25' }, tag('L')] }] }],
    ['out: 1', 'out: 7', 'out: 20 L', 'out: 2', 'out: 30 XL'],
  ],
  [
    'a filter in a branch',
    [{ route: [{ ...large, steps: [{ filter: 'n > 25' }] }] }, tag('.')],
    ['out: 1 .', 'out: 7 .', 'out: 2 .', 'out: 30 .'],
  ],
  [
    'a step that emits several messages',
    [
      { route: [{ ...large, steps: [{ map: { fields: { rows: '[{"n": n}, {"n": -n}]' } } }, { unnest: { field: 'rows' } }, tag('L')] }] },
      tag('.'),
    ],
    ['out: 1 .', 'out: 7 .', 'out: 20 L.', 'out: -20 L.', 'out: 2 .', 'out: 30 L.', 'out: -30 L.'],
  ],
  [
    'a route in a branch: it joins its branch, which joins the others',
    [
      {
        route: [
          {
            ...large,
            steps: [
              tag('L'),
              {
                name: 'inner',
                route: [
                  { name: 'huge', when: 'n > 25', steps: [tag('H')] },
                  { name: 'other', to: 'a' },
                ],
              },
              tag('l'),
            ],
          },
          { ...small, steps: [tag('S')] },
        ],
      },
      tag('.'),
    ],
    ['out: 1 S.', 'out: 7 .', 'out: 2 S.', 'out: 30 LHl.', 'a: 20 L'],
  ],
  [
    'two routes in a row',
    [
      { route: [{ ...large, steps: [tag('L')] }] },
      {
        route: [
          { ...small, steps: [tag('S')] },
          { name: 'rest', steps: [tag('R')] },
        ],
      },
    ],
    ['out: 1 S', 'out: 7 R', 'out: 20 LR', 'out: 2 S', 'out: 30 LR'],
  ],
  [
    'a disabled step in a branch',
    [{ route: [{ ...large, steps: [{ ...tag('X'), enabled: false }, tag('L')] }] }],
    ['out: 1', 'out: 7', 'out: 20 L', 'out: 2', 'out: 30 L'],
  ],
  [
    'a disabled route',
    [{ enabled: false, route: [{ ...large, steps: [tag('L')] }] }],
    ['out: 1', 'out: 7', 'out: 20', 'out: 2', 'out: 30'],
  ],
])('%s', async (_, transforms, expected, sinks) => {
  expect(await written(transforms, [1, 7, 20, 2, 30], sinks)).toEqual(expected)
})

describe('dead letters', () => {
  test('name the step with its branch; a copy in another branch goes on', async () => {
    const branches = [
      { name: 'sum', steps: [{ name: 'add', map: { fields: { n: 'n + 1' } } }] },
      { name: 'raw', steps: [tag('R')] },
    ]
    expect(await written([{ name: 'both', route: { match: 'all', branches } }], [1, 'x'])).toEqual([
      'out: 2',
      'out: 1 R',
      'out: x R',
      'dead: x both/sum/add',
    ])
  })

  test('a condition that fails or is not true or false dead-letters the message', async () => {
    expect(await written([{ route: [large] }], ['x', 20])).toEqual(['out: 20', 'dead: x route'])
    expect(await written([{ route: [{ name: 'flagged', when: 'n' }] }], [20])).toEqual(['dead: 20 route'])
  })
})

describe('a plugin in a branch', () => {
  const plugin = (stateful: boolean) =>
    defineTransform({
      type: 'fragile',
      schema: {},
      stateful,
      create(_, ctx) {
        const seen = stateful ? ctx.state<number>('seen') : undefined
        return {
          process(messages, out) {
            for (const m of messages) {
              const n = (m.value as { n: number }).n
              if (n === 20) throw new Error('no 20')
              seen?.set('n', (seen.get('n') ?? 0) + 1)
              // A message that it makes belongs to the branch, too.
              out.emit(new Message({ n, path: `P${seen?.get('n') ?? ''}` }))
            }
          },
        }
      },
    })

  test.each([false, true])('that throws, stateful: %s: only its message fails, and the others are in place', async stateful => {
    await using pipeline = await testPipeline(
      file([
        {
          route: [
            { ...large, steps: [{ fragile: {} }] },
            { ...small, to: 'a' },
          ],
        },
        tag('.'),
      ]),
      {
        env: ENV,
        plugins: [plugin(stateful)],
      },
    )
    await pipeline.send([1, 30, 7, 20, 2, 40].map(n => ({ value: { n, id: 'x' } })))
    expect((await pipeline.outputs('out')).map(r => `${r.value.n} ${r.value.path}`)).toEqual(
      stateful ? ['30 P1.', '7 .', '40 P2.'] : ['30 P.', '7 .', '40 P.'],
    )
    expect((await pipeline.outputs('a')).map(r => r.value.n)).toEqual([1, 2])
    expect((await pipeline.deadLetters()).map(d => [d.value.n, d.step])).toEqual([[20, 'route/large/fragile']])
  })

  test('that fails on the result of a window: the result is the dead letter, and the record that closed the window counts', async () => {
    const window = {
      window: { size: '10s', by: 'id', time: 'ts', allowed_lateness: '0s', idle_timeout: '0s', aggregates: { n: { sum: 'n' } } },
    }
    await using pipeline = await testPipeline(file([{ route: [{ ...large, steps: [window, { fragile: {} }] }] }]), {
      env: ENV,
      plugins: [plugin(false)],
    })
    await pipeline.send(
      [
        [15, 1],
        [20, 12],
        [11, 25],
        [1, 26],
      ].map(([n, s]) => ({ value: { n, id: 'x', ts: s * 1000 } })),
    )
    await pipeline.end()
    expect((await pipeline.outputs('out')).map(r => r.value.n)).toEqual([15, 1, 11])
    expect((await pipeline.deadLetters()).map(d => [d.value.n, d.step])).toEqual([[20, 'route/large/fragile']])
  })
})

test('copies share nothing: a step of one branch that changes its value in place does not change the other', () => {
  const m = Message.fromRecord(Buffer.from('{"a":{"b":[1]},"x":1.10}'), Buffer.from('k'), 1, [['h', 'v']], 3, {
    lane: 'l',
    source: 's',
    format: 'json',
  })
  const copy = m.duplicate('@x')
  expect([copy.encode()?.toString(), copy.changed, copy.key, copy.offset, copy.headers, copy.part]).toEqual([
    '{"a":{"b":[1]},"x":1.10}',
    false,
    'k',
    3,
    [['h', 'v']],
    '@x',
  ])
  m.value = { a: { b: [1] }, x: new ExactNumber('1.10') }
  const changed = m.duplicate('@x')
  ;(m.value as any).a.b.push(2)
  expect(changed.value).toEqual({ a: { b: [1] }, x: new ExactNumber('1.10') })
})

describe('state in branches', () => {
  const counting = (name: string): object => ({
    name,
    window: {
      size: '10s',
      by: 'id',
      time: 'ts',
      allowed_lateness: '0s',
      idle_timeout: '0s',
      on_late: 'dlq',
      aggregates: { n: { count: '*' } },
    },
  })
  const transforms = [
    {
      name: 'kinds',
      route: [
        { name: 'buy', when: 'kind == "buy"', steps: [counting('w'), { map: { keep: true, fields: { side: '"buy"' } } }] },
        { name: 'sell', when: 'kind == "sell"', to: 'a', steps: [counting('w')] },
      ],
    },
  ]
  const at = (kind: string, seconds: number) => ({ value: { id: 'x', kind, ts: seconds * 1000 } })

  test('each branch has its own windows and its own event time, and their results stay in it, also after a crash', async () => {
    await using pipeline = await testPipeline(file(transforms), { env: ENV })
    await pipeline.send([at('buy', 1), at('sell', 1), at('buy', 2)])
    await pipeline.advance('1s')
    await pipeline.crash()
    // The event time of `sell` does not close windows of `buy`.
    await pipeline.send([at('sell', 25), at('buy', 3), at('other', 99)])
    await pipeline.crash()
    await pipeline.send([at('buy', 11), at('sell', 2)])
    await pipeline.end()
    const rows = (list: { value: any }[]) => list.map(({ value: { start, n, side, kind } }) => ({ start, n, side, kind }))
    expect(rows(await pipeline.outputs('out'))).toEqual([
      { kind: 'other' },
      { start: 0, n: 3, side: 'buy' },
      { start: 10_000, n: 1, side: 'buy' },
    ])
    expect(rows(await pipeline.outputs('a'))).toEqual([
      { start: 0, n: 1 },
      { start: 20_000, n: 1 },
    ])
    expect((await pipeline.deadLetters()).map(d => [d.step, d.errorType])).toEqual([['kinds/sell/w', 'late']])
    expect(pipeline.steps['kinds/buy/w'].in).toBeGreaterThanOrEqual(4)
  })

  test('a window that closes by silence stays in its branch', async () => {
    const idle = JSON.parse(JSON.stringify(transforms).replaceAll('"idle_timeout":"0s"', '"idle_timeout":"5s"'))
    await using pipeline = await testPipeline(file([...idle, tag('.')]), { env: ENV })
    await pipeline.send([at('buy', 1), at('sell', 1)])
    await pipeline.advance('30s')
    expect((await pipeline.outputs('out')).map(r => [r.value.side, r.value.path])).toEqual([['buy', '.']])
    expect((await pipeline.outputs('a')).map(r => [r.value.side, r.value.path])).toEqual([[undefined, undefined]])
  })
})

test('behind repartition, event time of all lanes closes windows in a branch, also after a crash', async () => {
  const window = {
    window: {
      size: '10s',
      by: 'id',
      time: 'ts',
      allowed_lateness: '0s',
      idle_timeout: '0s',
      on_late: 'dlq',
      aggregates: { n: { count: '*' } },
    },
  }
  const transforms = [
    { repartition: { by: 'id', time: 'ts', partitions: 1 } },
    {
      name: 'kinds',
      route: [
        { name: 'x', when: 'kind == "x"', to: 'a', steps: [window] },
        { name: 'rest', steps: [window, tag('R')] },
      ],
    },
  ]
  const at = (kind: string, seconds: number, partition: number) => ({ partition, value: { id: 'k', kind, ts: seconds * 1000 } })
  await using pipeline = await testPipeline(file(transforms), { env: ENV })
  await pipeline.send([at('x', 1, 0), at('y', 2, 1), at('x', 3, 1)])
  await pipeline.advance('1s')
  await pipeline.crash()
  await pipeline.send([at('y', 4, 0), at('y', 30, 0)])
  expect(await pipeline.outputs('out')).toEqual([])
  // Now both lanes are past the windows: those of the branch x close too, although no record enters it.
  await pipeline.send([at('y', 31, 1)])
  await pipeline.crash()
  const rows = (list: { value: any }[]) => list.map(({ value }) => [value.start, value.n, value.path])
  expect(rows(await pipeline.outputs('a'))).toEqual([[0, 2, undefined]])
  await pipeline.send([at('x', 32, 1)])
  expect(rows(await pipeline.outputs('out'))).toEqual([[0, 2, 'R']])
  await pipeline.end()
  expect(rows(await pipeline.outputs('a'))).toEqual([[30_000, 1, undefined]])
  expect(rows(await pipeline.outputs('out'))).toEqual([[30_000, 2, 'R']])
  expect(await pipeline.deadLetters()).toEqual([])
})

test('behind repartition, event time of all lanes closes the windows of every branch, also without records in any of them', async () => {
  const window = { size: '1s', by: 'id', time: 'ts', allowed_lateness: '0s', idle_timeout: '0s', aggregates: { n: { count: '*' } } }
  const transforms = [
    { repartition: { by: 'id', time: 'ts', partitions: 1 } },
    {
      route: [
        { name: 'x', when: 'kind == "x"', to: 'a', steps: [{ window }] },
        { name: 'y', when: 'kind == "y"', steps: [{ window }, { name: 'second', window: { ...window, by: 'key', time: 'start' } }] },
        { name: 'z', when: 'kind == "z"', to: 'b', steps: [{ window }] },
      ],
    },
  ]
  const at = (kind: string, ts: number) => ({ value: { id: 'k', kind, ts } })
  await using pipeline = await testPipeline(file(transforms, SINKS.replace('name: out,', 'name: out, when: "!has(value.ts)",')), {
    env: ENV,
  })
  await pipeline.send([at('x', 100), at('y', 200), at('z', 300)])
  await pipeline.send(at('none', 5000))
  await pipeline.send(at('none', 6000))
  const starts = async (sink: string) => (await pipeline.outputs(sink)).map(({ value }) => value.start)
  expect([await starts('a'), await starts('b')]).toEqual([[0], [0]])
  // A window behind a window follows the results of that one: its window is still open.
  expect(await starts('out')).toEqual([])
  await pipeline.end()
  expect(await starts('out')).toEqual([0])
})

test('counts: a step in a branch counts its messages only, a branch those that entered it', async () => {
  await using pipeline = await testPipeline(
    file([
      {
        route: [
          { ...large, steps: [tag('L'), { filter: 'n > 25' }] },
          { ...small, to: 'a' },
        ],
      },
      tag('.'),
    ]),
    { env: ENV },
  )
  await pipeline.send([1, 7, 20, 2, 30].map(n => ({ value: { n, id: 'x' } })))
  await pipeline.outputs('out')
  const counts = Object.fromEntries(Object.entries(pipeline.steps).map(([name, c]) => [name, [c.in, c.out]]))
  expect(counts).toMatchObject({ route: [5, 5], 'route/large/map': [2, 2], 'route/large/filter': [2, 1], map: [2, 2], a: [2, 2] })
  expect(pipeline.metric('runner_route_messages_total{pipeline="t",step="route",branch="large"}')).toBe(2)
  expect(pipeline.metric('runner_route_messages_total{pipeline="t",step="route",branch="small"}')).toBe(2)
  expect(pipeline.metric('runner_route_unmatched_total')).toBe(1)
})

/** A reference model: each record alone, through nested lists of steps. */
type Step =
  | { kind: 'tag'; name: string }
  | { kind: 'dedupe' }
  | { kind: 'drop'; mod: number }
  | { kind: 'route'; match: 'first' | 'all'; unmatched: 'pass' | 'drop'; branches: { mod: number; to?: 'a' | 'b'; steps: Step[] }[] }

interface Rec {
  n: number
  id: string
  path?: string
}

class Model {
  readonly written: Record<string, string[]> = { out: [], a: [], b: [] }
  private readonly seen = new Map<Step, Set<string>>()

  feed(steps: readonly Step[], record: Rec): void {
    for (const end of this.through(steps, { ...record })) this.write('out', end)
  }

  private write(sink: string, { n, path }: Rec): void {
    this.written[sink].push(`${n} ${path ?? ''}`)
  }

  private through(steps: readonly Step[], record: Rec): Rec[] {
    return steps.reduce((records, step) => records.flatMap(r => this.one(step, r)), [record])
  }

  private one(step: Step, r: Rec): Rec[] {
    if (step.kind === 'tag') return [{ ...r, path: (r.path ?? '') + step.name }]
    if (step.kind === 'drop') return r.n % step.mod === 0 ? [] : [r]
    if (step.kind === 'dedupe') {
      const seen = this.seen.get(step) ?? new Set()
      this.seen.set(step, seen)
      if (seen.has(r.id)) return []
      seen.add(r.id)
      return [r]
    }
    const matching = step.branches.filter(b => r.n % b.mod === 0)
    const entered = step.match === 'first' ? matching.slice(0, 1) : matching
    if (entered.length === 0) return step.unmatched === 'pass' ? [r] : []
    return entered.flatMap(({ to, steps }) => {
      const ends = this.through(steps, { ...r })
      if (to === undefined) return ends
      for (const end of ends) this.write(to, end)
      return []
    })
  }
}

function yamlOf(steps: readonly Step[]): unknown[] {
  return steps.map(step => {
    if (step.kind === 'tag') return tag(step.name)
    if (step.kind === 'drop') return { filter: `n % ${step.mod} != 0` }
    if (step.kind === 'dedupe') return { dedupe: { key: 'id', ttl: '1h' } }
    const branches = step.branches.map((b, i) => ({
      name: `b${i}`,
      when: `n % ${b.mod} == 0`,
      ...(b.to && { to: b.to }),
      steps: yamlOf(b.steps),
    }))
    return { route: { match: step.match, on_unmatched: step.unmatched, branches } }
  })
}

/** Sinks of a branch belong to one route: only one route, at the top, has `to`. */
const simple = fc.oneof(
  fc.constantFrom('A', 'B', 'C').map((name): Step => ({ kind: 'tag', name })),
  fc.constant<Step>({ kind: 'dedupe' }).map(step => ({ ...step })),
  fc.constantFrom(2, 3, 5).map((mod): Step => ({ kind: 'drop', mod })),
)
const routeOf = (inner: fc.Arbitrary<Step>, to: fc.Arbitrary<'a' | 'b' | undefined>): fc.Arbitrary<Step> =>
  fc.record({
    kind: fc.constant('route' as const),
    match: fc.constantFrom('first' as const, 'all' as const),
    unmatched: fc.constantFrom('pass' as const, 'drop' as const),
    branches: fc.array(fc.record({ mod: fc.constantFrom(1, 2, 3, 4), to, steps: fc.array(inner, { maxLength: 3 }) }), {
      minLength: 1,
      maxLength: 3,
    }),
  })
const nested = fc.oneof({ weight: 2, arbitrary: simple }, { weight: 1, arbitrary: routeOf(simple, fc.constant(undefined)) })
const chains = fc
  .tuple(
    fc.array(nested, { maxLength: 2 }),
    routeOf(nested, fc.constantFrom(undefined, 'a' as const, 'b' as const)),
    fc.array(nested, { maxLength: 2 }),
  )
  .map(([before, route, after]) => {
    const ends = route.kind === 'route' && route.branches.every(b => b.to !== undefined)
    return [...before, ends ? { ...route, unmatched: 'pass' as const } : route, ...after]
  })

test('any routes, with any batches and crashes, give what the records give one by one', async () => {
  const cuts = fc.array(fc.tuple(fc.nat(30), fc.boolean()), { maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(chains, fc.array(fc.nat(24), { minLength: 1, maxLength: 30 }), cuts, async (steps, numbers, at) => {
      const model = new Model()
      const records = numbers.map((n): Rec => ({ n, id: `k${n}` }))
      for (const record of records) model.feed(steps, record)
      await using pipeline = await testPipeline(file(yamlOf(steps)), { env: ENV })
      let from = 0
      for (const [cut, crash] of [...at.toSorted(([a], [b]) => a - b), [records.length, false] as const]) {
        if (cut > from) await pipeline.send(records.slice(from, cut).map(value => ({ value })))
        from = Math.max(from, cut)
        if (crash) await pipeline.crash()
      }
      await pipeline.end()
      for (const sink of ['out', 'a', 'b']) {
        const rows = (await pipeline.outputs(sink)).map(({ value }) => `${value.n} ${value.path ?? ''}`)
        expect(rows).toEqual(model.written[sink])
      }
      expect(await pipeline.deadLetters()).toEqual([])
    }),
    { numRuns: Number(process.env.ROUTE_RUNS ?? 60) },
  )
})
