/** A sink with its retry policy and circuit breaker: one per sink step, shared by all lanes. */
import type { Clock } from '../kit/clock.ts'
import { backoff, pause } from '../kit/pause.ts'
import { PluginError } from '../kit/plugin-error.ts'
import type { Logger, Message, Sink, SinkPlugin, WriteContext } from '../contract/plugin.ts'
import { BatchError, DataError, PipelineError } from '../contract/plugin.ts'
import type { RetryConfig, SinkStep, Step } from '../config/model.ts'
import { scopeOf } from '../config/traits.ts'
import { type Finding, Pending, Trouble } from './readiness.ts'
import type { StepMeter } from './telemetry/meters.ts'

export interface Rejected {
  readonly message: Message
  readonly error: Error
}

/** The parts of the run that a writer uses. */
export interface WriterHost {
  readonly retry: RetryConfig
  readonly clock: Clock
  readonly log: Logger
  readonly random?: () => number
}

export class Writer {
  readonly step: SinkStep | Step<SinkPlugin>
  readonly sink: Sink
  readonly meter: StepMeter
  /** The circuit is open: the sink keeps failing, the sources are paused, and one write at a time probes the sink. */
  broken = false
  /** Last error of a write into a transaction. */
  threw: Error | undefined
  private readonly host: WriterHost
  private readonly trouble: Trouble
  private readonly pending: Pending
  /** The running probe of an open circuit; resolves when it has succeeded or failed. */
  private probing: Promise<void> | undefined

  constructor(step: SinkStep | Step<SinkPlugin>, sink: Sink, meter: StepMeter, host: WriterHost) {
    this.step = step
    this.sink = sink
    this.meter = meter
    this.host = host
    this.trouble = new Trouble(host.clock)
    this.pending = new Pending(host.clock)
  }

  /**
   * Writes until it succeeds or the signal aborts; retryable errors are retried with jittered back-off. Writes into a transaction are not
   * retried here: a failed transaction is repeated as a whole.
   * @returns the messages that the sink rejected permanently. The caller counts the written messages, because a transaction may undo them.
   */
  async write(messages: readonly Message[], context: WriteContext): Promise<readonly Rejected[]> {
    if (messages.length === 0) return []
    const started = performance.now()
    this.meter.in += messages.length
    const rejected = await this.attempt(messages, context)
    this.meter.seconds += (performance.now() - started) / 1000
    return rejected
  }

  /** Why the sink is not ready. */
  *findings(): Generator<Finding> {
    const about = { kind: this.meter.kind, name: this.step.name }
    const { problem } = this
    if (problem !== undefined) yield { ...about, aspect: 'write', reason: problem, since: this.trouble.since }
    const { stalledSince } = this.pending
    if (stalledSince !== undefined)
      yield { ...about, aspect: 'answer', reason: 'no answer: what was written is not acknowledged', since: stalledSince }
  }

  private get problem(): string | undefined {
    const { trouble } = this
    const health = this.sink.healthy?.() ?? true
    if (this.broken) return `circuit open: ${trouble.text}`
    if (typeof health === 'string') return health
    if (!health) return `peer unreachable${trouble.error ? `: ${trouble.text}` : ''}`
    return trouble.lasts ? trouble.text : undefined
  }

  /** A transaction that the sink writes into failed. The lane repeats it as a whole. */
  transactionFailed(error: Error): void {
    this.meter.retries++
    this.trouble.failed(error)
  }

  transactionCommitted(): void {
    this.trouble.over()
  }

  /** If a sink fails as a whole because a message cannot be written as JSON, the other messages are written again. */
  private async attempt(messages: readonly Message[], context: WriteContext): Promise<readonly Rejected[]> {
    try {
      await (context.transaction ? this.call(messages, context) : this.writeWithRetry(messages, context))
      return []
    } catch (error) {
      if (error instanceof BatchError) return [...error.failed].map(([i, cause]) => ({ message: messages[i], error: cause }))
      const cause = error instanceof PluginError ? error.thrown : error
      if (!(cause instanceof DataError)) throw error
      const rejected: Rejected[] = []
      const rest = messages.filter(message => {
        const problem = encodeProblem(message)
        if (problem) rejected.push({ message, error: problem })
        return !problem
      })
      if (rejected.length === 0) throw error
      return rest.length === 0 ? rejected : [...rejected, ...(await this.attempt(rest, context))]
    }
  }

