/** Rows of the matrix: pairs under load, a fault that strikes them at once, and the account of every record afterwards. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { get } from '../../e2e/lib/http.ts'
import { freezeBetweenWrites } from '../../support/freeze.ts'
import { seeded } from '../../support/random.ts'
import { type Runner, startRunner, tempDir } from '../../support/runner.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { eventually } from '../../support/eventually.ts'
import type { Watched } from '../../support/watched.ts'
import type { Fault } from './faults.ts'
import type { OpenPair, Pair } from './pairs.ts'
import type { KafkaLine, Peers } from './peers.ts'
import { within } from '../../../src/connectors/kafka/client/wait.ts'
import { KEYS, Numbers, type Verdict } from './records.ts'

export interface Result extends Verdict {
  readonly pair: Pair
  readonly fault: string
  readonly kafka: KafkaLine
  readonly records: number
  /** From the end of the fault until a record of each key that was sent then has arrived. */
  readonly seconds: number
  readonly ready: string
  /** Why the row failed, apart from the numbers. */
  readonly problem?: string
}

const PAUSE = 50
const ARRIVAL = 120_000

/** Everything that a fault needs. */
export class Scene {
  readonly pair: Pair
  readonly peers: Peers
  readonly random: () => number
  readonly fleet: Fleet
  readonly feed: Feed
  readonly cwd: string
  readonly open: OpenPair
  recovered = Number.NaN
  /** Missing records that the promise of the pair leaves out, at the last look. */
  missed: ReadonlySet<number> = new Set()
  /** The first one: a process ended by itself, records did not arrive… */
  problem: unknown

  constructor(pair: Pair, peers: Peers, seed: number, open: OpenPair, cwd: string) {
    this.pair = pair
    this.peers = peers
    this.random = seeded(seed)
    this.open = open
    this.cwd = cwd
    this.fleet = new Fleet(open, cwd)
    this.feed = new Feed(open, pair.rate)
  }

  /** The other pairs of the run go on without it. */
  async attempt(work: () => Promise<void>): Promise<void> {
    if (this.problem !== undefined) return
    try {
      await work()
    } catch (error) {
      this.problem = error
    }
  }

  /** SIGSTOP; of the embedded log's writers between two writes: in the middle of one it would keep the file locked for all. */
  async freeze(): Promise<void> {
    if (this.pair.source === 'embedded') await freezeBetweenWrites(this.fleet.runner(), join(this.cwd, '.runner', 'log.db'))
    else this.fleet.runner().kill('SIGSTOP')
  }

  /** The fault is over: how long until a record of each key arrives that is sent now. */
  async over(): Promise<void> {
    const start = performance.now()
    await this.flows()
    this.recovered = (performance.now() - start) / 1000
  }

  /** Waits until a record of each key arrives. A source that cannot be read again gets new ones until it does. */
  async flows(): Promise<void> {
    const start = performance.now()
    for (;;) {
      const sent = await this.feed.once(KEYS)
      await this.arrived(sent.map(r => r.id))
      if (!sent.some(r => this.missed.has(r.id))) return
      if (performance.now() - start > ARRIVAL) throw new Error(`records are still missed after ${ARRIVAL} ms`)
      await sleep(PAUSE)
    }
  }

  /** Waits until the records have arrived, or are of those that the promise of the pair leaves out. */
  async arrived(ids: readonly number[]): Promise<void> {
    const by = { interval: 250, timeout: ARRIVAL, by: this.fleet }
    await eventually(async () => {
      const read = await this.open.read()
      const seen = read.map(({ text }) => JSON.parse(text) as { id: number; key: string; n: number })
      this.missed = this.open.missed(this.feed.numbers.made, read)
      const newest = new Map(seen.map(r => [r.key, r.n]))
      const found = new Set(seen.map(r => Number(r.id)))
      const { made } = this.feed.numbers
      const missing = ids.filter(id =>
        this.pair.latest ? (newest.get(made[id].key) ?? 0) < made[id].n : !found.has(id) && !this.missed.has(id),
      )
      if (missing.length > 0)
        throw new Error(`${missing.length} of ${ids.length} records have not arrived, among them ${missing.slice(0, 5).join(' ')}`)
    }, by)
  }
}

/** A live input, in small pieces, while the fault goes on. */
export class Feed {
  readonly numbers = new Numbers()
  private readonly open: OpenPair
  private readonly rate: number
  private running: Promise<void> | undefined
  private over = true

  constructor(open: OpenPair, rate: number) {
    this.open = open
    this.rate = rate
  }

