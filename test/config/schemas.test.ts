/** The schemas are the only description of the plugins: they must be complete, and everything generated must follow from them. */
import { globSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Ajv } from 'ajv'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import frame from '../../schemas/frame.schema.json' with { type: 'json' }
import { gen } from '../../src/cli/gen/all.ts'
import { discover } from '../../src/cli/gen/discover.ts'
import tlsKeys from '../../src/kit/keys/tls.schema.json' with { type: 'json' }
import { PLUGINS } from '../../src/generated/plugins.ts'
import { ajvOptions, prepareAjv, quicklyValid, useQuick, validator } from '../../src/config/ajv.ts'
import { composeSchema } from '../../src/config/compose.ts'
import { fill } from '../../src/config/fill.ts'
import { diagnose } from '../../src/config/diagnose.ts'
import { Problems } from '../../src/config/problems.ts'
import { loadQuick } from '../../src/config/built-ins.ts'
import { deref, type Schema } from '../../src/config/schema.ts'
import { SourceText } from '../../src/config/tree.ts'
import { mutationsOf } from './mutations.ts'

const root = resolve(import.meta.dirname, '../..')
const plugins = await discover(root)
const FRAME = frame as unknown as Schema
const described: [string, Schema][] = [['frame', FRAME], ...plugins.map(p => [`${p.kind}.${p.type}`, p.schema] as [string, Schema])]

test('generated files are up to date', async () => {
  expect(await gen(root, true)).toBe(0)
})

test('schema files do not repeat keys: shared keys are defined once', () => {
  const seen = new Map<string, string>()
  const copies: string[] = []
  for (const file of globSync('src/**/*.schema.json')) {
    const { properties = {} } = JSON.parse(readFileSync(file, 'utf8')) as Schema
    for (const [key, property] of Object.entries(properties)) {
      // Without a description it only extends a shared key.
      if (property.description === undefined) continue
      const id = `${key}: ${JSON.stringify(property)}`
      if (seen.has(id)) copies.push(`${key} of ${file} is the one of ${seen.get(id)}`)
      seen.set(id, file)
    }
  }
  expect(copies).toEqual([])
})

test('TLS keys have the same names and descriptions everywhere', () => {
  for (const p of plugins) {
    for (const [key, property] of Object.entries(p.schema.properties ?? {})) {
      expect(key, p.type).not.toMatch(/^ssl/)
      if (!key.startsWith('tls_') || key === 'tls_mode') continue
      const shared = (tlsKeys.properties as Record<string, Schema>)[key]
      expect({ ...property, default: 0 }, `${p.type}.${key}`).toMatchObject({ description: shared.description, type: shared.type })
    }
  }
})

test('every plugin folder is in the map, and its module has the same kind and type', async () => {
  expect(plugins.length).toBeGreaterThan(10)
  for (const p of plugins) {
    const loaders: Record<string, () => Promise<{ default: any }>> = PLUGINS[p.kind]
    const { default: plugin } = await loaders[p.type]()
    expect([plugin.kind, plugin.type]).toEqual([p.kind, p.type])
    expect(plugin.schema).toEqual(p.schema)
  }
})

describe.each(described)('%s', (_, schema) => {
  test('compiles, and uses only known keywords', async () => {
    await expect(validator(schema)).resolves.toBeTypeOf('function')
  })
  test('rejects unknown keys, and every key has a description', () => {
    for (const [path, property] of propertiesOf(schema)) expect(property.description, path).toBeTruthy()
    if (schema !== FRAME) expect(schema.additionalProperties).toBe(false)
    expect(schema.description).toBeTruthy()
  })
  test('every default and every example is valid', async () => {
    for (const [path, property] of propertiesOf(schema)) {
      const values = [...(property.default === undefined ? [] : [property.default]), ...(property.examples ?? [])]
      const own: Schema = { ...property, $defs: schema.$defs, definitions: schema.definitions }
      for (const value of values) expect(await diagnose(resolved(value, own), own), `${path}: ${JSON.stringify(value)}`).toEqual([])
    }
  })
})

