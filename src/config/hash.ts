import { createHash } from 'node:crypto'
import { ExactNumber } from '../contract/plugin.ts'
import type { Pipeline, Step } from './model.ts'

/** Changes if and only if the pipeline may have other results: not with secrets or operational settings. */
export function pipelineHash(p: Omit<Pipeline, 'hash'>): string {
  const step = (s: Step & { from?: unknown }): unknown => [
    s.plugin.kind,
    s.type,
    s.name,
    s.when ?? null,
    s.from ?? null,
    without(s.config, s.secrets),
  ]
  const parts = [p.name, p.version, p.delivery, p.sources.map(step), p.transforms.map(step), p.sinks.map(step), p.dlq ? step(p.dlq) : null]
  return createHash('sha256').update(canonical(parts)).digest('hex').slice(0, 16)
}

function without(config: unknown, secrets: readonly string[], prefix = ''): unknown {
  if (config instanceof ExactNumber) return config.text
  if (typeof config !== 'object' || config === null) return config
  if (Array.isArray(config))
    return config.map((v, i) => (secrets.includes(`${prefix}${i}`) ? '***' : without(v, secrets, `${prefix}${i}.`)))
  return Object.fromEntries(
    Object.entries(config).map(([k, v]) => [k, secrets.includes(`${prefix}${k}`) ? '***' : without(v, secrets, `${prefix}${k}.`)]),
  )
}

/** JSON with sorted keys: their order in the file has no effect. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, v) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  )
}