  start(): void {
    this.over = false
    this.running = (async () => {
      while (!this.over) {
        await this.open.write(this.numbers.next(this.rate))
        await sleep(PAUSE)
      }
    })()
    this.running.catch(() => {})
  }

  /** @returns when nothing is on its way to the source any more. */
  async stop(): Promise<void> {
    this.over = true
    await this.running
  }

  /** A burst, so that the runner is busy with what has just come. */
  async burst(): Promise<void> {
    await this.stop()
    await this.open.write(this.numbers.next(this.rate * 20))
  }

  /** Goes on, and writes again what the source does not take, until it does. */
  patiently(): void {
    this.over = false
    this.running = (async () => {
      while (!this.over) {
        const records = this.numbers.next(this.rate)
        await eventually(() => this.open.write(records), { interval: 200, timeout: ARRIVAL })
        await sleep(PAUSE)
      }
    })()
    this.running.catch(() => {})
  }

  async once(count: number): Promise<{ id: number }[]> {
    const going = !this.over
    await this.stop()
    const records = this.numbers.next(count)
    await this.open.write(records)
    if (going) this.start()
    return records
  }
}

/** The processes of one pair. */
export class Fleet implements Watched {
  private readonly open: OpenPair
  private readonly cwd: string
  private readonly members: { runner: Runner; port: number }[] = []
  /** More environment for the next start. */
  readonly env: Record<string, string> = {}
  readonly watch = new Watch()
  /** All processes so far. */
  private readonly log: Runner[] = []

  constructor(open: OpenPair, cwd: string) {
    this.open = open
    this.cwd = cwd
  }

  runner(i = 0): Runner {
    return this.members[i].runner
  }

  /** Starts the process with this number, again where it has ended. */
  async start(i = 0): Promise<void> {
    const port = this.members[i]?.port ?? (await freePorts(1))[0]
    const state = join(this.cwd, `state-${i}`)
    mkdirSync(state, { recursive: true })
    const env = { ...this.open.env, ...this.env, PORT: String(port), INSTANCE: String(i), RUNNER_STATE_DIR: state }
    const openStdin = this.open.attach !== undefined
    this.members[i] = { port, runner: startRunner(['run', 'pipeline.yaml', '--log-format', 'json'], { cwd: this.cwd, env, openStdin }) }
    this.open.attach?.(this.members[i].runner)
    this.log.push(this.members[i].runner)
    if (i === 0) this.watch.port = port
  }

  async ready(i = 0): Promise<void> {
    const { runner, port } = this.members[i]
    const check = async (): Promise<void> => {
      const { status, body } = await get(port, '/ready')
      if (status !== 200) throw new Error(`/ready is ${status}: ${body}`)
    }
    await eventually(check, { by: runner, timeout: ARRIVAL })
  }

  /** Resolves when the process is not ready, or has ended, which is expected. */
  async refused(i = 0): Promise<void> {
    const { runner, port } = this.members[i]
    let ended = false
    void runner.exited.then(() => (ended = true))
    await eventually(
      async () => {
        if (!ended && (await get(port, '/ready')).status === 200) throw new Error('/ready is 200')
      },
      { timeout: ARRIVAL },
    )
  }

  /** Starts it again if it has ended, or ends now. */
  async revive(i = 0): Promise<void> {
    const { runner } = this.members[i]
    const ended = await within(
      runner.exited.then(() => true),
      3_000,
      false,
    )
    if (ended) await this.start(i)
  }

  async kill(i = 0): Promise<void> {
    this.runner(i).kill('SIGKILL')
    await this.runner(i).exited
  }

  get endedUnasked(): boolean {
    return this.members.some(({ runner }) => runner.endedUnasked)
  }

  describe(problem: string): string {
    return this.members.map(({ runner }) => runner.describe(problem)).join('\n')
  }

  async terminate(): Promise<void> {
    for (const { runner } of this.members) if (!runner.endedUnasked) runner.kill('SIGTERM')
    for (const { runner } of this.members) await runner.exited
  }

  async end(): Promise<void> {
    this.watch.stop()
    if (process.env.FAULT_LOG) appendFileSync(process.env.FAULT_LOG, this.log.map(runner => runner.describe('log')).join('\n'))
    for (const { runner } of this.members) {
      runner.kill('SIGCONT')
      runner.kill('SIGKILL')
      await runner.exited
    }
  }
}

/** What `/ready` of a process said, all the time. */
export class Watch {
  port = 0
  private readonly samples: { at: number; status: number; reason: string }[] = []
  private timer: NodeJS.Timeout | undefined
  private started = 0