/** As the loader does: `${VAR:-x}` is x, in the type that is wanted. */
function resolved(value: unknown, schema: Schema): unknown {
  const span = { source: new SourceText('x', ''), start: 0, end: 0 }
  const holder: Schema = {
    ...schema,
    type: 'object',
    properties: { v: { ...schema, default: value } },
    anyOf: undefined,
    required: undefined,
  }
  const filled = fill({ kind: 'map', span, entries: new Map() }, holder, [], {
    root: holder,
    env: {},
    base: '.',
    problems: new Problems(),
    at: span,
    unresolved: new Set(),
    lenient: true,
  })
  return (filled as { v: unknown }).v
}

function propertiesOf(schema: Schema): [string, Schema][] {
  const out: [string, Schema][] = []
  const walk = (s: Schema, path: string): void => {
    for (const [key, property] of Object.entries(s.properties ?? {})) {
      out.push([`${path}.${key}`, deref(property, schema)])
      walk(property, `${path}.${key}`)
    }
    for (const part of [...(s.anyOf ?? []), ...(s.oneOf ?? []), ...(s.allOf ?? [])]) walk(part, path)
    if (s.items && !Array.isArray(s.items)) walk(s.items as Schema, `${path}[]`)
    if (typeof s.additionalProperties === 'object') walk(s.additionalProperties, `${path}.*`)
    for (const [name, def] of Object.entries({ ...s.$defs, ...s.definitions })) walk(def, `${path}#${name}`)
  }
  walk(schema, '')
  return out
}

describe('precompiled validators', () => {
  test('match their schemas and agree with ajv', async () => {
    const text = readFileSync('test/config/corpus/kafka.yaml', 'utf8')
    const values: unknown[] = [{}, [], null, 'x', 1, parse(text)]
    for (const m of (await mutationsOf('test/config/corpus/kafka.yaml')).filter((_, i) => i % 20 === 0)) {
      try {
        const value = parse(m.text, { logLevel: 'silent' })
        values.push(value, value.sources?.[0]?.kafka, value.transforms?.[1]?.bars, value.sinks?.[0]?.kafka)
      } catch {}
    }
    for (const [id, schema] of described) {
      const made = await loadQuick(id)
      if (!made) continue
      useQuick(schema, made)
      const validate = await validator(schema)
      for (const v of values) expect(quicklyValid(schema, v)).toBe(validate(v).length === 0)
    }
  })
  test('are not used once the schema has changed', async () => {
    const made = (await loadQuick('transform.filter'))!
    const changed: Schema = { type: 'object' }
    useQuick(changed, made)
    expect(quicklyValid(changed, {})).toBe(false)
  })
})

describe('the composed schema in an editor', () => {
  const composed = composeSchema(FRAME, plugins)
  // Editors support draft-07 and its standard formats, not those of the runner.
  const ajv = new Ajv({ strict: false, allErrors: true })
  const validate = ajv.compile(composed)
  const files = [...globSync('pipelines/*.yaml'), ...globSync('test/config/corpus/*.yaml'), ...globSync('examples/*/*.yaml')].filter(
    f => !f.includes('.test.'),
  )

  test.each(files)('accepts %s', file => {
    expect(validate(parse(readFileSync(file, 'utf8'))), JSON.stringify(validate.errors?.slice(0, 3))).toBe(true)
  })

  test('rejects the errors that a schema can detect', async () => {
    const visible =
      /^(typo|bad duration|bad size|not a (boolean|number)|not an integer|too (small|large)|unknown word|zzzz|unknown key|text for a)/
    let seen = 0
    for (const m of (await mutationsOf('test/config/corpus/kafka.yaml')).filter(x => visible.test(x.title))) {
      seen++
      expect(validate(parse(m.text, { logLevel: 'silent' })), m.title).toBe(false)
    }
    expect(seen).toBeGreaterThan(400)
  })

  test('describes every key of every plugin', () => {
    for (const p of plugins)
      for (const key of Object.keys(p.schema.properties ?? {}))
        expect(JSON.stringify(composed)).toContain(JSON.stringify(p.schema.properties![key].description))
  })

  test('a file with its own plugins may use names outside the schema', () => {
    const value = { name: 'x', plugins: ['a.ts'], sources: [{ mine: {} }], sinks: [{ stdout: {} }] }
    expect(validate(value)).toBe(true)
    expect(validate({ ...value, plugins: [] })).toBe(false)
  })
})

test('the ajv options are strict', () => {
  expect(() => prepareAjv(new Ajv({ ...ajvOptions })).compile({ type: 'object', nonsense: 1 })).toThrow('nonsense')
})
