import type { Clock } from './clock.ts'

/** Waits so many ms of the clock's time, or until one of the signals aborts; never rejects. */
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

export interface Backoff {
  /** First and longest wait, ms. */
  readonly initial: number
  readonly max: number
}

/** Twice as long with every attempt, and of that a random part, so that many do not come back in the same moment. */
export const backoff = ({ initial, max }: Backoff, attempt: number, random: () => number): number =>
  Math.min(max, initial * 2 ** Math.min(attempt, 16)) * (0.5 + random() / 2)
