/** Waiting for a condition. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Watched, watched } from './watched.ts'

export interface WaitOptions {
  /** ms between two tries. */
  readonly interval?: number
  /** ms. Only ends hanging tests: a busy machine may be slow. */
  readonly timeout?: number
  /** The process that causes it. Default: every runner of the test. */
  readonly by?: Watched
}

/**
 * Waits until `check` no longer throws.
 * @throws {Error} at once when a runner that was running ends, unless the test ended it or waits for its end: nothing comes any more. With its output,
 * as after `timeout`, then with what `check` threw last
 */
export async function eventually<T>(check: () => T | Promise<T>, options: WaitOptions = {}): Promise<T> {
  const { interval = 50, timeout = 120_000, by } = options
  // A process that had ended before may have ended as intended.
  const before = by ? [] : [...watched].filter(p => p.endedUnasked)
  const started = performance.now()
  for (;;) {
    let problem: unknown
    try {
      return await check()
    } catch (error) {
      problem = error
    }
    const processes = by ? [by] : [...watched].filter(p => !before.includes(p))
    const ended = processes.find(p => p.endedUnasked)
    if (ended) throw new Error(ended.describe(`ended, while it was waited for: ${text(problem)}`), { cause: problem })
    if (performance.now() - started > timeout) {
      const outputs = processes.map(p => p.describe('is running'))
      throw new Error([`not within ${timeout} ms: ${text(problem)}`, ...outputs].join('\n'), { cause: problem })
    }
    await sleep(interval)
  }
}

const text = (problem: unknown): string => (problem instanceof Error ? problem.message : String(problem))
