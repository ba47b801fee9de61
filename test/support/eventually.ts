/** Waiting for what comes by itself. */
import { vi } from 'vitest'

/** Until `check` throws no more. The limit only ends what hangs: a busy machine is allowed to take its time. @throws what `check` threw last */
export function eventually<T>(check: () => T | Promise<T>, options: { interval?: number } = {}): Promise<T> {
  return vi.waitFor(check, { timeout: 120_000, interval: 50, ...options })
}
