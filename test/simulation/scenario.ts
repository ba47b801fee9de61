/** A pipeline, its input, and everything that goes wrong, made from a seed. */
import { seeded } from '../support/random.ts'
import {
  barsBlock,
  type Block,
  dedupeBlock,
  filterBlock,
  groupBlock,
  idleWindowBlock,
  joinBlock,
  mapBlock,
  rekeyBlock,
  tallyBlock,
  unnestBlock,
  windowBlock,
} from './blocks.ts'
import type { SinkTraits, SourceTraits } from './plugins.ts'
import { PUSHED } from './push.ts'
import { type Faults, LINK, type Peer, START, type Storm, topicOf } from './world.ts'

export interface Arrival {
  readonly at: number
  readonly lane: string
  readonly key: string | null
  readonly payload: Buffer
  readonly time: number
}

export interface Mishap {
  readonly at: number
  readonly kind: 'kill' | 'stop' | 'freeze' | 'clock' | 'rebalance' | 'retention' | 'recreate' | 'reset'
  /** Number of the process, or of the lane. */
  readonly target: number
  /** ms */
  readonly duration: number
}

export interface Scenario {
  readonly seed: number
  /** As a file would have it. */
  readonly config: object
  readonly blocks: readonly Block[]
  /** The blocks after a `repartition`; its lanes are the last ones of `lanes`. */
  readonly behind: readonly Block[] | undefined
  /** The records are pushed to a process, and cannot be read again. */
  readonly push: { readonly waits: boolean } | undefined
  readonly delivery: 'exactly_once' | 'at_least_once'
  /** ms */
  readonly commitInterval: number
  readonly source: SourceTraits
  readonly sinks: readonly SinkTraits[]
  readonly queueInTransaction: boolean
  readonly lanes: readonly string[]
  readonly processes: number
  readonly arrivals: readonly Arrival[]
  readonly faults: Faults
  readonly storms: readonly Storm[]
  readonly mishaps: readonly Mishap[]
  /** Nothing fails any more, and every process is started again. */
  readonly calmFrom: number
}

/** So long things go wrong, ms. */
const TROUBLE = 45_000

/** Seeds with a `repartition`, and those with pushed records. */
export const isLinked = (seed: number): boolean => seed % 10 === 5
export const isPushed = (seed: number): boolean => seed % 10 === 9

