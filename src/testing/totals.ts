/** Metrics of a pipeline over crashes and restarts: counters add up, gauges have the last value. */
import type { Meters, StepMeter } from '../runtime/telemetry/meters.ts'

export type StepCounts = Record<'in' | 'out' | 'dead', number>

export class Totals {
  private readonly runs: Meters[] = []

  /** Adds a run. Values are read on demand, so a running pipeline has its current values. */
  add(meters: Meters): void {
    this.runs.push(meters)
  }

  /** Steps in pipeline order. */
  steps(): Map<string, StepCounts> {
    const order: StepMeter['kind'][] = ['source', 'transform', 'sink', 'dlq']
    const out = new Map<string, StepCounts>()
    for (const kind of order) {
      for (const { steps } of this.runs) {
        for (const meter of steps) {
          if (meter.kind !== kind) continue
          const sum = out.get(meter.step) ?? { in: 0, out: 0, dead: 0 }
          out.set(meter.step, { in: sum.in + meter.in, out: sum.out + meter.out, dead: sum.dead + meter.dead })
        }
      }
    }
    return out
  }

  /** The value of a counter or gauge with exactly these labels; without labels, the sum. Undefined: none. */
  value(name: string, labels: Readonly<Record<string, string>> | undefined): number | undefined {
    let value: number | undefined
    for (const { families } of this.runs) {
      const family = families.get(name)
      if (!family) continue
      let here: number | undefined
      for (const sample of family.samples.values()) if (!labels || sameLabels(sample.labels, labels)) here = (here ?? 0) + sample.value
      if (here !== undefined) value = family.type === 'gauge' ? here : (value ?? 0) + here
    }
    return value
  }

  /** Names of all counters and gauges, for "did you mean". */
  names(): string[] {
    return [...new Set(this.runs.flatMap(m => [...m.families.keys()]))]
  }
}

function sameLabels(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every(k => a[k] === b[k])
}
