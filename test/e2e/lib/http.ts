import { eventually } from '../../support/eventually.ts'
import type { Runner } from '../../support/runner.ts'

/** Status and body of a GET, or status 0 without a response. */
export async function get(port: number, path: string): Promise<{ status: number; body: string }> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(5_000) })
    return { status: response.status, body: await response.text() }
  } catch {
    return { status: 0, body: '' }
  }
}

/** Waits for the status; resolves to how long it took in ms. @throws {Error} with the output of the runner, at once when it has ended */
export async function untilStatus(by: Runner, port: number, path: string, status: number, timeout = 60_000): Promise<number> {
  const start = performance.now()
  const check = async (): Promise<void> => {
    const answer = await get(port, path)
    if (answer.status !== status) throw new Error(`${path} is ${answer.status || 'not served'}, not ${status}: ${answer.body}`)
  }
  await eventually(check, { by, timeout })
  return performance.now() - start
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
