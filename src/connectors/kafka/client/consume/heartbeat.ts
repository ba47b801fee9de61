/** Keeps a session alive on its own timer, and interprets the responses. */
import { connectionBroke, NOT_COORDINATOR, toPipelineError, typeOf } from '../errors.ts'
import { sleep, within } from '../wait.ts'
import { monotonic } from '../../../../kit/clock.ts'

export interface HeartbeatHost {
  readonly group: string
  readonly intervalMs: number
  readonly sessionMs: number
  /** When the last answered request was sent, `monotonic` ms: up to then the coordinator has seen that we are alive. */
  readonly contact: { at: number }
  /** One request. Throws kafkajs' errors. */
  beat(): Promise<void>
  /** After a response, independent of the beats: it may ask other brokers and take time. One call at a time. */
  chores(): Promise<void>
  /** The group is rebalancing. */
  onRebalance(): void
  /** The session has ended. */
  onExpelled(how: 'unknown' | 'generation' | 'silence'): void
  onError(error: Error): void
  onFatal(error: Error): void
}

export const REBALANCING = 'REBALANCE_IN_PROGRESS'
export const EXPELLED = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID'])

/** Beats until `signal` aborts or the session has ended. */
export async function heartbeats(host: HeartbeatHost, signal: AbortSignal): Promise<void> {
  let chores: Promise<void> | undefined
  for (;;) {
    await sleep(host.intervalMs, signal)
    if (signal.aborted) return
    const sentAt = monotonic()
    const left = host.contact.at + host.sessionMs - sentAt
    // The process may have been suspended for longer than its session.
    if (left < 0) return host.onExpelled('silence')
    try {
      // A connection may be dead without an error; the session ends anyway.
      const answered = await within(
        host.beat().then(() => true),
        left,
        false,
      )
      if (signal.aborted) return
      if (!answered) return host.onExpelled('silence')
      host.contact.at = sentAt
      chores ??= host
        .chores()
        .catch((error: unknown) => {
          if (!signal.aborted) tell(host, error)
        })
        .finally(() => {
          chores = undefined
        })
    } catch (error) {
      if (signal.aborted) return
      const type = typeOf(error)
      if (EXPELLED.has(type)) return host.onExpelled(type === 'UNKNOWN_MEMBER_ID' ? 'unknown' : 'generation')
      if (type === REBALANCING) {
        // This is a response, too: it keeps the session alive while the handlers still work for the old generation.
        host.contact.at = sentAt
        host.onRebalance()
        continue
      }
      if (!tell(host, error)) return
    }
  }
}

/** @returns false when a retry cannot help. */
function tell(host: HeartbeatHost, error: unknown): boolean {
  const mapped = toPipelineError(error, `keep the membership in group ${host.group}`)
  if (!mapped.retryable) host.onFatal(mapped)
  else if (!NOT_COORDINATOR.has(typeOf(error)) && !connectionBroke(error)) host.onError(mapped)
  return mapped.retryable
}
