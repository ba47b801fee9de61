/** Finds the step where a dead letter continues with the current config, or the reason why it cannot be replayed. */
import type { Format, Message, Origin, SinkPlugin, SourcePlugin } from '../contract/plugin.ts'
import { Message as Msg, parseJson } from '../contract/plugin.ts'
import type { ReplayOrigin } from '../kit/dead-letter/dead-letters.ts'
import type { Pipeline, SinkStep, Step } from '../config/model.ts'
import { linkSteps } from '../config/parts.ts'
import { reaches } from '../config/route.ts'
import { type FailureInfo, type DeadLetter, originalHeaders, revivedHeaders } from '../kit/dead-letter/read.ts'

export type Way = 'step' | 'source'

/** `stage`: index of the transform where it continues, -1: the first; `sink`: only this sink receives it. */
export interface ReplayEntry {
  readonly stage: number
  readonly sink?: string
}

export interface DeadLetterOrigin extends ReplayOrigin {
  readonly entry: ReplayEntry
  /** Start of the offsets without records directly before the dead letter. */
  readonly gap: number
}

export const originOf = (m: Message): DeadLetterOrigin | undefined => m.origin as DeadLetterOrigin | undefined

/** After all transforms. */
const SINKS = Number.MAX_SAFE_INTEGER

export class ReplayEntries {
  private readonly pipeline: Pipeline
  private readonly way: Way
  private readonly freshState: boolean

  constructor(pipeline: Pipeline, way: Way, freshState: boolean) {
    this.pipeline = pipeline
    this.way = way
    this.freshState = freshState
  }

  /** @returns the entry, or the reason why the dead letter cannot be replayed this way. */
  find(letter: DeadLetter): ReplayEntry | string {
    const { failure } = letter
    if (!failure) return 'not a dead letter of a runner: it has none of their headers'
    if (failure.unreadable.length > 0) return `its header ${failure.unreadable.join(', ')} cannot be read`
    return this.way === 'source' ? this.toSource(failure) : this.toStep(failure)
  }

  message(letter: DeadLetter, entry: ReplayEntry, gap: number, taken: (message: Message) => void): Message {
    const d = letter.failure!
    const source = this.sourceOf(d)
    const sourceType = d.sourceType ?? source?.type
    const origin: DeadLetterOrigin = {
      lane: d.topic,
      source: source?.name ?? '',
      topic: d.topic,
      partition: d.partition,
      ...lineOf(sourceType, d),
      // With --to source, the source decodes the bytes later.
      format: this.way === 'source' ? 'bytes' : d.offset < 0 ? 'json' : formatOf(source),
      at: letter.offset,
      replay: { attempts: d.attempts, firstFailedAt: d.firstFailedAt ?? d.failedAt, sourceType, taken },
      entry,
      gap,
    }
    const headers = this.way === 'source' ? revivedHeaders(letter) : originalHeaders(letter.headers)
    const m = Msg.fromRecord(letter.payload, letter.key, letter.time, headers.length > 0 ? headers : undefined, d.offset, origin)
    if (this.way === 'source') return m
    if (d.stepInput !== undefined) m.value = parseJson(d.stepInput)
    if (d.stepKey !== undefined) m.key = d.stepKey
    const branch = this.pipeline.transforms.find(t => t.name === d.step)?.branch
    if (branch !== undefined) m.branch = branch
    return m
  }

  private toSource(d: FailureInfo): ReplayEntry | string {
    if (d.offset < 0) return `made by step '${d.step}', not read from a source: use --to step`
    if (d.cutFrom !== undefined) return 'the dlq has only the beginning of the record'
    const source = this.sourceOf(d)
    if (!source) {
      if (d.sourceType !== undefined) return `it came from a ${d.sourceType} source, which the file no longer has: use --to step`
      return `cannot determine its source from the file`
    }
    return source.plugin.writeBack
      ? { stage: SINKS, sink: backName(source) }
      : `its source is ${source.type}, which cannot be written to: use --to step`
  }

  private toStep(d: FailureInfo): ReplayEntry | string {
    const { transforms, sinks, sources } = this.pipeline
    if (d.stepInput === undefined) {
      if (d.stepInputMissing !== undefined) return `the input of step '${d.step}' is not kept (${d.stepInputMissing}): use --to source`
      if (d.cutFrom !== undefined) return 'the dlq has only the beginning of the record'
    }
    const ahead = this.linkAhead(d)
    if (ahead !== undefined) return ahead
    const stage = transforms.findIndex(t => t.name === d.step)
    if (stage < 0 && sinks.some(s => s.name === d.step)) return { stage: SINKS, sink: d.step }
    if (stage < 0 && d.step !== d.sourceStep && !sources.some(s => s.name === d.step))
      return `the file has no step '${d.step}' any more: use --to source`
    const keeper = transforms
      .slice(Math.max(0, stage))
      .find(t => t.plugin.stateful && reaches(transforms, transforms[stage]?.branch, t.branch))
    if (keeper && !this.freshState)
      return `step '${keeper.name}' keeps state, which only the running pipeline has: use --to source, or --fresh-state`
    // A replay runs without the `repartition` steps, which are in front of this one.
    return { stage: stage - linkSteps(this.pipeline).length }
  }

  /** A `repartition` hands over to lanes of the running pipeline, whose event time is further on. Behind it, a replay can continue. */
  private linkAhead(d: FailureInfo): string | undefined {
    const { transforms, sinks } = this.pipeline
    const link = linkSteps(this.pipeline).at(-1)
    if (link === undefined || sinks.some(s => s.name === d.step)) return undefined
    if (transforms.findIndex(t => t.name === d.step) > transforms.indexOf(link)) return undefined
    const way = this.sourceOf(d)?.plugin.writeBack
      ? 'use --to source'
      : 'its source cannot be written to either; send the record to the source again, then use dlq discard'
    return `step '${link.name}' passes records on to lanes of the running pipeline only: ${way}`
  }

  private sourceOf(d: FailureInfo): Step<SourcePlugin> | undefined {
    // A stream and a topic may have the same name: another type means another system.
    const sources = this.pipeline.sources.filter(s => d.sourceType === undefined || s.type === d.sourceType)
    const reads = (s: Step<SourcePlugin>): boolean => (s.config as { topics?: unknown[] } | undefined)?.topics?.includes(d.topic) === true
    return sources.find(s => s.name === d.sourceStep) ?? sources.find(reads) ?? (sources.length === 1 ? sources[0] : undefined)
  }
}

/** `meta.file` and `meta.line` of a record that was a line. */
function lineOf(sourceType: string | undefined, { topic, offset }: FailureInfo): Pick<Origin, 'file' | 'lines'> {
  if (offset < 0) return {}
  if (sourceType === 'file') return { file: topic, lines: true }
  return sourceType === 'stdin' ? { lines: true } : {}
}

const backName = (source: Step<SourcePlugin>): string => `back_to_${source.name}`

/** Sinks that write records back to the sources of the pipeline. */
export function backSinks(sources: readonly Step<SourcePlugin>[]): SinkStep[] {
  return sources.flatMap(source => {
    const back = source.plugin.writeBack?.(source.config)
    if (!back) return []
    const plugin: SinkPlugin = back.plugin
    return [{ ...source, type: plugin.type, name: backName(source), plugin, config: back.config }]
  })
}

function formatOf(source: Step<SourcePlugin> | undefined): Format {
  const format = (source?.config as { format?: unknown } | undefined)?.format
  return format === 'text' || format === 'bytes' ? format : 'json'
}
