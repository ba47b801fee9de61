/**
 * The chain: one flat array of stages that processes a batch to the end. There are no queues, streams or promises between stages; the only
 * await is for a transform that returned a promise. The inlet, which decodes, is in the same file, although that makes it long: a record
 * passes through as few files as possible (ARCHITECTURE.md).
 */
import type { Expression } from '../expressions/types.ts'
import {
  type Arrival,
  DataError,
  DecodeError,
  DEFAULT_DEPTH,
  type Gap,
  jsonProblem,
  Message,
  type Origin,
  type Output,
  PipelineError,
  type Transform,
} from '../contract/plugin.ts'
import { BatchDecoder } from '../contract/batch-decoder.ts'
import { RecordShapes } from '../contract/record-shapes.ts'
import type { Location } from '../config/model.ts'
import { PluginError, toError } from '../kit/plugin-error.ts'
import type { Failure } from '../kit/dead-letter/dead-letters.ts'
import { repeatedName } from '../kit/text/json-names.ts'
import { show } from '../kit/values/fields.ts'
import { a, mendFrame } from './message-frame.ts'
import { peerProblem } from './readiness.ts'
import type { StepMeter } from './telemetry/meters.ts'

export interface Stage {
  readonly name: string
  readonly at: Location
  readonly transform: Transform
  readonly when?: Expression
  /** Messages for which it returns false skip the stage, without an evaluation of `when`: they enter the chain at a later stage. */
  readonly enters?: (message: Message) => boolean
  readonly meter: StepMeter
  /** The stage before the first step. Its input is not counted here: messages that a source reads are counted when they are committed. */
  readonly isInlet?: boolean
  /** The plugin is not built in: the values, ports and times of its output are checked. */
  readonly foreign?: boolean
  /** Declared ports of a foreign plugin. */
  readonly ports?: readonly string[]
  /** The stage keeps state, which a call that throws can leave partly changed. */
  readonly stateful?: boolean
  /** The stage is in this branch: only messages of the branch enter it. */
  readonly branch?: string
  /** The stage chooses the branches of messages, or ends them: it leaves the mark of its output as it is. */
  readonly forks?: boolean
  /** The end of a route, which the pipeline file has no step for. */
  readonly joins?: boolean
  /** No message of an earlier stage with windows reaches this one, because that one is in another branch, see `Chain.advance`. */
  readonly ownClock?: boolean
}

/** Results that make a step throw, see `poison.ts`. */
export interface Suspects {
  /** The failure of a result that is already known to make this stage throw. */
  known(stage: Stage, result: Message): Failure | undefined
  /** Adds a result that makes this stage throw. The lane then restores its checkpoint. */
  found(stage: Stage, result: Message, failure: Failure): void
}

/** Receives what leaves the chain. */
export interface Exit {
  emit(messages: Message[]): void
  emitTo(stage: string, port: string, message: Message): void
  fail(message: Message, failure: Failure): void
  /** @returns a function that removes everything that left since this call. */
  mark(): () => void
  /** A plugin lost a message by a mistake that no call of it reports. */
  mistake(error: PluginError): void
  /** The peer of a stage is unreachable. Resolves when the call can be repeated. @throws when it must not be repeated. */
  hold(stage: Stage, error: Error, attempt: number): Promise<void>
}

class StageOutput implements Output {
  messages: Message[] = []
  /** A call of the transform is running, so emitted messages have a destination. */
  open = false
  /** Messages of other branches, which are not counted at the stage. */
  skipped = 0
  /** The call has failed, and its output is discarded. */
  private discarded = false
  private readonly stage: Stage
  private readonly exit: Exit

  constructor(stage: Stage, exit: Exit) {
    this.stage = stage
    this.exit = exit
  }

  emit(message: Message): void {
    if (!this.stage.foreign || this.isWritable(message, 'emit')) this.messages.push(message)
  }