export function scenarioOf(seed: number): Scenario {
  const random = seeded(seed)
  const chance = (p: number): boolean => random() < p
  const between = (from: number, to: number): number => from + Math.floor(random() * (to - from + 1))
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]

  const linked = isLinked(seed)
  const push = isPushed(seed) ? { waits: chance(0.6) } : undefined
  const delivery = chance(0.6) && !push ? 'exactly_once' : 'at_least_once'
  const blocks = linked ? upstreamOf(random) : push ? pushedOf(random) : chainOf(random, delivery === 'exactly_once')
  const behind = linked ? downstreamOf(random) : undefined
  const inputs = push ? [PUSHED] : Array.from({ length: between(1, 3) }, (_, i) => `in/${i}`)
  // A second source, into the same windows.
  if (linked && chance(0.5)) inputs.push(...Array.from({ length: between(1, 2) }, (_, i) => `more/${i}`))
  const partitions = between(1, 3)
  const lanes = linked ? [...inputs, ...Array.from({ length: partitions }, (_, i) => `${LINK}/${i}`)] : inputs
  const source: SourceTraits = {
    transactions: linked || chance(0.7) ? 'source' : delivery === 'exactly_once' ? 'sink' : 'none',
    maxBatch: between(1, 20),
    notifyInterval: pick([undefined, 1000]),
  }
  const mixed = behind !== undefined || blocks.some(b => b.mixesKeys)
  const sinks: SinkTraits[] = [
    {
      name: 'out',
      kind:
        delivery === 'exactly_once'
          ? 'transaction'
          : push
            ? 'append'
            : pick(['transaction', 'append', mixed ? 'append' : 'upsert'] as const),
      keepsPositions: source.transactions === 'sink',
    },
  ]
  if (delivery === 'at_least_once' && !push && chance(0.3)) sinks.push({ name: 'second', kind: 'append', keepsPositions: false })
  const processes = push ? 1 : between(1, 2)
  const commitInterval = pick([50, 200, 1000])
  const config = {
    name: 'sim',
    delivery,
    commit_interval: `${commitInterval}ms`,
    max_in_flight: pick([10, 100, 1000]),
    shutdown_timeout: '8s',
    retry: { initial_delay: '50ms', max_delay: '2s', breaker_failures: 5, breaker_reset: '1s' },
    sources: (push ? ['in'] : [...new Set(inputs.map(topicOf))]).map(name => ({ name, sim: {}, keyed_by: 'k' })),
    transforms: [
      ...blocks.flatMap(b => b.steps),
      ...(behind
        ? [{ name: LINK, sim_repartition: { by: 'g', time: 'ts', partitions, idle_timeout: pick([1000, 5000, 0]), max_future: 3_600_000 } }]
        : []),
      ...(behind ?? []).flatMap(b => b.steps),
    ],
    sinks: sinks.map(({ name }) => ({ name, [`sim_${name}`]: {} })),
    dlq: { sim_queue: {} },
  }
  const peers: Peer[] = ['broker', 'table', 'queue']
  const storms = Array.from({ length: between(0, 4) }, (): Storm => {
    const from = START + between(0, TROUBLE)
    return { peer: pick(peers), from, to: Math.min(START + TROUBLE, from + between(200, 8000)), mode: pick(['down', 'hang'] as const) }
  })
  const calm = chance(0.15)
  const mishaps = calm
    ? []
    : mishapsOf(random, processes, inputs.length).filter(
        m =>
          !(linked && ['retention', 'recreate'].includes(m.kind)) &&
          !(push && ['retention', 'recreate', 'reset', 'rebalance'].includes(m.kind)),
      )
  return {
    seed,
    config,
    blocks,
    behind,
    push,
    delivery,
    commitInterval,
    source,
    sinks,
    queueInTransaction: delivery === 'exactly_once' && chance(0.6),
    lanes,
    processes,
    arrivals: arrivalsOf(random, inputs),
    faults: calm
      ? { lost: 0, unknown: 0, late: 0, latency: between(1, 30) }
      : { lost: pick([0, 0.01, 0.05]), unknown: pick([0, 0.01, 0.05]), late: pick([0, 0.5]), latency: pick([2, 20, 200]) },
    storms: calm ? [] : storms,
    mishaps,
    calmFrom: START + TROUBLE,
  }
}

function chainOf(random: () => number, once: boolean): Block[] {
  const chance = (p: number): boolean => random() < p
  const blocks: Block[] = []
  const name = (what: string): string => `${what}${blocks.length}`
  if (chance(0.35)) blocks.push(mapBlock(name('map')))
  if (chance(0.35)) blocks.push(tallyBlock(name('fragile'), false))
  if (chance(0.25)) blocks.push(filterBlock(name('filter')))
  if (chance(0.35)) blocks.push(dedupeBlock(name('dedupe')))
  if (chance(0.2)) blocks.push(joinBlock(name('join'), random))
  if (chance(0.35)) blocks.push(tallyBlock(name('tally'), true))
  const last = random()
  if (last < 0.1) blocks.push(unnestBlock(name('unnest')))
  else if (last < 0.2) blocks.push(groupBlock(name('group')))
  else if (last < 0.3) blocks.push(rekeyBlock(name('rekey')))
  else if (last < 0.55) blocks.push(windowBlock(name('window'), random))
  else if (last < 0.7) blocks.push(barsBlock(name('bars'), random))
  else if (last < 0.8 && once) blocks.push(idleWindowBlock(name('idle'), random))
  return blocks
}

/** Of a source that cannot be read again: a plugin that throws stops the run if there is state. */
function pushedOf(random: () => number): Block[] {
  const blocks: Block[] = []
  const name = (what: string): string => `${what}${blocks.length}`
  if (random() < 0.35) blocks.push(mapBlock(name('map')))
  if (random() < 0.25) blocks.push(filterBlock(name('filter')))
  if (random() < 0.5) blocks.push(dedupeBlock(name('dedupe')))
  if (random() < 0.6) blocks.push(idleWindowBlock(name('idle'), random))
  return blocks
}

