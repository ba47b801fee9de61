/** Workers that post operations and try again until each has its answer, under the same idempotency key. */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Operation } from './operations.ts'

export interface Load {
  done: number
  /** Answered with something else than success, or never. */
  failures: string[]
  /** Tried again after a refused connection, a cut one, or a 5xx. */
  retries: number
  /** ms, of the answer that counted, from the first try on. */
  latencies: number[]
  seconds: number
}

/** One operation is tried for so long, ms. */
const LAST_REQUEST_TIMEOUT = 90_000

export async function load(
  port: number,
  source: Iterator<Operation>,
  workers: number,
  succeeded: (operation: Operation) => void,
  /** Called behind every operation; the worker goes on when it resolves. */
  progress: (done: number) => Promise<void>,
): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: workers })
  const result: Load = { done: 0, failures: [], retries: 0, latencies: [], seconds: 0 }
  const started = performance.now()
  const worker = async (): Promise<void> => {
    for (let next = source.next(); !next.done; next = source.next()) {
      const operation = next.value
      const begun = performance.now()
      for (;;) {
        const answer = await post(agent, port, operation).catch((error: Error) => ({ status: 0, text: error.message }))
        if (answer.status >= 200 && answer.status < 300) {
          result.latencies.push(performance.now() - begun)
          succeeded(operation)
          break
        }
        const final = answer.status >= 400 && answer.status < 500 && answer.status !== 429 && answer.status !== 409
        if (final || performance.now() - begun > LAST_REQUEST_TIMEOUT) {
          result.failures.push(`${answer.status}: ${answer.text.slice(0, 300)}`)
          break
        }
        result.retries++
        await sleep(100)
      }
      await progress(++result.done)
    }
  }
  await Promise.all(Array.from({ length: workers }, worker))
  result.seconds = (performance.now() - started) / 1000
  agent.destroy()
  return result
}

function post(agent: Agent, port: number, { key, body }: Operation): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        agent,
        port,
        host: '127.0.0.1',
        path: '/wallets/operations',
        method: 'POST',
        timeout: 40_000,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), 'idempotency-key': key },
      },
      response => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text })).on('error', reject)
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 40 s')))
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}