  /** Emits a message that skips the stage. */
  pass(message: Message): void {
    const { branch } = this.stage
    if (branch === undefined) return this.emit(message)
    this.messages.push(message)
    if (message.branch !== branch) this.skipped++
  }

  /** For a stage that passes whole batches: the list becomes the output without a copy. */
  emitAll(messages: Message[]): void {
    this.messages = messages
  }

  emitTo(port: string, message: Message): void {
    const { foreign, ports = [], name } = this.stage
    if (foreign && !ports.includes(port)) {
      const declared = ports.length > 0 ? `it declares ${ports.join(', ')}` : 'it does not declare any'
      throw new Error(`emitTo: '${port}' is not a port of the plugin: ${declared}; add it to the result of \`ports\``)
    }
    if (!foreign || this.isWritable(message, 'emitTo')) this.exit.emitTo(name, port, message)
  }

  fail(message: Message, error: Error): void {
    if (this.stage.foreign) {
      if (!this.open) throw this.late('fail')
      mendFrame(message)
    }
    this.exit.fail(message, { step: this.stage.name, at: this.stage.at, error: error instanceof Error ? error : toError(error) })
  }

  /**
   * Checks a message that a plugin emits. A message that no sink and no state can store fails at once.
   * @throws {Error} for a mistake that is not in the message but in the plugin
   */
  private isWritable(message: Message, method: string): boolean {
    if (!this.open) throw this.late(method)
    if (typeof (message as Partial<Message> | undefined)?.derive !== 'function')
      throw new TypeError(`${method} needs a Message: message.derive(value) or new Message(value); got ${a(message)}`)
    const frame = mendFrame(message)
    const json = frame === undefined && message.changed ? jsonProblem(message.value) : undefined
    if (json !== undefined) this.fail(message, new DataError(`the step emitted a value that is not JSON: ${json}`))
    else if (frame !== undefined) this.fail(message, new DataError(`the step emitted a message that cannot be written: ${frame}`))
    return (json ?? frame) === undefined
  }

  /**
   * The plugin may swallow the error, and the message would be lost, so the run ends. Exception: a discarded call, whose batch runs again.
   */
  private late(method: string): PluginError {
    const { name, at } = this.stage
    const error = new PluginError({ step: name, at, method }, new Error(`${method} was called after the call of the plugin had ended`))
    if (!this.discarded) this.exit.mistake(error)
    return error
  }

  /** Ends the call. */
  take(): Message[] {
    this.open = false
    const taken = this.messages
    this.messages = []
    return taken
  }

  discard(): void {
    this.discarded = true
    this.take()
  }
}

/** The output of a stage in a branch: it belongs to the branch, whatever the messages were made from. */
class BranchOutput extends StageOutput {
  private readonly branch: string | undefined

  constructor(stage: Stage, exit: Exit) {
    super(stage, exit)
    this.branch = stage.branch
  }

  override emit(message: Message): void {
    const { length } = this.messages
    super.emit(message)
    if (this.messages.length > length) message.branch = this.branch
  }
}

const outputOf = (stage: Stage, exit: Exit): StageOutput =>
  stage.branch !== undefined && !stage.forks ? new BranchOutput(stage, exit) : new StageOutput(stage, exit)

export class Chain {
  private readonly stages: readonly Stage[]
  private readonly outputs: StageOutput[]
  private readonly exit: Exit
  /** The stage that is running, or that threw. */
  active: Stage | undefined
  /** If set, messages run one by one through every stage. A message made from many records that makes a stage throw then fails alone. */
  suspects: Suspects | undefined
  /** The messages come from a call without input: a window that closed after silence or at the end. */
  behindHook = false
  /** A step of the chain closes windows or other state when a lane is silent. */
  readonly wantsIdle: boolean
  private readonly arrival: Arrival | undefined
  /** Indexes of the stages that receive the event time of merged lanes. */
  private readonly clocked: readonly number[]

