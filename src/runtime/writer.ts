/** A sink with its retry policy and circuit breaker: one per sink step, shared by all lanes. */
import { PluginError } from '../kit/plugin-error.ts'
import type { Logger, Message, Sink, SinkPlugin, WriteContext } from '../contract/plugin.ts'
import { BatchError, DataError, PipelineError } from '../contract/plugin.ts'
import type { RetryConfig, SinkStep, Step } from '../config/model.ts'
import { scopeOf } from '../config/traits.ts'
import type { StepMeter } from './telemetry/meters.ts'

export interface Refused {
  readonly message: Message
  readonly error: Error
}

type Policy = { execute<T>(fn: (context: { signal: AbortSignal }) => Promise<T>, signal: AbortSignal): Promise<T> }

export class Writer {
  readonly step: SinkStep | Step<SinkPlugin>
  readonly sink: Sink
  readonly meter: StepMeter
  private readonly log: Logger
  private readonly retry: RetryConfig
  private policy: Policy | undefined
  /** The circuit is open: the sink fails persistently and the sources wait. */
  broken = false

  constructor(step: SinkStep | Step<SinkPlugin>, sink: Sink, meter: StepMeter, retry: RetryConfig, log: Logger) {
    this.step = step
    this.sink = sink
    this.meter = meter
    this.retry = retry
    this.log = log
  }

  /**
   * Writes until it is done or the signal aborts; retryable errors are tried again with jittered back-off. Inside a transaction
   * nothing is retried here: a failed transaction is rewound as a whole.
   * @returns the messages the sink refused for good.
   */
  async write(messages: readonly Message[], context: WriteContext): Promise<readonly Refused[]> {
    if (messages.length === 0) return []
    const started = performance.now()
    this.meter.in += messages.length
    const refused = await this.attempt(messages, context)
    this.meter.dead += refused.length
    this.meter.out += messages.length - refused.length
    this.meter.seconds += (performance.now() - started) / 1000
    return refused
  }

  /** A sink that fails as a whole because a message cannot be written as JSON gets the others again. */
  private async attempt(messages: readonly Message[], context: WriteContext): Promise<readonly Refused[]> {
    try {
      await (context.transaction ? this.sink.write(messages, context) : this.writeWithRetry(messages, context))
      return []
    } catch (error) {
      if (error instanceof BatchError) return [...error.failed].map(([i, cause]) => ({ message: messages[i], error: cause }))
      const cause = error instanceof PluginError ? error.thrown : error
      if (!(cause instanceof DataError)) throw error
      const refused: Refused[] = []
      const rest = messages.filter(message => {
        const problem = encodeProblem(message)
        if (problem) refused.push({ message, error: problem })
        return !problem
      })
      if (refused.length === 0) throw error
      return rest.length === 0 ? refused : [...refused, ...(await this.attempt(rest, context))]
    }
  }

  /** Does it write into transactions of this scope? Undefined: into any. */
  joins(scope: string | undefined): boolean {
    return scope === undefined || scopeOf(this.step) === scope
  }

  /** Opens the sink, again and again while its peer is away. */
  async open(signal: AbortSignal): Promise<void> {
    if (!this.sink.open) return
    const policy = await this.getPolicy()
    await policy.execute(() => this.sink.open!(signal), signal)
  }

  private async writeWithRetry(messages: readonly Message[], context: WriteContext): Promise<void> {
    const policy = this.policy ?? (await this.getPolicy())
    // The first try goes past the policy: it costs several microseconds, and nearly every write succeeds.
    if (!this.broken) {
      try {
        return await this.sink.write(messages, context)
      } catch (error) {
        if (!isRetryable(error) || context.signal.aborted) throw error
        this.note(error as Error)
      }
    }
    await policy.execute(() => this.sink.write(messages, context), context.signal)
  }

  private note(error: Error): void {
    this.meter.retries++
    this.log.warn({ step: this.step.name, error: error.message }, 'sink failed, trying again')
  }

  private async getPolicy(): Promise<Policy> {
    if (this.policy) return this.policy
    const c = await import('cockatiel')
    const retryable = c.handleWhen(error => isRetryable(error))
    const retry = c.retry(
      c.handleWhen(error => isRetryable(error) || error instanceof c.BrokenCircuitError),
      {
        backoff: new c.ExponentialBackoff({ initialDelay: this.retry.initial_delay, maxDelay: this.retry.max_delay }),
        maxAttempts: Number.MAX_SAFE_INTEGER,
      },
    )
    const breaker = c.circuitBreaker(retryable, {
      halfOpenAfter: this.retry.breaker_reset,
      breaker: new c.ConsecutiveBreaker(this.retry.breaker_failures),
    })
    retry.onFailure(({ reason }) => {
      if ('error' in reason && isRetryable(reason.error)) this.note(reason.error as Error)
    })
    breaker.onBreak(() => {
      this.broken = true
      this.log.error({ step: this.step.name }, 'circuit open: the sink fails persistently, the sources wait')
    })
    breaker.onReset(() => {
      this.broken = false
      this.log.info({ step: this.step.name }, 'circuit closed: the sink is back')
    })
    return (this.policy = c.wrap(retry, breaker))
  }
}

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
