/** Runs one seed: the real runtime in a simulated world, then the comparison with the oracle. */
import '../../src/built-in.ts'
import { loadLanguageFor } from '../../src/config/lane-keys.ts'
import { loadInput } from '../../src/config/load.ts'
import type { Pipeline, Step } from '../../src/config/model.ts'
import { type LinkPlace, type Logger, type Plugin, type SourcePlugin, StateError } from '../../src/contract/plugin.ts'
import { build } from '../../src/runtime/build.ts'
import { PipelineRun } from '../../src/runtime/pipeline.ts'
import { seeded } from '../support/random.ts'
import { type Block, tally } from './blocks.ts'
import { isLink } from './link-oracle.ts'
import type { Mutant } from './mutants.ts'
import { compare } from './oracle.ts'
import { localStore, simQueue, simRepartition, simSink, simSource } from './plugins.ts'
import { diskStore, pushSource } from './push.ts'
import { type Mishap, type Scenario, scenarioOf } from './scenario.ts'
import { Process } from './scheduler.ts'
import { START, World } from './world.ts'

export interface Outcome {
  readonly seed: number
  readonly violations: readonly string[]
  /** Everything that happened, a line each. */
  readonly trace: readonly string[]
  /** Two runs of a seed have the same. */
  readonly hash: string
  readonly events: number
  readonly rows: number
}

/** Virtual ms within which everything must be through once nothing fails any more. */
const PATIENCE = 180_000

export async function simulate(seed: number, mutant?: Mutant): Promise<Outcome> {
  const scenario = scenarioOf(seed)
  const simulation = new Simulation(scenario, mutant)
  const restore = pinGlobals(seed)
  try {
    await simulation.run()
  } finally {
    restore()
  }
  const { world } = simulation
  return {
    seed,
    violations: world.violations,
    trace: world.lines,
    hash: world.traceHash,
    events: world.scheduler.events,
    rows: world.rows.length,
  }
}

/** Real time and real chance must decide nothing. `performance.now()` measures how long steps take, and when the reader yields. */
function pinGlobals(seed: number): () => void {
  const { random } = Math
  const now = performance.now
  Math.random = seeded(seed ^ 0xc0ffee)
  performance.now = () => 0
  return () => {
    Math.random = random
    performance.now = now
  }
}

/** A process of the pipeline, which is started again after its end. */
interface Slot {
  readonly number: number
  lives: number
  process: Process
  run: PipelineRun | undefined
  ended: boolean
  fresh: boolean
  /** It got SIGTERM while things could fail: it may then be too slow. */
  hurried: boolean
}

class Simulation {
  readonly world: World
  private readonly scenario: Scenario
  private readonly mutant: Mutant | undefined
  private readonly slots: Slot[] = []
  private pipeline!: Pipeline
  private closing = false

  constructor(scenario: Scenario, mutant: Mutant | undefined) {
    this.scenario = scenario
    this.mutant = mutant
    const { seed, lanes, faults, storms, calmFrom, blocks, behind, push, delivery } = scenario
    const keeps = (chain: readonly Block[]): boolean => delivery === 'at_least_once' && !chain.some(b => b.stateful)
    this.world = new World({
      seed,
      lanes,
      faults,
      storms,
      calmFrom,
      waits: push?.waits,
      // A lane in front of a link commits with what it passes on.
      decides: lane => (push ? 'nowhere' : (isLink(lane) ? keeps(behind!) : !behind && keeps(blocks)) ? 'source' : 'store'),
      unfenced: mutant?.unfenced,
    })
  }

