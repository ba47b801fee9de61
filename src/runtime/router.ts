/** Distributes the messages that leave the chain to the sinks. */
import type { Expression } from '../expressions/types.ts'
import type { Message } from '../contract/plugin.ts'
import { test } from './chain.ts'
import type { Location, SinkStep } from '../config/model.ts'
import type { CommitBatch } from './commit-batch.ts'
import type { Failure } from '../kit/dead-letter/dead-letters.ts'

export interface Target {
  readonly index: number
  readonly step: string
  readonly at: Location
  readonly when?: Expression
}
type Fail = (message: Message, failure: Failure) => void

export class Router {
  /** Sinks that read the end of the chain, and sinks that read a `step.port`. */
  private readonly end: Target[] = []
  private readonly ports = new Map<string, Target[]>()
  /** The name of the sink, for a message that is for one sink only. */
  private readonly sinkOf: ((message: Message) => string | undefined) | undefined

  constructor(sinks: readonly { step: SinkStep; when?: Expression; index?: number }[], sinkOf?: (message: Message) => string | undefined) {
    this.sinkOf = sinkOf
    sinks.forEach(({ step, when, index: given }, i) => {
      const index = given ?? i
      const target: Target = { index, step: step.name, at: step.at, when }
      if (!step.from?.port) this.end.push(target)
      else {
        const id = `${step.from.step}.${step.from.port}`
        this.ports.set(id, [...(this.ports.get(id) ?? []), target])
      }
    })
  }

  route(messages: readonly Message[], batch: CommitBatch, fail: Fail): void {
    for (const target of this.end) {
      for (const m of messages) if (this.sinkOf?.(m) === undefined) deliver(target, m, batch, fail)
    }
    if (this.sinkOf) this.routeSome(messages, batch, fail, this.sinkOf)
  }

  private routeSome(messages: readonly Message[], batch: CommitBatch, fail: Fail, sinkOf: (message: Message) => string | undefined): void {
    const all = [...this.end, ...[...this.ports.values()].flat()]
    for (const m of messages) {
      const name = sinkOf(m)
      const target = name === undefined ? undefined : all.find(t => t.step === name)
      if (target) deliver(target, m, batch, fail)
    }
  }

  routePort(step: string, port: string, message: Message, batch: CommitBatch, fail: Fail): void {
    for (const target of this.ports.get(`${step}.${port}`) ?? []) deliver(target, message, batch, fail)
  }
}

function deliver(target: Target, message: Message, batch: CommitBatch, fail: Fail): void {
  if (target.when) {
    const pass = test(target.when, message, (m, error) => fail(m, { step: target.step, at: target.at, error }))
    if (!pass) return
  }
  batch.outputs[target.index].push(message)
}
