/** Waits that double, with jitter: clients that lost the same peer do not come back in the same moment. */
export interface BackoffOptions {
  /** ms */
  readonly initial_delay: number
  /** ms */
  readonly max_delay: number
}

/** @param attempt 0 for the first. @returns ms, between half and all of the doubled delay. */
export function backoff({ initial_delay, max_delay }: BackoffOptions, attempt: number, random: () => number): number {
  return Math.min(max_delay, initial_delay * 2 ** Math.min(attempt, 16)) * (0.5 + random() / 2)
}