  async run(): Promise<void> {
    const { world, scenario } = this
    const { scheduler } = world
    this.pipeline = await load(scenario)
    for (const { at, lane, ...record } of scenario.arrivals)
      scheduler.after(at - START, () => (scenario.push ? world.senders.send(record) : world.append(lane, record)))
    for (const mishap of scenario.mishaps) scheduler.after(mishap.at - START, () => this.mishap(mishap))
    for (let i = 0; i < scenario.processes; i++) {
      const slot: Slot = { number: i, lives: 0, process: undefined!, run: undefined, ended: true, fresh: false, hurried: false }
      this.slots.push(slot)
      this.start(slot)
    }
    scheduler.after(scenario.calmFrom - START, () => {
      world.trace('nothing fails any more')
      for (const slot of this.slots) if (slot.ended) this.start(slot)
    })
    const last = Math.max(scenario.calmFrom, scenario.arrivals.at(-1)!.at)
    let since: number | undefined
    const through = (): boolean => {
      if (scheduler.time < last || world.violations.length > 0) return world.violations.length > 0
      const done = scenario.push
        ? world.senders.allAnswered
        : [...world.lanes.values()].every(log => Math.max(log.start, world.positionOf(log.id)) === log.records.length)
      since = done ? (since ?? scheduler.time) : undefined
      return since !== undefined && scheduler.time - since > (scenario.push ? 20_000 : 3000)
    }
    if (!(await scheduler.run(through, last - START + PATIENCE))) {
      const open = [...world.lanes.values()].map(log => `${log.id} ${world.positionOf(log.id)} of ${log.records.length}`)
      const reasons = this.slots.flatMap(s => s.run?.notReady() ?? [])
      return world.violate(
        `no progress: ${open.join(', ')} after ${PATIENCE / 1000} s without failures; not ready: ${reasons.join('; ') || 'nothing'}`,
      )
    }
    if (world.violations.length > 0) return
    this.closing = true
    for (const slot of this.slots) {
      // A frozen process has not yet detected that another one owns its lanes.
      slot.hurried ||= slot.process.frozenUntil > scheduler.time
      if (!slot.ended) slot.run!.stop()
    }
    if (!(await scheduler.run(() => this.slots.every(s => s.ended), 60_000))) return world.violate('stop() does not end')
    compare(world, scenario)
  }

  private start(slot: Slot): void {
    const { world, scenario } = this
    const process = new Process(`p${slot.number}.${++slot.lives}`, world.scheduler)
    process.wall = slot.process?.wall ?? 0
    const log = logger(world, process)
    const { pipeline = p => p, built: change = b => b }: Partial<Mutant> = this.mutant ?? {}
    const built = build(pipeline(bind(this.pipeline, scenario, world, process)), {
      clock: process.clock,
      log,
      fresh: slot.fresh,
      localCheckpoints: () => (scenario.push ? diskStore(world, process) : localStore(world, process)),
    })
    const random = seeded(world.between(0, 1_000_000_000))
    const run = new PipelineRun(change(built), { clock: process.clock, log, endAt: Number.POSITIVE_INFINITY, random })
    world.trace(`${process.name} starts${slot.fresh ? ' --fresh' : ''}`)
    Object.assign(slot, { process, run, ended: false, fresh: false, hurried: false })
    const ended = (error?: Error): void => {
      if (slot.process !== process || process.dead) return
      slot.ended = true
      process.dead = true
      world.trace(`${process.name} has ended${error ? `: ${error.message}` : ''}`)
      if (error) this.judge(slot, error)
      else world.senders.drained.add(process)
    }
    run.run().then(
      () => ended(),
      error => ended(error as Error),
    )
  }

  /** A process has ended with an error: was it right to? */
  private judge(slot: Slot, error: Error): void {
    const { world } = this
    const again = (): void => void world.scheduler.after(1000, () => !this.closing && slot.ended && this.start(slot))
    const halts = this.scenario.blocks.some(b => b.stopsAtGap)
    const isTold =
      /was deleted and created again/.test(error.message) || (halts && /were deleted before they were read/.test(error.message))
    if (error instanceof StateError && isTold) {
      slot.fresh = true
      return again()
    }
    if (/not drained within shutdown_timeout|stopped while .* could not commit/.test(error.message) && slot.hurried) return
    world.violate(`${slot.process.name} ended with ${error.name}: ${error.message}`)
  }

