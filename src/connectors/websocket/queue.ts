/** What has arrived and nobody has read yet. Full, it asks the socket to wait, so that memory stays bounded. */
import type { Message } from '../../plugin.ts'

export class Queue {
  private items: Message[] = []
  private bytes = 0
  private wake: (() => void) | undefined
  private readonly maxBytes: number
  private readonly onFull: () => void
  private readonly onRoom: () => void

  constructor(maxBytes: number, onFull: () => void, onRoom: () => void) {
    this.maxBytes = maxBytes
    this.onFull = onFull
    this.onRoom = onRoom
  }

  get empty(): boolean {
    return this.items.length === 0
  }

  push(message: Message): void {
    this.items.push(message)
    this.bytes += weight(message)
    if (this.bytes >= this.maxBytes) this.onFull()
    this.signal()
  }

  take(limit: number): Message[] {
    const taken = this.items.length <= limit ? this.items : this.items.slice(0, limit)
    this.items = this.items.length <= limit ? [] : this.items.slice(limit)
    for (const m of taken) this.bytes -= weight(m)
    if (this.bytes < this.maxBytes / 2) this.onRoom()
    return taken
  }

  /** Lets `wait` return. */
  signal(): void {
    this.wake?.()
    this.wake = undefined
  }

  /** Until something has been pushed or `signal` was called. @throws the signal's reason */
  async wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (!this.empty) return
    await new Promise<void>(resolve => {
      const done = (): void => {
        signal.removeEventListener('abort', done)
        resolve()
      }
      this.wake = done
      signal.addEventListener('abort', done, { once: true })
    })
    signal.throwIfAborted()
  }
}

/** A message costs more than its bytes. */
const weight = (m: Message): number => (m.payload?.length ?? 0) + 200
