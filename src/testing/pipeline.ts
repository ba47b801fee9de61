/** `testPipeline`: runs a pipeline in any test runner, step by step on a virtual clock. */
import { DLQ_HEADERS } from '../kit/dead-letter/headers.ts'
import '../built-in.ts'
import { loadInput, type PipelineInput } from '../config/load.ts'
import { formatText } from '../config/format.ts'
import type { Pipeline } from '../config/model.ts'
import { ExactNumber, type Json, parseJson, PipelineError, type Plugin } from '../contract/plugin.ts'
import { isRecord } from '../kit/values/records.ts'
import { suggest } from '../kit/text/suggest.ts'
import { parseDuration } from '../kit/text/units.ts'
import { header } from './compare.ts'
import { withRejectionSink } from './fakes.ts'
import type { Written } from './in-memory-sinks.ts'
import { parseMetric } from './metrics.ts'
import type { InputRecord, Stub } from './model.ts'
import { inOrder, wholeBatches } from './run.ts'
import { TestDriver } from './test-driver.ts'
import type { StepCounts } from './totals.ts'
import { time as timeOf } from './values.ts'

export interface TestPipelineOptions {
  /** Variables for `${NAME}` in the pipeline. Default: none, so tests do not depend on the environment. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Overrides, as for `--set`. */
  readonly set?: readonly string[]
  /** Base folder of relative paths in a text or an object. Default: the working directory. */
  readonly base?: string
  /** Custom plugins, as for `run`. */
  readonly plugins?: readonly Plugin[]
  /** Start time of the virtual clock: epoch ms, a date, or ISO 8601. Default: 0. */
  readonly clock?: number | Date | string
  /** Stubbed answers by name of the step (`sql`, `lookup`). The first stub with a matching key is used. */
  readonly stubs?: Readonly<Record<string, readonly TestStub[]>>
  /** Real time limit for the pipeline to become idle, ms. Default: 10,000. */
  readonly timeout?: number
}

export interface TestStub {
  /** The key it answers; undefined: any. */
  readonly key?: Json
  readonly rows?: readonly Record<string, Json>[]
  /** The query fails with this message. */
  readonly error?: string
}

/** One record for a source: `value` (sent as JSON), or `payload` (unchanged bytes); neither: a tombstone. */
export interface TestRecord {
  readonly value?: unknown
  readonly payload?: Buffer | string | null
  readonly key?: string | Buffer | null
  readonly headers?: Readonly<Record<string, string | null>>
  /** Epoch ms, a date, or ISO 8601. Default: the time of the virtual clock. */
  readonly time?: number | Date | string
  /** Name of the source. Default: the first. */
  readonly source?: string
  readonly topic?: string
  /** Default: 0. */
  readonly partition?: number
  /** Lane of a source without topics. */
  readonly lane?: string
}

/** One record in a sink or the dead-letter queue. */
export interface OutputRecord {
  /** Parsed JSON; a number that no double equals is an `ExactNumber`. A string if the text is not JSON; `null` for a tombstone. */
  readonly value: any
  readonly payload: Buffer | null
  readonly key: string | null
  readonly headers: Readonly<Record<string, string | null>>
  /** Epoch ms. */
  readonly time: number
  /** Lane of its source. */
  readonly lane: string
  /** Destination of the sink, if it reports one. */
  readonly topic: string | undefined
}

export interface DeadLetter extends OutputRecord {
  /** `decode`, `data`, `late`… */
  readonly errorType: string | undefined
  readonly message: string | undefined
  /** The step that failed. */
  readonly step: string | undefined
}

/**
 * Starts a pipeline with sources, sinks and dlq in memory and unchanged transforms. Time is virtual: only `advance` moves the clock.
 * Every call waits until the pipeline is idle, and throws the error that stopped the pipeline.
 *
 * @throws {PipelineError} `PIPE_CONFIG` with all problems of the pipeline
 *
 * @example
 * import { testPipeline } from 'pipeline-runner/testing'
 *
 * test('a late tick goes to the dead-letter queue', async () => {
 *   const tick = (price, ts) => ({ value: { symbol: 'BTC', price, volume: 1, ts } })
 *   await using pipeline = await testPipeline('pipelines/bars.yaml', { env: { KAFKA_BROKERS: 'embedded' } })
 *   await pipeline.send([tick(1, 0), tick(2, 120_000), tick(3, 0)])
 *   await pipeline.crash()
 *   await pipeline.end()
 *   expect((await pipeline.outputs()).map(r => r.value.close)).toEqual([1, 2])
 *   expect((await pipeline.deadLetters()).map(d => d.errorType)).toEqual(['late'])
 * })
 */