  private mishap({ kind, target, duration }: Mishap): void {
    const { world } = this
    if (kind === 'rebalance') {
      for (const group of world.groups.values()) group.turn++
      return
    }
    if (kind === 'retention') {
      const log = [...world.lanes.values()][target]
      // Around the committed records: some were not read yet.
      return world.truncate(log.id, Math.max(0, world.positionOf(log.id) + world.between(-10, 20)))
    }
    if (kind === 'reset') {
      const log = [...world.lanes.values()][target]
      if (log.position === undefined || world.options.decides(log.id) === 'source') return
      world.trace(`another program sets the offset of the group for ${log.id}`)
      world.groupOf(log.id).committed.set(log.id, { position: world.between(0, log.records.length), owner: null })
      return
    }
    if (kind === 'recreate') {
      for (const slot of this.slots) this.kill(slot, duration)
      return world.recreate([...world.lanes.keys()][target])
    }
    const slot = this.slots[target]
    const { process, run } = slot
    if (slot.ended) return
    if (kind === 'clock') {
      world.trace(`the wall clock of ${process.name} is set by ${duration / 1000} s`)
      process.wall += duration
    } else if (kind === 'freeze') {
      world.trace(`${process.name} is frozen for ${duration / 1000} s`)
      process.frozenUntil = Math.max(process.frozenUntil, world.scheduler.time + duration)
    } else {
      if (kind === 'kill') this.kill(slot, duration)
      else {
        world.trace(`${process.name} gets SIGTERM`)
        const restart = (): void => this.restart(slot, duration)
        slot.hurried = !world.calm
        run!.stop()
        const poll = (): void => (slot.process !== process ? undefined : slot.ended ? restart() : void world.scheduler.after(500, poll))
        poll()
      }
    }
  }

  private kill(slot: Slot, duration: number): void {
    if (slot.ended) return
    this.world.trace(`${slot.process.name} is killed`)
    slot.process.dead = true
    slot.ended = true
    this.world.senders.killed.set(slot.process, this.world.scheduler.time)
    this.restart(slot, duration)
  }

  private restart(slot: Slot, duration: number): void {
    this.world.scheduler.after(duration, () => {
      if (slot.ended && !this.closing) this.start(slot)
    })
  }
}

const sourceOf = ({ source, push }: Scenario, world: World, process: Process): SourcePlugin =>
  push ? pushSource(world, process, { ...push, maxBatch: source.maxBatch }) : simSource(world, process, source)

const placeholders = (scenario: Scenario): Plugin[] => {
  const world = undefined as unknown as World
  const process = undefined as unknown as Process
  return [
    sourceOf(scenario, world, process),
    ...scenario.sinks.map(sink => simSink(world, process, sink)),
    simQueue(world, process, scenario.queueInTransaction),
    tally(true),
    tally(false),
    ...(scenario.behind ? [simRepartition(world, process, scenario.source)] : []),
  ]
}

async function load(scenario: Scenario): Promise<Pipeline> {
  const { pipeline, problems } = await loadInput(scenario.config, { plugins: placeholders(scenario), env: {} })
  if (!pipeline) throw new Error(`seed ${scenario.seed}: ${problems.map(p => `${p.path}: ${p.message}`).join('\n')}`)
  await loadLanguageFor(pipeline)
  return pipeline
}

/** The same pipeline with the plugins of one process. They are built in: their results are not validated again. */
function bind(pipeline: Pipeline, scenario: Scenario, world: World, process: Process): Pipeline {
  const own = <S extends Step<any>>(step: S, plugin: Plugin): S => ({ ...step, plugin, foreign: undefined })
  const link = simRepartition(world, process, scenario.source)
  return {
    ...pipeline,
    // A link learns from the topics of a Kafka source which lanes it has to wait for.
    sources: pipeline.sources.map(s => ({
      ...own(s, sourceOf(scenario, world, process)),
      ...(scenario.behind && { type: 'kafka', config: { topics: [s.name] } }),
    })),
    transforms: pipeline.transforms.map(t => (t.plugin.link ? own(t, link) : t)),
    links: pipeline.links?.map(l => {
      const { sink, source } = link.link!.ends(pipeline.transforms[l.index].config, {} as LinkPlace)
      return { ...l, sink: own(l.sink, sink.plugin), source: own(l.source, source.plugin) }
    }),
    sinks: pipeline.sinks.map((s, i) => own(s, simSink(world, process, scenario.sinks[i]))),
    dlq: pipeline.dlq && own(pipeline.dlq, simQueue(world, process, scenario.queueInTransaction)),
  }
}

function logger(world: World, process: Process): Logger {
  const line = (level: string) => (o: object, m: string) => {
    const { error, lane, step } = o as { error?: string; lane?: string; step?: string }
    world.trace(`${process.name} ${level} ${[step, lane].filter(Boolean).join(' ')}: ${m}${error ? `: ${error}` : ''}`)
  }
  return { debug: () => {}, info: line('info'), warn: line('WARN'), error: line('ERROR') }
}
