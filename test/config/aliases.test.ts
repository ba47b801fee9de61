/** A renamed key keeps working under its old name, and a warning shows the new one. */
import { describe, expect, test } from 'vitest'
import { renameOldKeys } from '../../src/config/aliases.ts'
import { composeSchema } from '../../src/config/compose.ts'
import { formatText } from '../../src/config/format.ts'
import { loadText } from '../../src/config/load.ts'
import { parseText } from '../../src/config/parse.ts'
import { excerptOf, Problems } from '../../src/config/problems.ts'
import type { Schema } from '../../src/config/schema.ts'
import { SourceText, toValue } from '../../src/config/tree.ts'
import kafka from '../../src/connectors/kafka/source.ts'
import lookup from '../../src/connectors/postgres/transforms/lookup.ts'
import sql from '../../src/connectors/postgres/transforms/sql.ts'
import postgres from '../../src/connectors/postgres/source.ts'
import outbox from '../../src/connectors/postgres/outbox/source.ts'
import websocket from '../../src/connectors/websocket/source.ts'

const file = (keys: string): string => `name: a
sources:
  - kafka:
      topics: [t]
      brokers: broker:9092
${keys.replaceAll(/^/gm, '      ')}
sinks: [{ stdout: {} }]
`

test.each([kafka, websocket, postgres, outbox, lookup, sql].map(p => [p.type, p.schema as Schema] as const))(
  '%s: every ssl_ key is an alias of the tls_ key',
  (_, schema) => {
    const aliases = Object.entries(schema.properties!).flatMap(([name, p]) =>
      (p.aliases ?? []).filter(a => a.startsWith('ssl_')).map(alias => [alias, name]),
    )
    expect(aliases.length).toBeGreaterThanOrEqual(4)
    for (const [alias, name] of aliases) expect(alias.replace('ssl_', 'tls_')).toBe(name)
  },
)

test('an alias gives the same pipeline, and one warning with its position', async () => {
  const old = await loadText('p.yaml', file('ssl_ca: ca.pem\nssl_insecure_skip_verify: true'), { env: {} })
  const today = await loadText('p.yaml', file('tls_ca: ca.pem\ntls_insecure_skip_verify: true'), { env: {} })
  expect(today.problems).toEqual([])
  expect(old.pipeline?.sources[0].config).toEqual(today.pipeline?.sources[0].config)
  expect(old.pipeline?.hash).toBe(today.pipeline?.hash)
  expect(old.problems).toEqual([
    expect.objectContaining({
      code: 'CONFIG_OLD_NAME',
      severity: 'warning',
      line: 6,
      column: 7,
      path: 'sources[0].kafka.ssl_ca',
      suggestion: 'tls_ca',
    }),
    expect.objectContaining({ code: 'CONFIG_OLD_NAME', severity: 'warning', line: 7, path: 'sources[0].kafka.ssl_insecure_skip_verify' }),
  ])
  expect(
    formatText(old.problems.slice(0, 1)),
  ).toBe(`p.yaml:6:7 warning CONFIG_OLD_NAME ssl_ca is now called tls_ca; the old name still works (at sources[0].kafka.ssl_ca)
    6 |       ssl_ca: ca.pem
      |       ^^^^^^
      write: tls_ca
`)
})

test('errors under an alias point to the written key', async () => {
  const { pipeline, problems } = await loadText('p.yaml', file('ssl_insecure_skip_verify: maybe'), { env: {} })
  expect(pipeline).toBeUndefined()
  expect(problems.find(p => p.severity === 'error')).toMatchObject({ code: 'CONFIG_TYPE', line: 6, column: 33 })
})

test('a secret under an alias is not shown', async () => {
  const { problems } = await loadText('p.yaml', file('ssl_key_password: hunter2'), { env: {} })
  expect(problems).toHaveLength(1)
  expect(excerptOf(problems[0])).toBe('      ssl_key_password: *******')
})

test('an alias together with its key is an error', async () => {
  const { pipeline, problems } = await loadText('p.yaml', file('ssl_ca: old.pem\ntls_ca: new.pem'), { env: {} })
  expect(pipeline).toBeUndefined()
  expect(problems).toMatchObject([
    { code: 'CONFIG_DUPLICATE_KEY', line: 6, message: 'ssl_ca is the old name of tls_ca, and tls_ca is set too: remove ssl_ca' },
  ])
})

test('an override may use an alias', async () => {
  const { pipeline } = await loadText('p.yaml', file(''), { env: {}, set: ['sources[0].kafka.ssl_ca=x.pem'] })
  expect(pipeline?.sources[0].config.tls_ca).toBe('x.pem')
})

describe('aliases work anywhere in a schema', () => {
  const schema: Schema = {
    type: 'object',
    properties: {
      window: { $ref: '#/$defs/window' },
      list: { type: 'array', items: { anyOf: [{ type: 'string' }, { $ref: '#/$defs/window' }] } },
      by: { type: 'object', additionalProperties: { $ref: '#/$defs/window' } },
      // Reused by another key: no longer an alias.
      size: { type: 'string', aliases: ['list'] },
    },
    $defs: { window: { type: 'object', properties: { every: { type: 'string', aliases: ['hop', 'slide'] } } } },
  }
  const rename = (text: string): { value: unknown; warned: string[] } => {
    const problems = new Problems()
    const tree = parseText(new SourceText('x', text), problems)!
    const value = toValue(renameOldKeys(tree, schema, schema, [], problems))
    return { value, warned: problems.list().map(p => p.path) }
  }
  test.each([
    ['window: { hop: 1s }', { window: { every: '1s' } }, ['window.hop']],
    ['window: { slide: 1s }', { window: { every: '1s' } }, ['window.slide']],
    ['list: [a, { hop: 1s }]', { list: ['a', { every: '1s' }] }, ['list[1].hop']],
    ['by: { hop: { hop: 1s } }', { by: { hop: { every: '1s' } } }, ['by.hop.hop']],
    ['window: { every: 1s }', { window: { every: '1s' } }, []],
  ])('%s', (text, value, warned) => expect(rename(text)).toEqual({ value, warned }))

  test('the editor schema has the aliases, as deprecated', () => {
    const composed = composeSchema({ $defs: { source: {}, transform: {}, sink: {}, dlq: {} } }, [
      { kind: 'transform', type: 'x', schema },
    ]) as any
    const window = composed.$defs['transform.x'].$defs.window ?? composed.$defs['transform.x'].anyOf[0].$defs.window
    expect(window.properties.hop).toEqual({
      type: 'string',
      description: 'Old name of `every`.',
      deprecated: true,
      deprecationMessage: 'Old name of `every`.',
    })
  })
})
