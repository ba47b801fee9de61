/**
 * Counters kept as plain numbers, free when nobody looks. The status line reads them as they are; the Prometheus endpoint
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
  value: number
}

export interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  readonly samples: Map<string, Sample>
}

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

  counter(name: string, help: string, labels: Record<string, string> = {}): Counter {
    const sample = this.sample(name, help, 'counter', labels)
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

  /** What steps dropped or forgot because of a bound, by the word for it in the end line; without those that are none. */
  losses(): Record<string, number> {
    const total = (name: string, action?: string): number => {
      const samples = [...(this.families.get(name)?.samples.values() ?? [])]
      return samples.reduce((n, s) => n + (action === undefined || s.labels.action === action ? s.value : 0), 0)
    }
    const all = {
      late: total('runner_late_messages_total', 'dropped'),
      forgotten_keys: total('runner_dedupe_forgotten_total'),
    }
    return Object.fromEntries(Object.entries(all).filter(([, n]) => n > 0))
  }

  /** The lane belongs to somebody else now. */
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

  private sample(name: string, help: string, type: Family['type'], labels: Record<string, string>): Sample {
    let family = this.families.get(name)
    if (!family) this.families.set(name, (family = { name, help, type, samples: new Map() }))
    const id = JSON.stringify(labels)
    let sample = family.samples.get(id)
    if (!sample) family.samples.set(id, (sample = { labels, value: 0 }))
    return sample
  }
}
