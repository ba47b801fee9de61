import { setTimeout as sleep } from 'node:timers/promises'

/** Status and body of a GET, or status 0 when nobody answers. */
export async function get(port: number, path: string): Promise<{ status: number; body: string }> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5_000) })
    return { status: response.status, body: await response.text() }
  } catch {
    return { status: 0, body: '' }
  }
}

/** Waits for the status; resolves to how long it took in ms. @throws with the last answer. */
export async function untilStatus(port: number, path: string, status: number, timeoutMs = 60_000): Promise<number> {
  const start = Date.now()
  for (;;) {
    const answer = await get(port, path)
    if (answer.status === status) return Date.now() - start
    if (Date.now() - start > timeoutMs) throw new Error(`${path} is ${answer.status} after ${timeoutMs} ms, not ${status}: ${answer.body}`)
    await sleep(50)
  }
}

/** The sum of a metric's samples whose labels contain all of `labels`. */
export function metric(text: string, name: string, labels: Record<string, string> = {}): number {
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
  let sum = 0
  for (const line of text.split('\n')) {
    const [, found, inside = '', value] = /^(\w+)(\{.*\})? (\S+)$/.exec(line) ?? []
    if (found === name && wanted.every(w => inside.includes(w))) sum += Number(value)
  }
  return sum
}
