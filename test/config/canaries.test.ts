/**
 * Canaries in every setting of every plugin: a variable's value is in no report, neither where the file is right nor where that value is
 * what is wrong. Keys that the schema declares `public` are shown in valid files.
 */
import { expect, test } from 'vitest'
import { builtIns } from '../../src/config/built-ins.ts'
import { formatText } from '../../src/config/format.ts'
import { loadText } from '../../src/config/load.ts'
import { alternatives, deref, type Schema, typesOf } from '../../src/config/schema.ts'
import { describe as explain } from '../../src/explain/describe.ts'
import { toMermaid } from '../../src/explain/mermaid.ts'
import { toText } from '../../src/explain/text.ts'

const CANARY = 'canaryBird7'
/** Of a schema's format: a text that is right, with the canary in it where that is possible. */
const RIGHT: Record<string, string> = {
  topic: CANARY,
  identifier: CANARY,
  field: CANARY,
  path: CANARY,
  source_step: 'in',
  expression: 'a',
  duration: '10s',
  size: '1MB',
  window_size: '1m',
  timestamp: '2026-01-01T00:00:00Z',
  time_zone: 'UTC',
}

type Leaf = { readonly path: readonly (string | number)[]; readonly schema: Schema }

/** Every scalar that a config may have, with the lists and maps on the way to it. */
function leaves(schema: Schema, root: Schema, path: Leaf['path'] = [], depth = 0): Leaf[] {
  if (depth > 6) return []
  return alternatives(schema, root).flatMap((choice): Leaf[] => {
    const s = deref(choice, root)
    const inner = [
      ...Object.entries(s.properties ?? {}).flatMap(([key, property]) => leaves(property, root, [...path, key], depth + 1)),
      ...(typeof s.additionalProperties === 'object' ? leaves(s.additionalProperties, root, [...path, 'x-name'], depth + 1) : []),
      ...(s.items && !Array.isArray(s.items) ? leaves(s.items as Schema, root, [...path, 0], depth + 1) : []),
    ]
    const types = typesOf(s)
    const scalar = types.length === 0 ? inner.length === 0 : types.some(t => t !== 'object' && t !== 'array' && t !== 'null')
    return path.length > 0 && scalar ? [...inner, { path, schema: { ...s, public: s.public ?? schema.public } }] : inner
  })
}

/** As little as makes the schema content. */
function minimal(schema: Schema, root: Schema): unknown {
  const s = alternatives(schema, root)[0] ?? schema
  if (s.default !== undefined) return s.default
  if (s.examples?.[0] !== undefined) return s.examples[0]
  if (s.enum) return s.enum[0]
  const [type] = typesOf(s)
  if (type === 'integer' || type === 'number') return s.minimum ?? 1
  if (type === 'boolean') return true
  if (type === 'array') return [minimal((s.items ?? {}) as Schema, root)]
  if (type === 'object') return Object.fromEntries((s.required ?? []).map(key => [key, minimal(s.properties?.[key] ?? {}, root)]))
  return RIGHT[s.format ?? ''] ?? 'text'
}

function put(config: any, path: Leaf['path'], value: unknown): any {
  if (path.length === 0) return value
  const [key, ...rest] = path
  if (typeof key === 'number') return [put(undefined, rest, value)]
  const map = typeof config === 'object' && config !== null && !Array.isArray(config) ? config : {}
  return { ...map, [key]: put(map[key], rest, value) }
}

const plugins = Object.entries(builtIns().plugins).flatMap(([kind, types]) => Object.keys(types).map(type => [kind, type] as const))

/** Files that were valid, and therefore explained. */
let right = 0

test.each(plugins)('%s %s: the values of variables are not shown', async (kind, type) => {
  const { default: plugin } = await builtIns().plugins[kind as 'source'][type]()
  const root = plugin.schema as Schema
  const base = minimal({ ...root, default: undefined, examples: undefined }, root)
  for (const { path, schema } of leaves(root, root)) {
    const written = { [type]: put(base, path, '${CANARY}') }
    const file = {
      name: 'p',
      sources: [kind === 'source' ? written : { stdin: {} }],
      ...(kind === 'transform' ? { transforms: [written] } : {}),
      sinks: [kind === 'sink' ? written : { stdout: {} }],
    }
    const at = `${kind} ${type} ${path.join('.')}`
    for (const value of [RIGHT[schema.format ?? ''] ?? CANARY, `https://user:${CANARY}@host.example/${CANARY}?token=${CANARY}`]) {
      const { pipeline, problems } = await loadText('p.yaml', JSON.stringify(file), { env: { CANARY: value } })
      const isName =
        (schema.public === true || schema.enum !== undefined || RIGHT[schema.format ?? ''] !== undefined) && schema.secret !== true
      expect(formatText(problems) + JSON.stringify(problems), `${at}: problems`).not.toContain(CANARY)
      if (!pipeline) continue
      right++
      if (isName) continue
      const explained = explain(pipeline)
      expect(
        JSON.stringify(explained) + toText(explained, ((_: unknown, s: string) => s) as never, undefined, true) + toMermaid(explained),
        at,
      ).not.toContain(CANARY)
    }
  }
})

test('many of the files above are valid, so that explain is tested, too', () => {
  expect(right).toBeGreaterThan(200)
})