export async function testPipeline(input: PipelineInput, options: TestPipelineOptions = {}): Promise<PipelineTest> {
  const { env = {}, set, base, plugins } = options
  const { pipeline, problems } = await loadInput(input, { env, set, base, plugins })
  if (!pipeline) throw new PipelineError('PIPE_CONFIG', formatText(problems).trimEnd())
  const test = new PipelineTest(withRejectionSink(pipeline), options)
  await test.start()
  return test
}

export class PipelineTest implements AsyncDisposable {
  private readonly pipeline: Pipeline
  private readonly driver: TestDriver
  private readonly names: readonly string[]
  /** Number of returned records by sink and lane. */
  private readonly seen = new Map<string, Map<string, number>>()
  private told: Error | undefined

  /** Internal: use `testPipeline`. */
  constructor(pipeline: Pipeline, { clock = 0, stubs = {}, timeout = 10_000 }: TestPipelineOptions) {
    this.pipeline = pipeline
    this.names = pipeline.sinks.map(s => s.name)
    const at = { file: pipeline.file, line: 1, column: 1 }
    const test = { name: 'test', index: 0, at, env: {}, set: [], clock: epoch(clock, 'clock'), stubs: stubsOf(pipeline, stubs), steps: [] }
    this.driver = new TestDriver(pipeline, test, wholeBatches, timeout)
  }

  /** Internal: called by `testPipeline`. */
  async start(): Promise<void> {
    await this.driver.start()
    this.check()
  }

  /** Virtual time, epoch ms. */
  get now(): number {
    return this.driver.clock.now()
  }

  /** The error that stopped the pipeline; undefined: it has not failed. */
  get failure(): Error | undefined {
    return this.driver.failure
  }

  /** Sends records to the sources, in order. */
  async send(records: TestRecord | readonly TestRecord[]): Promise<void> {
    const list = (Array.isArray(records) ? records : [records]) as readonly TestRecord[]
    await this.driver.input(list.map(r => this.record(r)))
    this.check()
  }

  /** Advances the clock by ms or text such as `1m`. Each timer fires at its time. */
  async advance(duration: number | string): Promise<void> {
    const ms = typeof duration === 'string' ? parseDuration(duration) : duration
    if (ms === undefined || !(ms >= 0))
      throw new RangeError(`${duration} is not a duration: write ms, or a number with its unit, such as 5s`)
    await this.driver.advance(ms)
    this.check()
  }

  /** Discards uncommitted work, as if the process had been killed, and restarts. */
  async crash(): Promise<void> {
    await this.driver.crash()
    this.check()
  }

  /** Drains and stops as on SIGTERM, and restarts. */
  async restart(): Promise<void> {
    await this.driver.restart()
    this.check()
  }

  /** Ends the input: windows close, and all output is written. */
  async end(): Promise<void> {
    await this.driver.end()
    this.check()
  }

  /** The records of a sink since the last call, by lane. @param sink its name; default: the only one */
  async outputs(sink?: string): Promise<OutputRecord[]> {
    if (sink === undefined && this.names.length > 1) throw new Error(`several sinks: write outputs('${this.names.join("'), outputs('")}')`)
    const name = sink ?? this.names[0]
    if (!this.names.includes(name)) throw new Error(unknown('sink', name, this.names))
    return (await this.take('sink', name)).map(outputOf)
  }

  /** Dead letters since the last call, by lane in the order of the input. */
  async deadLetters(): Promise<DeadLetter[]> {
    const { dlq } = this.pipeline
    if (!dlq) throw new Error('the pipeline has no dlq: a record that fails stops it')
    const records = await this.take('dlq', dlq.name)
    return records.map(r => ({
      ...outputOf(r),
      errorType: header(r, DLQ_HEADERS.errorType) ?? undefined,
      message: header(r, DLQ_HEADERS.message) ?? undefined,
      step: header(r, DLQ_HEADERS.step) ?? undefined,
    }))
  }

  /** The counts of each step, including all restarts. */
  get steps(): Readonly<Record<string, StepCounts>> {
    return Object.fromEntries(this.driver.totals.steps())
  }

