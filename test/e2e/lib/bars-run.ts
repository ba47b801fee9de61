/** A bars pipeline on a backend: its file, its topics, and what must be in them at the end. */
import { expect } from 'vitest'
import type { ConsumedRecord } from '../../support/kcat.ts'
import { closingTicks, expectedBars, type ExpectedBar, type PartitionedTick, tickRecord } from '../../support/golden-ticks.ts'
import { startRunner, tempDir, type Runner, type RunnerOptions } from '../../support/runner.ts'
import type { Backend } from './backend.ts'

export interface BarsPipelineOptions {
  readonly name?: string
  readonly input?: string
  /** Default 6 s: the shortest that a broker allows by default. */
  readonly session?: string
  readonly delivery?: 'exactly_once' | 'at_least_once'
  readonly metricsPort?: number
  readonly extra?: string
}

/** The pipeline on topics of its own. One directory per process with that option of `startRunner`; embedded processes share the backend's. */
export class BarsPipeline {
  readonly backend: Backend
  readonly name: string
  readonly input: string
  readonly output: string
  readonly dead: string
  readonly group: string
  readonly file: string
  private readonly cwd: string

  private constructor(backend: Backend, cwd: string, name: string, topics: [string, string, string], file: string) {
    this.backend = backend
    this.cwd = cwd
    this.name = name
    ;[this.input, this.output, this.dead] = topics
    this.group = `${this.output}-group`
    this.file = file
  }

  static async create(backend: Backend, cwd: string, partitions: number, options: BarsPipelineOptions = {}): Promise<BarsPipeline> {
    const input = options.input ?? (await backend.topic('ticks', partitions))
    const output = await backend.topic('bars', partitions)
    const dead = await backend.topic('dead')
    const name = options.name ?? output
    const text = `
name: ${name}
sources:
  - kafka: { topics: [${input}], group: ${output}-group, session_timeout: ${options.session ?? '6s'} }
transforms:
  # Silence must not close anything here: these runs are torn down and up at random, and the bars may depend on the trades only.
  - bars: { interval: 10s, allowed_lateness: 2s, idle_timeout: 0s, on_late: dlq }
sinks:
  - kafka: { topic: ${output}, key: symbol }
dlq: { kafka: { topic: ${dead} } }
delivery: ${options.delivery ?? 'exactly_once'}
${options.metricsPort === undefined ? '' : `metrics: { port: ${options.metricsPort} }`}
${options.extra ?? ''}
`
    const file = tempFile(`${name}.yaml`, text)
    return new BarsPipeline(backend, cwd, name, [input, output, dead], file)
  }

  start(args: readonly string[] = [], options: RunnerOptions = {}): Runner {
    return startRunner(['run', this.file, '--log-level', 'debug', ...args], {
      cwd: this.cwd,
      ...options,
      env: { ...this.backend.env, ...options.env },
    })
  }

  /** The ticks, then one per partition that closes all bars. */
  async feedAll(ticks: readonly PartitionedTick[]): Promise<void> {
    await this.backend.produce(this.input, [...ticks, ...closingTicks(ticks)].map(tickRecord))
  }

  /** The committed output is what an independent computation makes of the ticks: every bar once, in order, byte for byte; each late trade is dead once. */
  async verify(ticks: readonly PartitionedTick[], timeoutMs = 120_000): Promise<void> {
    const golden = expectedBars(ticks)
    await this.backend.waitFor(this.output, golden.count, timeoutMs)
    await this.backend.waitFor(this.dead, golden.late, timeoutMs)
    expectBars(await this.backend.readAll(this.output), golden.bars)
    const dead = await this.backend.readAll(this.dead, { headers: true })
    const positions = dead.map(r => `${header(r, 'source_partition')}/${header(r, 'source_offset')}`)
    expect(new Set(positions).size, 'dead letters written twice').toBe(positions.length)
    expect(dead.length, 'late trades in the dead letters').toBe(golden.late)
    expect(new Set(dead.map(r => header(r, 'error_type')))).toEqual(new Set(golden.late > 0 ? ['late'] : []))
  }
}

export const header = (record: ConsumedRecord, name: string): string | undefined => record.headers?.findLast(([n]) => n === name)?.[1]

export function expectBars(records: readonly ConsumedRecord[], golden: Map<string, ExpectedBar[]>): void {
  const seen = byKey(records)
  const wanted = new Map([...golden].map(([key, bars]) => [key, bars.map(b => `${b.time} ${b.value}`)]))
  expect([...seen.keys()].toSorted()).toEqual([...wanted.keys()].toSorted())
  for (const [key, lines] of wanted) {
    const got = seen.get(key)!
    // The first difference says more than a diff of thousands of lines.
    const at = lines.findIndex((line, i) => got[i] !== line)
    expect({ key, at, bar: got[at] }, `${key}: bar ${at} of ${lines.length} differs`).toEqual({ key, at, bar: lines[at] })
    expect(got.length, `${key}: bars beyond the expected ones, first ${got[lines.length]}`).toBe(lines.length)
  }
}

/** `time value` per key, in order. A key lives in one partition, so offsets order it. */
export function byKey(records: readonly ConsumedRecord[]): Map<string, string[]> {
  const lists = new Map<string, string[]>()
  for (const r of records) {
    const key = r.key?.toString() ?? '(null)'
    if (!lists.has(key)) lists.set(key, [])
    lists.get(key)!.push(`${r.time} ${r.value}`)
  }
  return lists
}

function tempFile(name: string, text: string): string {
  return `${tempDir({ [name]: text })}/${name}`
}
