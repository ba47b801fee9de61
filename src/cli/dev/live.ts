/** The pipeline that `runner dev` runs: as a reader of samples, or for real. */
import type { Pipeline } from '../../config/model.ts'
import type { Message } from '../../contract/plugin.ts'
import { launch, type PipelineHandle } from '../../engine/launch.ts'
import { createLogger } from '../../runtime/telemetry/log.ts'
import type { TestRecord } from '../../testing/pipeline.ts'
import { logLook } from '../output.ts'
import { tap } from './taps.ts'

/** The last records of the sources. */
export class Recent {
  readonly records: TestRecord[] = []
  /** All that have been read. */
  total = 0
  readonly max: number

  constructor(max: number) {
    this.max = max
  }

  note(messages: readonly Message[]): void {
    this.total += messages.length
    this.records.push(...messages.slice(-this.max).map(recordOf))
    this.records.splice(0, this.records.length - this.max)
  }
}

/** A row of a CSV file has no bytes of its own that a source could read. */
function recordOf(m: Message): TestRecord {
  const isJson = m.payload !== null && /^\s*[{["\d-]/.test(m.payload.toString('utf8', 0, 20))
  const headers = m.headers?.map(([name, value]) => [name, value === null ? null : value.toString()] as const)
  return {
    ...(isJson || typeof m.value === 'string' ? { payload: m.payload } : { value: m.value }),
    key: m.keyBytes,
    ...(headers && { headers: Object.fromEntries(headers) }),
    time: m.time,
    source: m.origin?.source,
  }
}

/** Records after which the samples are enough: reading goes on with `--sinks` only. */
const ENOUGH = 10_000
/** ms after the first record, with `--once`: a feed may never be idle. */
const LONGEST = 10_000

/** A topic may be long: its newest records are the samples. */
const newest = (source: Pipeline['sources'][number], last: number): Pipeline['sources'][number] =>
  source.type === 'kafka' && (source.config as { once?: boolean }).once !== true
    ? { ...source, config: { ...source.config, once: true, last } }
    : source

export interface Live {
  /** Undefined: it has not ended. */
  readonly ended: Promise<Error | undefined>
  stop(): Promise<void>
}

export interface LiveOptions {
  readonly sinks: boolean
  readonly recent: Recent
  readonly untilIdle?: number
  /** New records have arrived. */
  readonly onRecords: () => void
}

/** @throws {PipelineError} as `launch` does */
export async function runLive(pipeline: Pipeline, { sinks, recent, untilIdle, onRecords }: LiveOptions): Promise<Live> {
  let handle: PipelineHandle | undefined
  const start = recent.total
  const enough = (): void => void handle?.stop().catch(() => {})
  let timer: NodeJS.Timeout | undefined
  const watcher = tap('dev', pipeline.sources[0].at, messages => {
    recent.note(messages)
    if (!sinks && recent.total - start >= ENOUGH) enough()
    if (!sinks && untilIdle !== undefined) timer ??= setTimeout(enough, LONGEST).unref()
    onRecords()
  })
  // The others would only be copied: no step, no sink and no link to a peer is opened to read samples.
  const shown: Pipeline = sinks
    ? {
        ...pipeline,
        transforms: [watcher, ...pipeline.transforms],
        ...(pipeline.links && { links: pipeline.links.map(l => ({ ...l, index: l.index + 1 })) }),
      }
    : {
        ...pipeline,
        sources: pipeline.sources.map(source => newest(source, recent.max)),
        transforms: [watcher],
        links: undefined,
        endpoints: [],
        metrics: undefined,
        sinks: [{ ...pipeline.sinks[0], from: undefined, when: undefined }],
      }
  const log = await createLogger({ level: 'warn', pretty: process.stderr.isTTY === true, ...logLook() })
  const { handles } = await launch([shown], { log, untilIdle, ...(sinks ? {} : { range: {}, dryRun: () => {} }) })
  const [only] = handles
  handle = only
  const ended = only.completed.then(
    () => undefined,
    (error: Error) => error,
  )
  return {
    ended,
    async stop() {
      await only.stop().catch(() => {})
    },
  }
}