/** In front of a `repartition`. */
function upstreamOf(random: () => number): Block[] {
  const blocks: Block[] = []
  const name = (what: string): string => `${what}${blocks.length}`
  if (random() < 0.3) blocks.push(mapBlock(name('map')))
  if (random() < 0.3) blocks.push(tallyBlock(name('fragile'), false))
  if (random() < 0.2) blocks.push(filterBlock(name('filter')))
  if (random() < 0.3) blocks.push(dedupeBlock(name('dedupe')))
  if (random() < 0.3) blocks.push(tallyBlock(name('tally'), true))
  return blocks
}

function downstreamOf(random: () => number): Block[] {
  const blocks: Block[] = []
  if (random() < 0.3) blocks.push(tallyBlock('count', true))
  const last = random()
  if (last < 0.5) blocks.push(windowBlock('windows', random, 'g'))
  else if (last < 0.8) blocks.push(barsBlock('candles', random, 'g'))
  return blocks
}

function arrivalsOf(random: () => number, lanes: readonly string[]): Arrival[] {
  const between = (from: number, to: number): number => from + Math.floor(random() * (to - from + 1))
  const arrivals: Arrival[] = []
  lanes.forEach((lane, l) => {
    const keys = Array.from({ length: between(1, 4) }, (_, i) => `${l}${'abcd'[i]}`)
    const count = between(20, 150)
    const poison = random() < 0.5 ? 0.08 : 0
    const nested = random() < 0.6
    const disorder = random() < 0.5 ? 3000 : 0
    let at = START + between(0, 2000)
    const sent: { value: { id: string; k: string; ts: number }; payload: Buffer }[] = []
    for (let i = 0; i < count; i++) {
      at += random() < 0.1 ? between(0, 5000) : between(0, 400)
      const repeated = sent.length > 0 && random() < 0.1 ? sent[between(0, sent.length - 1)] : undefined
      if (repeated) {
        arrivals.push({ at, lane, key: repeated.value.k, payload: repeated.payload, time: repeated.value.ts })
        continue
      }
      const k = keys[between(0, keys.length - 1)]
      const ts = Math.round(at - random() * disorder - (random() < 0.02 ? 30_000 : 0))
      const roll = random()
      const f = roll < poison / 2 ? 'boom' : roll < poison ? 'refuse' : roll > 0.93 ? 'table' : undefined
      const value = {
        id: `${l}-${i}`,
        k,
        g: 'xyz'[i % 3],
        ts,
        ...(random() < poison / 3 ? {} : { v: between(0, 99) }),
        ...(f && { f }),
        ...(nested && { parts: partsOf(between) }),
      }
      const payload = random() < poison / 3 ? Buffer.from(`{"broken": ${i}`) : Buffer.from(JSON.stringify(value))
      sent.push({ value, payload })
      arrivals.push({ at, lane, key: k, payload, time: ts })
    }
  })
  return arrivals.toSorted((a, b) => a.at - b.at)
}

const partsOf = (between: (from: number, to: number) => number): object[] =>
  Array.from({ length: between(0, 3) }, () => ({ p: 'xyz'[between(0, 2)], q: between(0, 9) }))

function mishapsOf(random: () => number, processes: number, lanes: number): Mishap[] {
  const between = (from: number, to: number): number => from + Math.floor(random() * (to - from + 1))
  const kinds = ['kill', 'kill', 'kill', 'stop', 'freeze', 'freeze', 'clock', 'rebalance'] as const
  const mishaps = Array.from({ length: between(1, 10) }, (): Mishap => {
    const kind = kinds[between(0, kinds.length - 1)]
    const target = between(0, processes - 1)
    const at = START + between(500, TROUBLE - 1000)
    if (kind === 'clock') return { at, kind, target, duration: [-86_400_000, -3_600_000, 3_600_000, 86_400_000][between(0, 3)] }
    return { at, kind, target, duration: between(100, 15_000) }
  })
  const some = (probability: number, kind: Mishap['kind']): void => {
    if (random() < probability)
      mishaps.push({ at: START + between(5000, TROUBLE - 5000), kind, target: between(0, lanes - 1), duration: between(100, 5000) })
  }
  some(0.25, 'retention')
  some(0.1, 'recreate')
  some(0.2, 'reset')
  return mishaps
}