  /** Value of a counter or gauge: `name`, or `name{label="value"}`; without labels the sum. Undefined: never set. */
  metric(metric: string): number | undefined {
    const parsed = parseMetric(metric)
    if (!parsed) throw new Error(`${metric} is not a metric: write name or name{label="value"}`)
    return this.driver.totals.value(parsed.name, parsed.labels)
  }

  /** Stops the pipeline and discards uncommitted work. */
  async close(): Promise<void> {
    await this.driver.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  private async take(kind: 'sink' | 'dlq', name: string): Promise<Written[]> {
    await this.driver.flush()
    this.check()
    let seen = this.seen.get(name)
    if (!seen) this.seen.set(name, (seen = new Map<string, number>()))
    const byLane = this.driver.sinks.read(name, seen)
    for (const [lane, records] of byLane) seen.set(lane, (seen.get(lane) ?? 0) + records.length)
    return inOrder({ kind, name }, byLane)
  }

  /** Throws the error of a stopped pipeline once; afterwards a test can check its outputs. */
  private check(): void {
    const { failure } = this.driver
    if (failure === undefined || failure === this.told) return
    this.told = failure
    throw failure
  }

  private record({ value, payload, key = null, headers, time, source, topic, partition, lane }: TestRecord): InputRecord {
    const names = this.pipeline.sources.map(s => s.name)
    if (source !== undefined && !names.includes(source)) throw new Error(unknown('source', source, names))
    const bytes = payload !== undefined ? payload : value === undefined ? null : JSON.stringify(value)
    return {
      at: { file: this.pipeline.file, line: 1, column: 1 },
      source,
      topic,
      partition,
      lane,
      payload: bufferOf(bytes),
      raw: payload === undefined ? undefined : {},
      text: payload === undefined && typeof value === 'string' ? Buffer.from(value) : undefined,
      key: bufferOf(key),
      headers: headers && Object.entries(headers).map(([n, v]) => [n, v === null ? null : Buffer.from(v)] as const),
      time: time === undefined ? undefined : epoch(time, 'time'),
      failure: undefined,
    }
  }
}

function stubsOf(pipeline: Pipeline, stubs: NonNullable<TestPipelineOptions['stubs']>): Map<string, { path: []; list: Stub[] }> {
  const askers = pipeline.transforms.filter(t => t.plugin.stubbed).map(t => t.name)
  for (const name of Object.keys(stubs)) if (!askers.includes(name)) throw new Error(unknown('step that queries a peer', name, askers))
  const without = askers.find(name => !Object.hasOwn(stubs, name))
  if (without !== undefined)
    throw new Error(`step '${without}' queries a peer, which is not available in a test: write its answers in stubs.${without}`)
  return new Map(
    Object.entries(stubs).map(([name, list]) => [
      name,
      { path: [], list: list.map(({ key, rows = [], error }) => ({ key, rows, error })) },
    ]),
  )
}

function outputOf(record: Written): OutputRecord {
  const { value: payload, key, headers, time, lane, topic } = record
  return {
    value: payload === null ? null : parsed(payload.toString()),
    payload,
    key: key === null ? null : key.toString(),
    headers: Object.fromEntries(headers),
    time,
    lane,
    topic,
  }
}

function parsed(text: string): unknown {
  try {
    return simple(parseJson(text))
  } catch {
    return text
  }
}

/** With plain numbers where nothing is lost: a test expects 1.1, whether the record has 1.1 or 1.10. */
function simple(value: unknown): unknown {
  if (value instanceof ExactNumber) return value.safe ?? value
  if (Array.isArray(value)) return value.map(simple)
  return isRecord(value) ? Object.fromEntries(Object.entries(value).map(([name, v]) => [name, simple(v)])) : value
}

function unknown(what: string, name: string, names: readonly string[]): string {
  const near = suggest(name, names)
  return `the pipeline has no ${what} '${name}'${near ? `; did you mean '${near}'?` : names.length > 0 ? `: it has ${names.join(', ')}` : ''}`
}

function epoch(given: number | Date | string, what: string): number {
  const ms = given instanceof Date ? given.getTime() : timeOf(given)
  if (!Number.isFinite(ms)) throw new RangeError(`${what} is ${String(given)}: write epoch ms, a Date, or ISO 8601`)
  return ms
}

const bufferOf = (text: Buffer | string | null): Buffer | null => (typeof text === 'string' ? Buffer.from(text) : text)
