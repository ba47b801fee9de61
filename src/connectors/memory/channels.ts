/** Named lists in this process that the `memory` source reads and the `memory` sink writes. For tests and for embedding. */
import type { Header, Json } from '../../contract/plugin.ts'

/** `payload` (bytes or text) or `value` (written as JSON); neither: a tombstone. */
export interface MemoryRecord {
  readonly payload?: Buffer | string | null
  readonly value?: Json
  readonly key?: Buffer | string | null
  /** Epoch ms. */
  readonly time?: number
  readonly headers?: readonly Header[]
}

export interface StoredRecord {
  readonly payload: Buffer | null
  readonly key: Buffer | null
  readonly time: number
  readonly headers: readonly Header[] | undefined
}

export class Channel {
  readonly records: StoredRecord[] = []
  ended = false
  private taken = 0
  private waiting: (() => void)[] = []

  push(...records: readonly MemoryRecord[]): void {
    for (const { payload, value, key, time = 0, headers } of records) {
      const text = payload === undefined ? (value === undefined ? null : JSON.stringify(value)) : payload
      this.records.push({ payload: bytes(text), key: bytes(key ?? null), time, headers })
    }
    this.wake()
  }

  /** No more will come: sources end when they have read everything. */
  end(): void {
    this.ended = true
    this.wake()
  }

  /** What came since the last call. */
  take(): StoredRecord[] {
    const news = this.records.slice(this.taken)
    this.taken = this.records.length
    return news
  }

  /** Resolves at the next `push` or `end`, or when the signal is aborted. */
  async change(signal: AbortSignal): Promise<void> {
    await new Promise<void>(resolve => {
      signal.addEventListener('abort', () => resolve(), { once: true })
      this.waiting.push(resolve)
    })
  }

  private wake(): void {
    const waiting = this.waiting
    this.waiting = []
    for (const resolve of waiting) resolve()
  }
}

const bytes = (text: Buffer | string | null): Buffer | null => (typeof text === 'string' ? Buffer.from(text) : text)

const channels = new Map<string, Channel>()

/** The channel of that name, made on first use. */
export function channel(name: string): Channel {
  let found = channels.get(name)
  if (!found) channels.set(name, (found = new Channel()))
  return found
}

/** Forgets a channel; whoever holds it keeps what is in it. */
export function removeChannel(name: string): void {
  channels.delete(name)
}
