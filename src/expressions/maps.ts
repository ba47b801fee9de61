/** Maps with keys that are not literal strings (`{1: "a"}`, `{name: 1}`) or with optional entries. */
import { DataError, ExactNumber } from '../contract/plugin.ts'
import { type CelNode, unsigned } from './cel.ts'
import { ABSENT } from './syntax.ts'

/** One form for all numbers with the same value, as keys of a `Map`. Other values are unchanged. */
export function mapKey(key: unknown): unknown {
  if (typeof key === 'number' && Number.isInteger(key)) return BigInt(key)
  if (key instanceof ExactNumber) return wholeOf(key) ?? key
  return unsigned(key) ?? key
}

function wholeOf({ safe, text }: ExactNumber): bigint | undefined {
  if (safe !== undefined) return Number.isInteger(safe) ? BigInt(safe) : undefined
  return /^-?\d+$/.test(text) ? BigInt(text) : undefined
}

export function evaluateMap(ev: { run(node: CelNode, scope: unknown): unknown }, node: CelNode, scope: unknown): Map<unknown, unknown> {
  const map = new Map<unknown, unknown>()
  for (const [keyNode, valueNode] of node.args as [CelNode, CelNode][]) {
    const key = mapKey(ev.run(keyNode, scope))
    if (typeof key !== 'string' && typeof key !== 'bigint' && typeof key !== 'boolean')
      throw new DataError('a key of an object must be a string, a whole number or a boolean')
    if (map.has(key)) throw new DataError(`duplicate key ${typeof key === 'string' ? JSON.stringify(key) : key}`)
    const value = ev.run(valueNode, scope)
    if (value !== ABSENT) map.set(key, value)
  }
  return map
}
