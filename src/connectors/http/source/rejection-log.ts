/** Rejected requests: each is counted by reason; the first of a reason is logged at once, later ones are summarized every 10 s. */
import type { IncomingMessage } from 'node:http'
import type { SourceContext } from '../../../contract/plugin.ts'
import type { GateRejection } from '../../../kit/http/gate.ts'
import type { AuthFailure } from './signature.ts'

/** Interval between two log lines for one reason, ms. */
const INTERVAL = 10_000

interface Line {
  readonly text: string
  readonly fields: Record<string, unknown>
  /** Requests since the last line. */
  count: number
  loggedAt: number
}

export class RejectionLog {
  private readonly ctx: SourceContext
  private readonly path: string
  private readonly lines = new Map<string, Line>()

  constructor(ctx: SourceContext, path: string) {
    this.ctx = ctx
    this.path = path
  }

  failure({ reason, message }: AuthFailure, request: IncomingMessage): void {
    this.ctx.metrics.counter('http_auth_failures_total', 'Requests answered with 401, by reason', { path: this.path, reason }).inc()
    this.note(reason, 'request rejected', { reason, detail: message }, request)
  }

  gate({ reason, message }: GateRejection, request: IncomingMessage): void {
    this.note(reason, 'request rejected', { reason, detail: message }, request)
  }

  replay(request: IncomingMessage): void {
    const detail =
      'the signature or the signed id is that of an earlier request: the earlier response was sent, and nothing was written again (auth.replays: accept writes it)'
    this.note('replayed', 'request repeated', { reason: 'replayed', detail }, request)
  }

  /** Logs what has been counted but not logged yet. */
  close(): void {
    for (const line of this.lines.values()) if (line.count > 0) this.write(line)
  }

  private note(reason: string, text: string, fields: Record<string, unknown>, request: IncomingMessage): void {
    let line = this.lines.get(reason)
    if (!line) this.lines.set(reason, (line = { text, fields: {}, count: 0, loggedAt: Number.NEGATIVE_INFINITY }))
    line.count++
    Object.assign(line.fields, fields, { from: request.socket.remoteAddress })
    if (this.ctx.clock.monotonic() - line.loggedAt >= INTERVAL) this.write(line)
  }

  private write(line: Line): void {
    this.ctx.log.warn({ step: this.ctx.step, path: this.path, ...line.fields, count: line.count }, line.text)
    line.count = 0
    line.loggedAt = this.ctx.clock.monotonic()
  }
}
