/** Keeps a session alive on a timer of its own, and says what the answers mean. */
import { connectionBroke, NOT_COORDINATOR, toPipelineError, typeOf } from '../errors.ts'
import { sleep, within } from '../wait.ts'
import { monotonic } from '../../../../kit/clock.ts'

export interface HeartbeatHost {
  readonly group: string
  readonly intervalMs: number
  readonly sessionMs: number
  /** When the request was sent that the coordinator has answered last, `monotonic` ms: so far it knows that we live. */
  readonly contact: { at: number }
  /** One request. Throws kafkajs' errors. */
  beat(): Promise<void>
  /** After an answer, and beside the beats: other brokers may be asked, and take their time. One call at a time. */
  chores(): Promise<void>
  /** The group is being shared out anew. */
  onRebalance(): void
  /** The session is over. */
  onExpelled(how: 'unknown' | 'generation' | 'silence'): void
  onError(error: Error): void
  onFatal(error: Error): void
}

export const REBALANCING = 'REBALANCE_IN_PROGRESS'
export const EXPELLED = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID'])

/** Beats until `signal` aborts or the session is over. */
export async function heartbeats(host: HeartbeatHost, signal: AbortSignal): Promise<void> {
  let chores: Promise<void> | undefined
  for (;;) {
    await sleep(host.intervalMs, signal)
    if (signal.aborted) return
    const sentAt = monotonic()
    const left = host.contact.at + host.sessionMs - sentAt
    // The process may have been stopped for longer than its session.
    if (left < 0) return host.onExpelled('silence')
    try {
      // A connection may be dead without a word; the session ends all the same.
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
        // An answer all the same: it keeps the session alive while the handlers still work for the old generation.
        host.contact.at = sentAt
        host.onRebalance()
        continue
      }
      if (!tell(host, error)) return
    }
  }
}

/** @returns false when it is hopeless. */
function tell(host: HeartbeatHost, error: unknown): boolean {
  const mapped = toPipelineError(error, `keep the membership in group ${host.group}`)
  if (!mapped.retryable) host.onFatal(mapped)
  else if (!NOT_COORDINATOR.has(typeOf(error)) && !connectionBroke(error)) host.onError(mapped)
  return mapped.retryable
}
