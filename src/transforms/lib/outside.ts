/** Handling of messages outside all trading sessions. */
import { DataError, type Message, type Output, type TransformContext } from '../../contract/plugin.ts'

interface OutsideConfig {
  readonly zone?: string
  readonly session?: { readonly start: string; readonly end: string; readonly days?: string }
  readonly outside: 'drop' | 'dlq'
}

/** Counts the messages and logs the first: a wrong zone would put all messages outside. */
export function outsideSessions(config: OutsideConfig, ctx: TransformContext): (message: Message, time: number, out: Output) => void {
  const { session, zone = 'UTC', outside } = config
  if (session === undefined) return () => undefined
  const counter = (action: string, loss?: string) =>
    ctx.metrics.counter(
      'runner_outside_session_messages_total',
      'Messages outside of all sessions',
      { pipeline: ctx.pipeline, step: ctx.step, action },
      loss,
    )
  const [dropped, dead] = [counter('dropped', 'outside_sessions'), counter('dead')]
  let known = false
  const describe = (time: number): string =>
    `${new Date(time).toISOString()} is outside of the session ${session.start} to ${session.end} ${session.days ?? 'every day'} (${zone})`
  return (message, time, out) => {
    if (outside === 'dlq') {
      dead.inc()
      out.fail(message, new DataError(describe(time)))
      return
    }
    dropped.inc()
    if (known) return
    known = true
    ctx.log.info(
      { step: ctx.step },
      `${describe(time)}: dropped, and later ones without further log lines; runner_outside_session_messages_total counts them`,
    )
  }
}
