/** Runs one test and checks its expectations. */
import { DLQ_HEADERS } from '../kit/dead-letter/headers.ts'
import type { Location, Pipeline } from '../config/model.ts'
import { formatPath, type Path } from '../config/tree.ts'
import { align, type Row } from './align.ts'
import { header } from './compare.ts'
import { hashOf } from './hash.ts'
import type { BatchSplit } from './feed.ts'
import { checkMetric } from './metrics.ts'
import type { Channel, Expectation, TestCase, TestStep } from './model.ts'
import { TestDriver } from './test-driver.ts'
import type { Written } from './in-memory-sinks.ts'

export type Failure =
  /** A sink or the dlq has other records than expected. */
  | {
      readonly kind: 'channel'
      readonly at: Location
      /** `outputs.kafka`, `dead_letters` */
      readonly what: string
      readonly channel: ChannelId
      readonly rows: readonly Row[]
      /** Expected and actual number, if a count is wrong. */
      readonly count?: readonly [expected: number, actual: number]
      /** The failed expectation; undefined: no expectation covers these records. */
      readonly expectation: Channel | undefined
    }
  | {
      readonly kind: 'metric'
      readonly at: Location
      readonly path: Path
      readonly what: string
      readonly expected: number
      readonly actual: number | undefined
      readonly hint?: string
    }
  /** A repetition of the test has other output than its first run. */
  | {
      readonly kind: 'repeat'
      readonly at: Location
      readonly what: string
      readonly text: string
      readonly channel: ChannelId
      readonly rows: readonly Row[]
    }
  | { readonly kind: 'error'; readonly at: Location; readonly what: string; readonly text: string }

export interface ChannelId {
  readonly kind: 'sink' | 'dlq'
  readonly name: string
}

export interface TestResult {
  readonly test: TestCase
  readonly failures: readonly Failure[]
  /** All written records per sink and dlq, by lane. */
  readonly written: ReadonlyMap<ChannelId, readonly Written[]>
  /** Hash of `written`. */
  readonly hash: string
  /** Real seconds. */
  readonly seconds: number
}

/** All available consecutive records of a lane in one batch. */
export const wholeBatches: BatchSplit = () => Number.POSITIVE_INFINITY

/** @param restTimeout real time limit of a step of the test, ms */
export async function runTest(
  pipeline: Pipeline,
  test: TestCase,
  restTimeout: number,
  cut: BatchSplit = wholeBatches,
): Promise<TestResult> {
  const started = performance.now()
  const trial = new Trial(pipeline, test, cut, restTimeout)
  await trial.run()
  const written = trial.written()
  return {
    test,
    failures: trial.failures,
    written,
    hash: hashOf([...written].map(([{ name }, records]) => [name, records])),
    seconds: (performance.now() - started) / 1000,
  }
}

class Trial {
  readonly failures: Failure[] = []
  private readonly pipeline: Pipeline
  private readonly test: TestCase
  private readonly driver: TestDriver
  private readonly channels: readonly ChannelId[]
  /** Number of compared records by channel and lane. */
  private readonly seen = new Map<string, Map<string, number>>()
  /** The error of the pipeline that has been reported or was expected. */
  private told: Error | undefined

  constructor(pipeline: Pipeline, test: TestCase, cut: BatchSplit, restTimeout: number) {
    this.pipeline = pipeline
    this.test = test
    this.driver = new TestDriver(pipeline, test, cut, restTimeout)
    this.channels = [
      ...pipeline.sinks.map(s => ({ kind: 'sink' as const, name: s.name })),
      ...(pipeline.dlq ? [{ kind: 'dlq' as const, name: pipeline.dlq.name }] : []),
    ]
    for (const { name } of this.channels) this.seen.set(name, new Map())
  }

  async run(): Promise<void> {
    let at = this.test.at
    try {
      await this.driver.start()
      for (const step of this.test.steps) {
        at = step.at
        await this.step(step)
      }
      await this.driver.flush()
      this.leftOver()
      await this.driver.close()
    } catch (error) {
      this.failures.push({ kind: 'error', at, what: 'error', text: (error as Error).message })
    }
  }