  constructor(stages: readonly Stage[], exit: Exit) {
    this.stages = stages
    this.exit = exit
    this.outputs = stages.map(stage => outputOf(stage, exit))
    this.wantsIdle = stages.some(s => s.transform.onIdle)
    this.arrival = stages.map(s => s.transform as Partial<Arrival>).find((t): t is Arrival => t.clock !== undefined && t.idle !== undefined)
    const closing = stages.flatMap((s, i) => (s.transform.onClock ? [i] : []))
    this.clocked = closing.filter((i, n) => n === 0 || stages[i].ownClock)
  }

  /** Undefined if all stages were synchronous. Throws (or rejects with) the error of a transform. */
  run(messages: Message[], from = 0): void | Promise<void> {
    if (this.suspects) return this.runEach(messages, from, this.suspects)
    let current = messages
    for (let i = from; i < this.stages.length && current.length > 0; i++) {
      const stage = (this.active = this.stages[i])
      const out = this.outputs[i]
      const started = performance.now()
      out.open = true
      const wait = stage.when || stage.enters ? this.runWhere(stage, current, out) : this.process(stage, current, out)
      if (wait) return this.resume(wait, i, current.length, started)
      current = this.account(i, current.length, started)
    }
    if (current.length > 0) this.exit.emit(current)
  }

  private async runEach(messages: Message[], from: number, suspects: Suspects): Promise<void> {
    let current = messages
    for (let i = from; i < this.stages.length && current.length > 0; i++) {
      const stage = (this.active = this.stages[i])
      const out = this.outputs[i]
      const started = performance.now()
      out.open = true
      // The inlet passes whole lists.
      for (const part of stage.isInlet ? [current] : current.map(m => [m])) await this.runSuspect(stage, part, out, suspects)
      current = this.account(i, current.length, started)
    }
    if (current.length > 0) this.exit.emit(current)
  }

  private async runSuspect(stage: Stage, messages: Message[], out: StageOutput, suspects: Suspects): Promise<void> {
    const [message] = messages
    const isResult = message.result !== undefined && !stage.isInlet
    const known = isResult ? suspects.known(stage, message) : undefined
    if (known) return this.exit.fail(message, known)
    const emitted = out.messages.length
    const undo = this.exit.mark()
    try {
      await (stage.when || stage.enters ? this.runWhere(stage, messages, out) : this.process(stage, messages, out))
    } catch (error) {
      if (!isResult || !(error instanceof PluginError && error.call.method === 'process')) throw error
      const failure = { step: stage.name, at: stage.at, error }
      if (stage.stateful) {
        suspects.found(stage, message, failure)
        throw error
      }
      undo()
      out.messages.length = emitted
      this.exit.fail(message, failure)
    }
  }

  /**
   * Called after a batch. If lanes were merged, event time may have advanced further than the remaining messages show. The first stage with
   * windows closes those that end by then; later stages follow the messages that it emits. Branches have such a first stage each.
   */
  advance(): void | Promise<void> {
    const time = this.arrival?.clock()
    if (time !== undefined && time !== Number.NEGATIVE_INFINITY) return this.closeBy(time, 0)
  }

  /** @param from index in `clocked` */
  private closeBy(time: number, from: number): void | Promise<void> {
    for (let n = from; n < this.clocked.length; n++) {
      const i = this.clocked[n]
      const stage = (this.active = this.stages[i])
      this.outputs[i].open = true
      this.behindHook = false
      stage.transform.onClock!(time, this.outputs[i])
      const produced = this.take(i)
      stage.meter.out += produced.length
      this.behindHook = true
      const wait = produced.length > 0 ? this.run(produced, i + 1) : undefined
      if (wait) return wait.then(() => this.closeBy(time, n + 1))
    }
  }

  /** Lanes were merged, and one of them is not at its end, so silence does not mean idleness. */
  get expectsMore(): boolean {
    return this.arrival?.idle() === false
  }

