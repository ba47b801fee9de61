/** One hash of all outputs of a test: equal for two runs exactly if their outputs are equal. */
import { createHash } from 'node:crypto'
import type { Written } from './in-memory-sinks.ts'

export function hashOf(outputs: readonly (readonly [name: string, records: readonly Written[]])[]): string {
  const hash = createHash('sha256')
  for (const [name, records] of outputs) {
    hash.update(JSON.stringify([name, records.map(r => [r.lane, r.topic ?? null, print(r.key), print(r.value), r.headers, r.time])]))
  }
  return hash.digest('hex')
}

/** A cache: every run of a test has the same large payloads. */
const digests = new WeakMap<Buffer, string>()
const LARGE = 10_000

function print(data: Buffer | null): string | null {
  if (data === null) return null
  if (data.length < LARGE) return data.toString('base64')
  let digest = digests.get(data)
  if (digest === undefined) digests.set(data, (digest = `sha256 ${createHash('sha256').update(data).digest('base64')}`))
  return digest
}