  written(): Map<ChannelId, readonly Written[]> {
    return new Map(this.channels.map(id => [id, inOrder(id, this.driver.sinks.read(id.name, new Map()))]))
  }

  private async step(step: TestStep): Promise<void> {
    switch (step.kind) {
      case 'input':
        return this.driver.input(step.records)
      case 'advance':
        return this.driver.advance(step.ms)
      case 'expect':
        await this.driver.flush()
        return this.expect(step.expectation, step.at)
      default:
        return this.driver[step.kind]()
    }
  }

  private expect(expectation: Expectation, at: Location): void {
    if (expectation.stops) this.expectStop(expectation.stops)
    else this.reportStop(at)
    for (const [name, channel] of expectation.outputs) {
      const sink = name ?? this.pipeline.sinks[0].name
      this.compare({ kind: 'sink', name: sink }, channel)
    }
    if (expectation.deadLetters) this.compare({ kind: 'dlq', name: this.pipeline.dlq!.name }, expectation.deadLetters)
    for (const metric of expectation.metrics) this.failures.push(...checkMetric(metric, this.driver.totals))
  }

  private expectStop({ text, at }: { text: string; at: Location }): void {
    const { failure } = this.driver
    this.told = failure
    if (failure?.message.includes(text)) return
    const what = failure ? `the pipeline stopped with another error: ${failure.message}` : 'the pipeline has not stopped'
    this.failures.push({
      kind: 'error',
      at,
      what: 'stops',
      text: `expected to stop with an error that contains ${JSON.stringify(text)}, but ${what}`,
    })
  }

  private reportStop(at: Location): void {
    const { failure } = this.driver
    if (!failure || failure === this.told) return
    this.told = failure
    this.failures.push({ kind: 'error', at, what: 'error', text: `the pipeline stopped: ${failure.message}` })
  }

  private compare(id: ChannelId, channel: Channel): void {
    const actual = this.take(id)
    const rows = channel.messages ? align(channel.messages, actual, channel) : []
    const wrongCount = channel.count !== undefined && channel.count !== actual.length
    if (!wrongCount && rows.every(r => r.kind === 'same')) return
    this.failures.push({
      kind: 'channel',
      at: channel.at,
      what: whatOf(id, this.pipeline),
      channel: id,
      rows: channel.messages || !wrongCount ? rows : actual.map(a => ({ kind: 'unexpected', actual: a })),
      ...(wrongCount && { count: [channel.count, actual.length] as const }),
      expectation: channel,
    })
  }

  /** All outputs must be compared by the end of a test: the rest is a failure. */
  private leftOver(): void {
    this.reportStop(this.test.at)
    for (const id of this.channels) {
      const rest = this.take(id)
      if (rest.length === 0) continue
      const rows = rest.map(actual => ({ kind: 'unexpected' as const, actual }))
      this.failures.push({ kind: 'channel', at: this.test.at, what: whatOf(id, this.pipeline), channel: id, rows, expectation: undefined })
    }
  }

  private take(id: ChannelId): Written[] {
    const seen = this.seen.get(id.name)!
    const byLane = this.driver.sinks.read(id.name, seen)
    for (const [lane, records] of byLane) seen.set(lane, (seen.get(lane) ?? 0) + records.length)
    return inOrder(id, byLane)
  }
}

/** The key in the test file. */
export function whatOf(id: ChannelId, pipeline: Pick<Pipeline, 'sinks'>): string {
  if (id.kind === 'dlq') return 'dead_letters'
  return pipeline.sinks.length > 1 ? formatPath(['outputs', id.name]) : 'outputs'
}

const byName = new Intl.Collator('en', { numeric: true })

/**
 * Sorted by lane, and dead letters also by offset: steps process whole batches, so the order in which different steps fail records
 * depends on batch boundaries.
 */
export function inOrder(id: ChannelId, byLane: ReadonlyMap<string, readonly Written[]>): Written[] {
  return [...byLane]
    .toSorted(([a], [b]) => byName.compare(a, b))
    .flatMap(([, records]) => (id.kind === 'dlq' ? records.toSorted((a, b) => offset(a) - offset(b)) : records))
}

const offset = (record: Written): number => Number(header(record, DLQ_HEADERS.offset))
