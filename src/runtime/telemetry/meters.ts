/**
 * Counters kept as plain numbers, free until they are read. The status line reads them as they are; the Prometheus endpoint
 * turns them into prom-client metrics when it is scraped.
 */
import type { Counter, Metrics } from '../../contract/plugin.ts'

export interface StepMeter {
  readonly step: string
  /** `link`: what a step that hands over writes and reads back; no source and no sink of the pipeline. */
  readonly kind: 'source' | 'transform' | 'sink' | 'dlq' | 'link'
  /** Of a source: read and committed. Of any other step: what it was given, again after a restore. */
  in: number
  /** Of a sink: written, and not taken back by its transaction. Of any other step: what it emitted, again after a restore. */
  out: number
  /** What failed at the step, once it is committed. */
  dead: number
  seconds: number
  retries: number
}

export interface Sample {
  readonly labels: Record<string, string>
  /** The word for it in the end line, of what counts a loss. */
  readonly loss?: string
  value: number
}

export interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  readonly samples: Map<string, Sample>
}

/** Keys of the end line and of every log line. */
const WORDS = new Set(['pipeline', 'in', 'out', 'dead', 'error', 'level', 'time', 'msg'])

/** Meters of one pipeline. */
export class Meters implements Metrics {
  readonly pipeline: string
  readonly steps: StepMeter[] = []
  readonly families = new Map<string, Family>()
  /** Lag per lane, as last reported by its source. */
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

  /** What steps dropped or forgot because of a bound, by the word that their counters declare; without those that are 0. */
  losses(): Record<string, number> {
    const sums: Record<string, number> = {}
    for (const { samples } of this.families.values()) {
      for (const { loss, value } of samples.values()) if (loss !== undefined && value > 0) sums[loss] = (sums[loss] ?? 0) + value
    }
    return sums
  }

  /** Another instance owns the lane now. */
  forgetLane(lane: string): void {
    this.lag.delete(lane)
    for (const [id, w] of this.watermarks) if (w.lane === lane) this.watermarks.delete(id)
  }

  totalLag(): number {
    let n = 0
    for (const lag of this.lag.values()) n += lag
    return n
  }

  /** The watermark furthest behind; undefined when no step keeps one. */
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
