/** Periods without a subscription: messages published meanwhile are lost, and their number is unknown. */
import type { Context, Counter } from '../../../contract/plugin.ts'

export class Gaps {
  private readonly ctx: Context
  private readonly count: Counter
  private readonly total: Counter
  private readonly seconds: { set(n: number): void }
  private since: number | undefined
  private timer: NodeJS.Timeout | undefined

  constructor(ctx: Context) {
    this.ctx = ctx
    const { step, metrics } = ctx
    this.count = metrics.counter(
      'redis_pubsub_gaps_total',
      'Number of times that the subscription was lost.',
      { step },
      'subscription_gaps',
    )
    this.total = metrics.counter('redis_pubsub_disconnected_seconds_total', 'Seconds without a subscription.', { step })
    this.seconds = metrics.gauge('redis_pubsub_disconnected_seconds', 'Seconds since the subscription was lost; 0 while subscribed.', {
      step,
    })
  }

  get open(): boolean {
    return this.since !== undefined
  }

  begin(error: Error): void {
    if (this.since !== undefined) return
    this.since = this.ctx.clock.monotonic()
    this.count.inc()
    this.timer = setInterval(() => this.seconds.set((this.ctx.clock.monotonic() - this.since!) / 1000), 500)
    this.timer.unref()
    this.ctx.log.warn(
      { step: this.ctx.step, error: error.message },
      'Pub/Sub gap: subscription lost; messages published until it is restored are missed',
    )
  }

  end(): void {
    if (this.since === undefined) return
    const seconds = (this.ctx.clock.monotonic() - this.since) / 1000
    this.close()
    this.ctx.log.info({ step: this.ctx.step, seconds }, 'Pub/Sub gap ended: subscribed again')
  }

  close(): void {
    if (this.since === undefined) return
    this.total.inc((this.ctx.clock.monotonic() - this.since) / 1000)
    this.since = undefined
    clearInterval(this.timer)
    this.seconds.set(0)
  }
}
