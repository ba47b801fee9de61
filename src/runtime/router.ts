/** Which sink gets what leaves the chain. */
import type { Expression } from '../expressions/types.ts'
import type { Message } from '../plugin.ts'
import { test } from './chain.ts'
import type { Location, SinkStep } from './config/model.ts'
import type { Cycle } from './cycle.ts'
import type { Failure } from './dead-letters.ts'
import type { StepMeter } from './telemetry/meters.ts'

export interface Target {
  readonly index: number
  readonly step: string
  readonly at: Location
  readonly when?: Expression
  readonly meter: StepMeter
}
type Fail = (message: Message, failure: Failure) => void

export class Router {
  /** Sinks at the end of the chain, and sinks by `step.port`. */
  private readonly end: Target[] = []
  private readonly ports = new Map<string, Target[]>()

  constructor(sinks: readonly { step: SinkStep; when?: Expression; meter: StepMeter }[]) {
    sinks.forEach(({ step, when, meter }, index) => {
      const target: Target = { index, step: step.name, at: step.at, when, meter }
      if (!step.from?.port) this.end.push(target)
      else {
        const id = `${step.from.step}.${step.from.port}`
        this.ports.set(id, [...(this.ports.get(id) ?? []), target])
      }
    })
  }

  route(messages: readonly Message[], cycle: Cycle, fail: Fail): void {
    for (const target of this.end) for (const m of messages) deliver(target, m, cycle, fail)
  }

  routePort(step: string, port: string, message: Message, cycle: Cycle, fail: Fail): void {
    for (const target of this.ports.get(`${step}.${port}`) ?? []) deliver(target, message, cycle, fail)
  }
}

function deliver(target: Target, message: Message, cycle: Cycle, fail: Fail): void {
  if (target.when) {
    const pass = test(target.when, message, (m, error) => {
      target.meter.dead++
      fail(m, { step: target.step, at: target.at, error })
    })
    if (!pass) return
  }
  cycle.outputs[target.index].push(message)
}
