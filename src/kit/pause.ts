import type { Clock } from './clock.ts'

/** Waits this many ms of the clock's time, or until one of the signals aborts; never rejects. */
export function pause(clock: Clock, ms: number, ...signals: readonly AbortSignal[]): Promise<void> {
  if (signals.some(s => s.aborted)) return Promise.resolve()
  return new Promise(resolve => {
    const done = (): void => {
      cancel()
      for (const s of signals) s.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.after(ms, done)
    for (const s of signals) s.addEventListener('abort', done, { once: true })
  })
}

/** Delays between attempts, ms: doubled from `initial_delay` up to `max_delay`. The shape of the pipeline's `retry`. */
export interface Backoff {
  /** First and longest wait, ms. */
  readonly initial_delay: number
  readonly max_delay: number
}

/**
 * Delays that double, with jitter, so that clients that lost the same peer do not return at the same moment.
 * @param attempt 0 for the first. @returns ms, between half and all of the doubled delay.
 */
export const backoff = ({ initial_delay, max_delay }: Backoff, attempt: number, random: () => number): number =>
  Math.min(max_delay, initial_delay * 2 ** Math.min(attempt, 16)) * (0.5 + random() / 2)