  /** After an error: discards the output of all stages. */
  discard(): void {
    for (const [i, out] of this.outputs.entries()) {
      out.discard()
      this.outputs[i] = outputOf(this.stages[i], this.exit)
    }
  }

  /** The output of the call of a stage. A foreign plugin gets a new output object, so that a kept one cannot reach the next call. */
  private take(i: number): Message[] {
    const produced = this.outputs[i].take()
    if (this.stages[i].foreign) this.outputs[i] = outputOf(this.stages[i], this.exit)
    return produced
  }

  onIdle(silence: number): void | Promise<void> {
    return this.each((t, out) => t.onIdle?.(silence, out))
  }

  onGap(gap: Gap): void | Promise<void> {
    return this.each(t => t.onGap?.(gap))
  }

  onEnd(until: number): void | Promise<void> {
    return this.each((t, out) => t.onEnd?.(out, until))
  }

  /** Undefined if there is nothing to open. */
  open(): Promise<unknown> | undefined {
    const opening = this.stages.flatMap(({ transform }) => transform.open?.() ?? [])
    return opening.length > 0 ? Promise.all(opening) : undefined
  }

  /** Why transforms are not ready, by step. */
  *problems(): Generator<readonly [step: string, reason: string]> {
    for (const { name, transform } of this.stages) {
      const reason = peerProblem(transform)
      if (reason !== undefined) yield [name, reason]
    }
  }

  async close(): Promise<void> {
    for (const { transform } of this.stages) await transform.close?.()
  }

  /** Calls the stage. A retryable error does not concern the messages, so the call is repeated until the peer of the stage is reachable. */
  private process(stage: Stage, messages: Message[], out: StageOutput): void | Promise<void> {
    const emitted = out.messages.length
    const undo = this.exit.mark()
    const again = async (error: unknown): Promise<void> => {
      for (let cause = error, attempt = 0; ; attempt++) {
        if (!(cause instanceof PipelineError && cause.retryable)) throw cause
        undo()
        out.messages.length = emitted
        await this.exit.hold(stage, cause, attempt)
        try {
          return await stage.transform.process(messages, out)
        } catch (next) {
          cause = next
        }
      }
    }
    try {
      const wait = stage.transform.process(messages, out)
      if (wait) return wait.catch(again)
    } catch (error) {
      if (!(error instanceof PipelineError && error.retryable)) throw error
      return again(error)
    }
  }

  private async resume(wait: Promise<void>, i: number, count: number, started: number): Promise<void> {
    await wait
    await this.run(this.account(i, count, started), i + 1)
  }

  private account(i: number, count: number, started: number): Message[] {
    const out = this.outputs[i]
    const { skipped } = out
    out.skipped = 0
    const produced = this.take(i)
    const { meter, isInlet } = this.stages[i]
    if (!isInlet) meter.in += count - skipped
    meter.out += produced.length - skipped
    meter.seconds += (performance.now() - started) / 1000
    return produced
  }

  /** Continues `runWhere` after a run of messages that had to wait, in order. */
  private async runWhereAsync(runs: [boolean, Message[]][], stage: Stage, out: StageOutput): Promise<void> {
    for (const [inside, run] of runs) {
      if (inside) await this.process(stage, run, out)
      else for (const m of run) out.pass(m)
    }
  }

  /** Messages for which `when` is not true skip the stage; order is kept. */
  private runWhere(stage: Stage, messages: Message[], out: StageOutput): void | Promise<void> {
    const runs = splitRuns(stage, messages, (m, error) => out.fail(m, error))
    for (let i = 0; i < runs.length; i++) {
      const [inside, run] = runs[i]
      if (!inside) {
        for (const m of run) out.pass(m)
        continue
      }
      const wait = this.process(stage, run, out)
      if (wait) return wait.then(() => this.runWhereAsync(runs.slice(i + 1), stage, out))
    }
  }

