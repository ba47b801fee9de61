/**
 * Describes what a process does, for comparison by other processes with the same identity: each step with the settings that determine what
 * is written and where. Settings that the schema marks as `tuning` or `secret` are omitted, because others may read the description (in the
 * metadata of a consumer group, or in a lock file).
 */
import { createHash, randomUUID } from 'node:crypto'
import manifest from '../../package.json' with { type: 'json' }
import { canonical } from '../config/hash.ts'
import type { Pipeline, SinkStep, Step } from '../config/model.ts'
import { itemSchema, propertySchema, type Schema, views } from '../config/schema.ts'
import { scopeOf } from '../config/traits.ts'
import type { LiveContent } from '../contract/plugin.ts'
import { STARTS_OVER } from '../kit/live-content.ts'

/** Longer values are replaced by their hash, because brokers store the metadata for every group member. */
const SHOWN = 60
/** A description with more characters has one hash per step. */
const LARGE = 8000
/** Settings of a source that determine what a record is. The selection of records may differ, such as an additional topic. */
const DECODING = ['format', 'isolation_level'] as const

/** @param fresh the process starts lanes over */
export function liveContent(pipeline: Pipeline, fresh = false): LiveContent {
  const { name, version, file, sources, transforms, sinks, dlq } = pipeline
  const settings: Record<string, string> = {}
  const add = (path: string, step: Step, connection?: string): void => {
    const { when, from } = step as SinkStep
    const config = relevant(step)
    if (connection !== undefined) config[connection] = 'as the source'
    const all = { type: step.type, when, from: from && [from.step, from.port].filter(Boolean).join('.'), ...config }
    for (const [key, value] of Object.entries(all)) if (value !== undefined) settings[`${path}.${key}`] = shown(value)
  }
  for (const { name: step, type, config } of sources) {
    settings[`sources.${step}.type`] = shown(type)
    for (const key of DECODING) if (config?.[key] !== undefined) settings[`sources.${step}.${key}`] = shown(config[key])
  }
  if (transforms.length > 0) settings.transforms = shown(transforms.map(t => t.name))
  for (const step of transforms) add(`transforms.${step.name}`, step)
  const scopes = new Set(sources.map(s => s.plugin.transactions?.scope(s.config)).filter(scope => scope !== undefined))
  // The same brokers can have different names inside and outside of a network.
  const own = (step: SinkStep): string | undefined =>
    scopes.has(scopeOf(step) ?? '') && 'brokers' in (step.config as object) ? 'brokers' : undefined
  for (const step of sinks) add(`sinks.${step.name}`, step, own(step))
  if (dlq) add('dlq', dlq, own(dlq))
  if (JSON.stringify(settings).length > LARGE) shorten(settings)
  if (fresh) settings[STARTS_OVER] = randomUUID()
  return { owner: `${name}.${version}`, file, runner: manifest.version, settings }
}

function shorten(settings: Record<string, string>): void {
  const steps = Object.groupBy(
    Object.keys(settings).filter(key => key.includes('.')),
    key => key.slice(0, key.lastIndexOf('.')),
  )
  for (const [step, keys] of Object.entries(steps)) {
    const text = canonical(keys!.map(key => [key, settings[key]]).sort())
    for (const key of keys!) delete settings[key]
    settings[step] = hash(text)
  }
}

/** The config of the step without the settings that may differ. */
function relevant(step: Step): Record<string, unknown> {
  const root = step.plugin.schema as Schema
  const secrets = new Set(step.secrets)
  const walk = (value: unknown, schema: Schema | undefined, path: string): unknown => {
    const schemas = views(schema, value, root)
    if (schema?.tuning === true || schemas.some(s => s.tuning === true)) return undefined
    if (typeof value === 'string' && isUrl(value)) return placeOf(value, secrets.has(path))
    if (secrets.has(path)) return undefined
    if (typeof value === 'string' && step.hidden?.[path] !== undefined) return hash(value)
    if (Array.isArray(value)) return value.map((item, i) => walk(item, itemSchema(schemas, i), join(path, String(i))))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, item]) => {
        const kept = walk(item, propertySchema(schemas, key), join(path, key))
        return kept === undefined ? [] : [[key, kept]]
      }),
    )
  }
  const config = walk(step.config, root, '')
  return typeof config === 'object' && config !== null && !Array.isArray(config) ? (config as Record<string, unknown>) : {}
}

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`)

const isUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(text)

/** The URL without credentials. Parts that may contain a token are hashed: a query, and the path of a secret URL that is not a database. */
function placeOf(url: string, secret: boolean): string {
  const bare = url.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, '$1')
  const [, origin, path, rest] = /^([a-z][a-z0-9+.-]*:\/\/[^/?#]*)([^?#]*)(.*)$/is.exec(bare)!
  if (secret) return /^(?:http|ws)/i.test(origin) ? `${origin}/${hash(path + rest)}` : origin + path
  return rest === '' ? bare : `${origin}${path}?${hash(rest)}`
}

const hash = (text: string): string => `#${createHash('sha256').update(text).digest('hex').slice(0, 10)}`

function shown(value: unknown): string {
  const text = canonical(value)
  return text.length <= SHOWN ? text : hash(text)
}
