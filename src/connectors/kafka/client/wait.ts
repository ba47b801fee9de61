/** Small helpers for promises, which never leave one unhandled. */
import { monotonic } from '../../../kit/clock.ts'

export const sleep = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal?.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })

/** Wakes the waiter; a call without a waiter is remembered once. */
export class Wakeup {
  private resolve: (() => void) | undefined
  private pending = false

  wake(): void {
    if (this.resolve) {
      const r = this.resolve
      this.resolve = undefined
      r()
    } else this.pending = true
  }

  /** Resolves on the next `wake`, or after `ms`. One waiter at a time. */
  async wait(ms?: number): Promise<void> {
    if (this.pending) {
      this.pending = false
      return
    }
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>(resolve => {
      this.resolve = resolve
      if (ms !== undefined) timer = setTimeout(resolve, ms)
    })
    clearTimeout(timer)
    this.resolve = undefined
  }
}

/** Ends like `promise`, or resolves to `otherwise` after `ms`; a later result of the promise is ignored. */
export async function within<T>(promise: Promise<T>, ms: number, otherwise: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<T>(resolve => {
    timer = setTimeout(() => resolve(otherwise), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Exponential backoff with jitter. */
export class Backoff {
  private next: number
  private readonly first: number
  private readonly max: number
  constructor(first: number, max: number) {
    this.first = this.next = first
    this.max = max
  }
  reset(): void {
    this.next = this.first
  }
  wait(signal?: AbortSignal): Promise<void> {
    const ms = this.next * (0.75 + Math.random() * 0.5)
    this.next = Math.min(this.max, this.next * 2)
    return sleep(ms, signal)
  }
}

/** Calls back at the earliest of the requested times, then waits for a new one. */
export class Alarm {
  private readonly ring: () => void
  private timer: NodeJS.Timeout | undefined
  private due = Infinity

  constructor(ring: () => void) {
    this.ring = ring
  }

  /** @param time `monotonic` ms */
  at(time: number): void {
    if (time >= this.due) return
    clearTimeout(this.timer)
    this.due = time
    this.timer = setTimeout(
      () => {
        this.due = Infinity
        this.ring()
      },
      Math.max(1, time - monotonic()),
    )
  }

  cancel(): void {
    clearTimeout(this.timer)
    this.due = Infinity
  }
}