  /** Whether the sink writes into transactions of this scope. Undefined: any scope. */
  joins(scope: string | undefined): boolean {
    return scope === undefined || scopeOf(this.step) === scope
  }

  /** Opens the sink, with retries while its peer is unreachable. */
  async open(signal: AbortSignal): Promise<void> {
    const { sink, pending } = this
    if (!sink.open) return
    await this.untilDone(signal, async () => {
      const call = pending.begin()
      try {
        await sink.open!(signal)
      } finally {
        pending.end(call)
      }
    })
  }

  private writeWithRetry(messages: readonly Message[], context: WriteContext): Promise<void> {
    return this.untilDone(context.signal, async () => {
      context.assertOwned?.()
      await this.call(messages, context)
    })
  }

  private async call(messages: readonly Message[], context: WriteContext): Promise<void> {
    const { pending } = this
    const call = pending.begin()
    const progress = (): void => {
      pending.progress(call)
      // The sink accepts messages, although the write is not complete.
      if (!context.transaction) this.recovered()
    }
    try {
      await this.sink.write(messages, { ...context, progress })
    } catch (error) {
      if (context.transaction) this.threw = error as Error
      throw error
    } finally {
      pending.end(call)
    }
  }

  /**
   * Repeats `attempt` until it resolves, fails permanently, or the signal aborts. While the circuit is open, one caller at a time probes
   * the sink; the others wait for the result.
   */
  private async untilDone(signal: AbortSignal, attempt: () => Promise<void>): Promise<void> {
    const { retry, clock, random = Math.random } = this.host
    for (let tries = 0; ; tries++) {
      while (this.broken && this.probing) await this.probing
      const probe = this.broken ? Promise.withResolvers<void>() : undefined
      if (probe) this.probing = probe.promise
      try {
        // The signal may have been aborted while this call waited for its turn: then nothing more is written.
        if (tries > 0) signal.throwIfAborted()
        await attempt()
        this.recovered()
        return
      } catch (error) {
        // The sink answers, although it rejects the messages.
        if (error instanceof BatchError || error instanceof DataError) this.recovered()
        if (!isRetryable(error) || signal.aborted) throw error
        this.failed(error as Error)
        // The next probe also waits for this pause, whichever caller makes it.
        if (probe) await pause(clock, retry.breaker_reset, signal)
        if (signal.aborted) throw error
      } finally {
        if (probe) {
          if (this.probing === probe.promise) this.probing = undefined
          probe.resolve()
        }
      }
      if (!probe) await pause(clock, delayOf(retry, this.trouble.times, tries, random), signal)
    }
  }

  private failed(error: Error): void {
    const { log, retry } = this.host
    this.meter.retries++
    this.trouble.failed(error)
    log.warn({ step: this.step.name, error: error.message }, 'sink failed, trying again')
    if (this.broken || this.trouble.times < retry.breaker_failures) return
    this.broken = true
    log.error({ step: this.step.name }, 'circuit open: the sink keeps failing; the sources are paused')
  }

  private recovered(): void {
    this.trouble.over()
    if (!this.broken) return
    this.broken = false
    this.host.log.info({ step: this.step.name }, 'circuit closed: the sink has recovered')
  }
}

/**
 * Delay before a retry, ms: doubled each time. After `breaker_failures` consecutive failures it is `breaker_reset`, at most `max_delay`, so
 * that a peer that was unreachable for long is used again soon after it recovers.
 */
export const delayOf = (retry: RetryConfig, failures: number, tries: number, random: () => number): number =>
  failures >= retry.breaker_failures ? Math.min(retry.breaker_reset, retry.max_delay) : backoff(retry, tries, random)

export function isRetryable(error: unknown): boolean {
  return error instanceof PipelineError && error.retryable
}

function encodeProblem(message: Message): DataError | undefined {
  try {
    message.encode()
    return undefined
  } catch (error) {
    if (error instanceof DataError) return error
    throw error
  }
}
