/** A client as a browser has it: frames in order, and waiting for one. */
import { WebSocket } from 'ws'

export interface Frame {
  readonly type: string
  readonly id?: string
  readonly topic?: string
  readonly key?: string | null
  readonly data?: any
  readonly [field: string]: unknown
}

export class TestClient {
  readonly socket: WebSocket
  readonly frames: Frame[] = []
  code: number | undefined
  private readonly waiting = new Set<() => void>()

  constructor(port: number, options: { path?: string; headers?: Record<string, string> } = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}${options.path ?? '/ws'}`, { headers: options.headers })
    this.socket.on('message', data => {
      this.frames.push(JSON.parse(String(data as Buffer)) as Frame)
      for (const look of this.waiting) look()
    })
    this.socket.on('close', code => {
      this.code = code
      for (const look of this.waiting) look()
    })
    this.socket.on('error', () => {})
  }

  get messages(): Frame[] {
    return this.frames.filter(f => f.type === 'message')
  }

  get last(): string | undefined {
    return this.messages.at(-1)?.id
  }

  send(what: object | string): void {
    this.socket.send(typeof what === 'string' ? what : JSON.stringify(what))
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const look = (): void => {
      if (condition()) resolve()
    }
    this.waiting.add(look)
    const timer = setTimeout(
      () => reject(new Error(`${what} did not come; got ${JSON.stringify(this.frames.slice(-5))}, code ${this.code}`)),
      10_000,
    )
    look()
    await promise.finally(() => {
      clearTimeout(timer)
      this.waiting.delete(look)
    })
  }

  frame(type: string): Promise<void> {
    return this.until(type, () => this.frames.some(f => f.type === type))
  }

  async subscribe(what: object = {}): Promise<this> {
    await this.frame('hello')
    const n = this.frames.filter(f => f.type === 'subscribed').length
    this.send({ type: 'subscribe', ...what })
    await this.until('subscribed', () => this.frames.filter(f => f.type === 'subscribed').length > n)
    return this
  }

  async close(): Promise<void> {
    this.socket.terminate()
    await this.until('close', () => this.code !== undefined)
  }
}
