/** Wakes a waiter after an event, now or at the next wait. */
export class Signal {
  private fired = false
  private resolve: (() => void) | undefined

  fire(): void {
    this.fired = true
    this.resolve?.()
  }

  /** Waits at most `ms`, when given. @throws the signal's reason */
  async wait(signal?: AbortSignal, ms?: number): Promise<void> {
    if (!this.fired) {
      let timer: NodeJS.Timeout | undefined
      const abort = (): void => this.resolve?.()
      await new Promise<void>(resolve => {
        this.resolve = resolve
        if (ms !== undefined) timer = setTimeout(resolve, ms)
        signal?.addEventListener('abort', abort, { once: true })
      })
      this.resolve = undefined
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
    this.fired = false
    signal?.throwIfAborted()
  }
}