  start(): void {
    this.started = performance.now()
    const look = async (): Promise<void> => {
      const at = (performance.now() - this.started) / 1000
      const { status, body } = await get(this.port, '/ready')
      this.samples.push({ at, status, reason: reasonOf(body) })
      this.timer = setTimeout(() => void look(), 200)
    }
    void look()
  }

  stop(): void {
    clearTimeout(this.timer)
  }

  /** For the page: when it was not ready, and why. */
  get summary(): string {
    const spans: { from: number; to: number; status: number; reason: string }[] = []
    let before: (typeof spans)[number] | undefined
    for (const { at, status, reason } of this.samples) {
      if (before) before.to = at
      if (status === 200) before = undefined
      else if (before?.status !== status) spans.push((before = { from: at, to: at, status, reason }))
      else before.reason ||= reason
    }
    const no = spans.filter(s => s.status === 503)
    const down = spans.filter(s => s.status === 0)
    const of = (list: typeof spans): string =>
      list.length === 1 ? `from ${list[0].from.toFixed(1)} s to ${list[0].to.toFixed(1)} s` : `${list.length} times`
    const parts: string[] = []
    if (down.length > 0) parts.push(`no answer ${of(down)}`)
    if (no.length > 0) parts.push(`503 ${of(no)}${no.find(s => s.reason)?.reason ? `: ${no.find(s => s.reason)!.reason}` : ''}`)
    return parts.length === 0 ? '200 throughout' : parts.join('; ')
  }
}

function reasonOf(body: string): string {
  try {
    const { pipelines } = JSON.parse(body) as { pipelines: { reasons: { kind: string; name: string | null; reason: string }[] }[] }
    const [first] = pipelines.flatMap(p => p.reasons)
    return first
      ? `${first.kind}${first.name === null ? '' : ` ${first.name}`}, ${first.reason}`.replaceAll(/\d{4,}/g, '…').slice(0, 90)
      : ''
  } catch {
    return ''
  }
}

/** kafkajs, which makes the topics, now and then waits for an answer that has come: then it is done again, under other names. */
async function opened(pair: Pair, peers: Peers, cwd: string): Promise<OpenPair> {
  for (let attempt = 1; ; attempt++) {
    const open = await within(pair.open(peers, cwd), attempt === 1 ? 120_000 : 30_000, undefined)
    if (open) return open
    if (attempt === 3) throw new Error(`${pair.name}: cannot make its topics and tables`)
  }
}

/** Each pair is a row. Whatever goes wrong with one is in its result. */
export async function runRows(pairs: readonly Pair[], fault: Fault, peers: Peers, seed: number): Promise<Result[]> {
  const scenes: Scene[] = []
  const each = (work: (scene: Scene) => Promise<void>): Promise<unknown> =>
    Promise.all(scenes.map(scene => scene.attempt(() => work(scene))))
  try {
    for (const [i, pair] of pairs.entries()) {
      const cwd = fault.place?.() ?? tempDir()
      const open = await opened(pair, peers, cwd)
      writeFileSync(join(cwd, 'pipeline.yaml'), open.yaml)
      scenes.push(new Scene(pair, peers, seed + i, open, cwd))
    }
    await each(async scene => {
      await fault.prepare?.(scene)
      await scene.fleet.start()
      await scene.fleet.ready()
      await scene.flows()
    })
    for (const { fleet, feed } of scenes) {
      fleet.watch.start()
      feed.start()
    }
    await fault.strike(scenes, peers)
    await each(async scene => {
      await scene.feed.stop()
      if (Number.isNaN(scene.recovered)) await scene.over()
      scene.fleet.watch.stop()
      await scene.arrived(scene.feed.numbers.made.map(r => r.id))
    })
    return await Promise.all(scenes.map(scene => account(scene, fault)))
  } finally {
    for (const { fleet, feed, open } of scenes) {
      await feed.stop().catch(() => {})
      await fleet.end()
      await within(open.close(), 10_000, undefined)
    }
    await fault.restore?.(peers, scenes)
  }
}

async function account(scene: Scene, fault: Fault): Promise<Result> {
  const { pair, peers, fleet, feed, open, recovered, problem } = scene
  fleet.watch.stop()
  await feed.stop().catch(() => {})
  await fleet.terminate()
  const { made } = feed.numbers
  const verdict = pair.judge(made, await open.read(), await open.fed(), scene.missed)
  return {
    pair,
    fault: fault.name,
    kafka: peers.line,
    records: made.length,
    ...verdict,
    seconds: recovered,
    ready: fleet.watch.summary,
    ...(problem !== undefined && { problem: problem instanceof Error ? problem.message : String(problem) }),
  }
}