  /** Calls a lifecycle hook stage by stage. The output of a stage runs through the later stages before their own hooks. */
  private async each(hook: (t: Transform, out: Output) => void): Promise<void> {
    for (let i = 0; i < this.stages.length; i++) {
      this.active = this.stages[i]
      this.outputs[i].open = true
      this.behindHook = false
      hook(this.stages[i].transform, this.outputs[i])
      const produced = this.take(i)
      this.stages[i].meter.out += produced.length
      this.behindHook = true
      if (produced.length > 0) await this.run(produced, i + 1)
    }
  }
}

function splitRuns({ when, enters }: Stage, messages: Message[], fail: (m: Message, e: Error) => void): [boolean, Message[]][] {
  const runs: [boolean, Message[]][] = []
  for (const m of messages) {
    const inside = enters?.(m) === false ? false : when ? test(when, m, fail) : true
    if (inside === undefined) continue
    const last = runs.at(-1)
    if (last && last[0] === inside) last[1].push(m)
    else runs.push([inside, [m]])
  }
  return runs
}

/** The result of the condition; undefined if it is not a boolean or its evaluation fails, which fails the message. */
export function test(when: Expression, message: Message, fail: (m: Message, e: Error) => void): boolean | undefined {
  try {
    const result = when.evaluate(message)
    if (typeof result === 'boolean') return result
    throw new DataError(`when: '${when.text}' gave ${JSON.stringify(result)}, not true or false`)
  } catch (error) {
    fail(message, error as Error)
    return undefined
  }
}

/**
 * The inlet of a chain whose steps read values: records that cannot be decoded go to the dead-letter queue, with the source as the failed
 * step.
 */
export const decodeTransform = (depth: number, strict = false): Transform => decodeWhere(() => true, depth, strict)

/** The inlet of a chain whose steps do not read values: bytes and text pass unchanged, JSON is checked, and a tombstone passes. */
export const checkTransform = (depth: number, strict = false): Transform =>
  decodeWhere(m => m.origin?.format === 'json' && m.payload !== null, depth, strict)

/** @throws {DecodeError} for JSON with a duplicate key, of which parsing dropped a value */
function rejectRepeatedNames({ payload, origin, changed }: Message): void {
  if (origin?.format !== 'json' || payload === null || changed) return
  const repeated = repeatedName(payload.toString())
  if (repeated)
    throw new DecodeError(
      `an object has the key ${show(repeated.name)} twice (character ${repeated.offset + 1}); limits.strict rejects such records`,
    )
}

/** A step can make a message from the bytes of its record, such as `revive`. The origin carries the limit for such messages. */
function limitDepth(m: Message, depth: number): void {
  const { origin } = m
  if (origin === undefined || (origin.depth ?? DEFAULT_DEPTH) === depth) return
  if (Object.isExtensible(origin)) (origin as Mutable<Origin>).depth = depth
  else (m as Mutable<Message>).origin = { ...origin, depth }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

function decodeWhere(isRead: (m: Message) => boolean, depth: number, strict: boolean): Transform {
  const shapes = new RecordShapes(depth)
  return {
    process(messages, out) {
      if (depth !== DEFAULT_DEPTH) for (const m of messages) limitDepth(m, depth)
      const decoder = new BatchDecoder(messages, depth, shapes)
      let passed: Message[] | undefined
      for (let i = 0; i < messages.length; i++) {
        const m = messages[i]
        try {
          if (m.failure) throw m.failure
          if (isRead(m)) {
            decoder.decode(i)
            if (strict) rejectRepeatedNames(m)
          }
          passed?.push(m)
        } catch (error) {
          // Normally all messages pass, and the list is passed on without a copy.
          passed ??= messages.slice(0, i)
          out.fail(m, error as Error)
        }
      }
      if (out instanceof StageOutput) out.emitAll(passed ?? messages)
      else for (const m of passed ?? messages) out.emit(m)
    },
  }
}
