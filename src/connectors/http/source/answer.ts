/** Responses to requests. */
import type { ServerResponse } from 'node:http'

export interface Answer {
  readonly status: number
  /** JSON text. */
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

export const accepted = (status: number, n: number): Answer => ({ status, body: JSON.stringify({ accepted: n }) })

export interface ErrorDetails {
  readonly line?: number
  readonly column?: number
  readonly offset?: number
}

export function rejectionAnswer(
  status: number,
  code: string,
  message: string,
  details: ErrorDetails = {},
  headers?: Answer['headers'],
): Answer {
  return { status, body: JSON.stringify({ error: { code, message, ...details } }), headers }
}

/** Nothing was accepted: the same request may be sent again. */
export const busy = (message: string): Answer => rejectionAnswer(503, 'busy', message, {}, { 'retry-after': '1' })
export const stopping = (): Answer =>
  rejectionAnswer(
    503,
    'stopping',
    'the server is stopping and accepted nothing of this request: retry later',
    {},
    { 'retry-after': '1', connection: 'close' },
  )
export const unknown = (message: string): Answer =>
  rejectionAnswer(504, 'outcome_unknown', `${message}; the outcome is unknown: send the request again`, {}, { 'retry-after': '1' })

/** Resolves when the response is sent, or the client has disconnected. */
export function send(response: ServerResponse, { status, body, headers }: Answer, close = false): Promise<void> {
  return new Promise(resolve => {
    if (response.destroyed || response.writableEnded) return resolve()
    response.once('close', () => resolve())
    response.writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...headers,
      ...(close && { connection: 'close' }),
    })
    response.end(body, () => resolve())
  })
}
