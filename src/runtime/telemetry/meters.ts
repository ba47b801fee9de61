/**
 * Counters as plain numbers. The status line reads them directly; the Prometheus endpoint converts them to prom-client metrics at each
 * scrape.
 */
import type { Counter, Metrics } from '../../contract/plugin.ts'

export interface StepMeter {
  readonly step: string
  /** `link`: the link of a step such as `repartition`, which is neither a source nor a sink of the pipeline file. */
  readonly kind: 'source' | 'transform' | 'sink' | 'dlq' | 'link'
  /** For a source: messages read and committed. For other steps: messages received, including repeats after a restore. */
  in: number
  /**
   * For a sink: messages written, and committed if the write is in a transaction. For other steps: messages emitted, including repeats
   * after a restore.
   */
  out: number
  /** Messages that failed at the step, counted when they are committed. */
  dead: number
  seconds: number
  retries: number
}

export interface Sample {
  readonly labels: Record<string, string>
  /** For a counter of losses: the name of the count in the final log line. */
  readonly loss?: string
  value: number
}

export interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  readonly samples: Map<string, Sample>
}

/** Reserved keys of the final log line and of every log line. */
const WORDS = new Set(['pipeline', 'in', 'out', 'dead', 'error', 'level', 'time', 'msg'])

/** Meters of one pipeline. */
export class Meters implements Metrics {
  readonly pipeline: string
  readonly steps: StepMeter[] = []
  readonly families = new Map<string, Family>()
  /** Lag per lane, as last reported by the source. */
  readonly lag = new Map<string, number>()
  /** Event-time watermark per step and lane, epoch ms. */
  readonly watermarks = new Map<string, { step: string; lane: string; time: number }>()

  constructor(pipeline: string) {
    this.pipeline = pipeline
  }

  step(step: string, kind: StepMeter['kind']): StepMeter {
    let meter = this.steps.find(m => m.step === step && m.kind === kind)
    if (!meter) this.steps.push((meter = { step, kind, in: 0, out: 0, dead: 0, seconds: 0, retries: 0 }))
    return meter
  }

  counter(name: string, help: string, labels: Record<string, string> = {}, loss?: string): Counter {
    if (loss !== undefined && WORDS.has(loss))
      throw new Error(`the word '${loss}' is reserved in the final log line: use another name for the loss`)
    const sample = this.sample(name, help, 'counter', labels, loss)
    return {
      inc(n = 1) {
        sample.value += n
      },
    }
  }

  gauge(name: string, help: string, labels: Record<string, string> = {}): { set(n: number): void } {
    const sample = this.sample(name, help, 'gauge', labels)
    return {
      set(n) {
        sample.value = n
      },
    }
  }

  /** A message that failed at the step was dead-lettered. */
  failed(step: string): void {
    const meter = this.steps.find(m => m.step === step)
    if (meter) meter.dead++
  }

  sum(kind: StepMeter['kind'], field: 'in' | 'out' | 'dead'): number {
    return this.steps.reduce((n, m) => (m.kind === kind ? n + m[field] : n), 0)
  }

  /** Records and keys that steps dropped because of a limit, summed by the `loss` name of the counters. Zero counts are omitted. */
  losses(): Record<string, number> {
    const sums: Record<string, number> = {}
    for (const { samples } of this.families.values()) {
      for (const { loss, value } of samples.values()) if (loss !== undefined && value > 0) sums[loss] = (sums[loss] ?? 0) + value
    }
    return sums
  }

  /** Called when the lane no longer belongs to this instance. */
  forgetLane(lane: string): void {
    this.lag.delete(lane)
    for (const [id, w] of this.watermarks) if (w.lane === lane) this.watermarks.delete(id)
  }

  totalLag(): number {
    let n = 0
    for (const lag of this.lag.values()) n += lag
    return n
  }

  /** The lowest watermark; undefined when no step has one. */
  lowestWatermark(): number | undefined {
    let low: number | undefined
    for (const { time } of this.watermarks.values()) if (low === undefined || time < low) low = time
    return low
  }

  private sample(name: string, help: string, type: Family['type'], labels: Record<string, string>, loss?: string): Sample {
    let family = this.families.get(name)
    if (!family) this.families.set(name, (family = { name, help, type, samples: new Map() }))
    const id = JSON.stringify(labels)
    let sample = family.samples.get(id)
    if (!sample) family.samples.set(id, (sample = { labels, loss, value: 0 }))
    return sample
  }
}
