/** The result of loading a valid file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatText } from '../../src/config/format.ts'
import { loadPipeline, loadText } from '../../src/config/load.ts'
import type { Pipeline } from '../../src/config/model.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'load-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const BASE = `name: x
sources: [{ kafka: { topics: [a], group: g } }]
sinks: [{ kafka: { topic: b } }]
`

async function pipelineOf(text: string, env: Record<string, string> = {}, set: string[] = []): Promise<Pipeline> {
  const { pipeline, problems } = await loadText(join(folder, 'p.yaml'), text, { env, set })
  expect(problems.filter(p => p.severity === 'error')).toEqual([])
  return pipeline!
}

test('the top-level defaults', async () => {
  const p = await pipelineOf(BASE)
  expect(p).toMatchObject({
    version: 1,
    transforms: [],
    delivery: 'at_least_once',
    commit_interval: 1000,
    max_in_flight: 10_000,
    shutdown_timeout: 30_000,
    retry: { initial_delay: 100, max_delay: 30_000, breaker_failures: 5, breaker_reset: 1000 },
    metrics: { enabled: false, host: '127.0.0.1', port: 8000 },
  })
  expect(p.dlq).toBeUndefined()
  expect((await pipelineOf(`${BASE}delivery: exactly_once`)).commit_interval).toBe(100)
  expect((await pipelineOf(`${BASE}delivery: exactly_once\ncommit_interval: 2s`)).commit_interval).toBe(2000)
})

test('metrics are enabled by the key, otherwise by the environment', async () => {
  expect((await pipelineOf(`${BASE}metrics: {}`)).metrics).toMatchObject({ enabled: true, host: '127.0.0.1', port: 8000, linger: 0 })
  expect((await pipelineOf(`${BASE}metrics: { port: 1 }`, { KAFKA_METRICS_ENABLED: 'false' })).metrics!.enabled).toBe(true)
  expect((await pipelineOf(BASE, { KAFKA_METRICS_ENABLED: '1', KAFKA_METRICS_PORT: '9' })).metrics).toMatchObject({
    enabled: true,
    port: 9,
  })
  expect((await pipelineOf(BASE, {}, ['metrics.port=7'])).metrics).toMatchObject({ enabled: true, port: 7 })
})

test('durations and sizes become numbers, values of variables are converted, plugin defaults are filled in', async () => {
  const p = await pipelineOf(
    `name: x
sources: [{ kafka: { topics: ["\${T}"], group: "\${G}", max_bytes: 3MiB, max_poll_records: "\${N:-7}", tls_insecure_skip_verify: "\${S:-yes}" } }]
transforms: [{ bars: 1m }, { map: meta }]
sinks: [{ kafka: { topic: b, key: "\${K:-123}" } }]
`,
    { T: 'ticks', G: '42', KAFKA_BROKERS: 'h:1', KAFKA_LINGER_MS: '33' },
  )
  expect(p.sources[0].config).toMatchObject({
    topics: ['ticks'],
    group: '42',
    max_bytes: 3 * 1024 ** 2,
    max_poll_records: 7,
    tls_insecure_skip_verify: true,
    session_timeout: 30_000,
    brokers: 'h:1',
  })
  expect(p.transforms[0].config).toMatchObject({
    interval: 60_000,
    allowed_lateness: 2000,
    on_late: 'drop',
    fields: { symbol: 'symbol', price: 'price' },
  })
  expect(p.sinks[0].config).toMatchObject({ key: '123', linger_ms: 33 })
})

test('names: configured ones first, then the type, numbered if taken', async () => {
  const p = await pipelineOf(`name: x
sources: [{ kafka: { topics: [a], group: g } }, { kafka: { topics: [c], group: g } }]
transforms: [{ filter: "true" }, { filter: "true", name: filter }, { filter: "true" }]
sinks: [{ kafka: { topic: b } }, { kafka: { topic: d }, name: kafka_2 }]
dlq: { kafka: { topic: e } }
`)
  expect(p.sources.map(s => s.name)).toEqual(['kafka', 'kafka_3'])
  expect(p.transforms.map(s => s.name)).toEqual(['filter_2', 'filter', 'filter_3'])
  expect(p.sinks.map(s => s.name)).toEqual(['kafka_4', 'kafka_2'])
  expect(p.dlq!.name).toBe('dlq')
})

test('steps have their location and their condition', async () => {
  const p = await pipelineOf(`${BASE}transforms:\n  - bars: 1m\n    when: price > 1.0\n`)
  expect(p.transforms[0]).toMatchObject({ type: 'bars', when: 'price > 1.0', at: { line: 5, column: 5 } })
})

test('a disabled step is omitted, and its variables may be missing', async () => {
  const text = `${BASE}transforms:\n  - filter: "\${NOPE}"\n    enabled: \${ON:-0}\ndlq: { kafka: { topic: "\${DLQ}" }, enabled: "\${DLQ_ON:-false}" }\n`
  const p = await pipelineOf(text)
  expect(p.transforms).toEqual([])
  expect(p.dlq).toBeUndefined()
  const on = await loadText('p.yaml', text, { env: { ON: '1', DLQ_ON: 'true' } })
  expect(on.problems.map(x => x.code)).toEqual(['CONFIG_ENV_MISSING', 'CONFIG_ENV_MISSING'])
})

test('secrets: problems show their paths, never their values', async () => {
  writeFileSync(join(folder, 'pw'), 'canary-file\n')
  const p = await pipelineOf(
    BASE.replace('group: g', 'group: g, security_protocol: SASL_SSL, sasl_username: u, sasl_password: "${file:pw}"'),
  )
  expect(p.sources[0].config.sasl_password).toBe('canary-file')
  expect(p.sources[0].secrets).toContain('sasl_password')
  const bad = async (config: string, env: Record<string, string> = {}): Promise<string> => {
    const { problems } = await loadText(join(folder, 'p.yaml'), BASE.replace('group: g', `group: g, ${config}`), { env })
    expect(problems.length).toBeGreaterThan(0)
    return formatText(problems) + JSON.stringify(problems)
  }
  for (const text of [
    await bad('sasl_password: [canary]'),
    await bad('sasl_password: 1234canary5678, nope: 1'),
    await bad('sasl_pasword: canary'),
    await bad('max_bytes: "${file:pw}"'),
    await bad('max_poll_records: "${DB_PASSWORD}"', { DB_PASSWORD: 'canary' }),
    await bad('sasl_password: "${P}", nope: 1', { P: 'canary' }),
  ])
    expect(text).not.toContain('canary')
})

test('--set overrides the file, in order', async () => {
  const p = await pipelineOf(BASE, {}, [
    'sinks[0].kafka.topic=c',
    'sinks.0.kafka.topic=d',
    'version=3',
    'retry.max_delay=9s',
    'sources[0].kafka.topics=[q, r]',
    'description=a: b # c',
  ])
  expect(p.sinks[0].config.topic).toBe('d')
  expect(p).toMatchObject({ version: 3, description: 'a: b # c' })
  expect(p.retry).toMatchObject({ max_delay: 9000, initial_delay: 100 })
  expect(p.sources[0].config.topics).toEqual(['q', 'r'])
})

test('the hash changes only with settings that affect the result', async () => {
  const hash = async (text: string, env: Record<string, string> = {}): Promise<string> => (await pipelineOf(text, env)).hash
  const base = await hash(BASE)
  expect(await hash(`# other\n${BASE}commit_interval: 5s\nmetrics: { port: 1 }\nmax_in_flight: 5\n`)).toBe(base)
  expect(await hash(BASE.replace('topics: [a], group: g', 'group: g, topics: [a]'))).toBe(base)
  expect(await hash(BASE, { KAFKA_SASL_PASSWORD: 'x' })).toBe(base)
  const others = [
    BASE.replace('topic: b', 'topic: c'),
    `${BASE}version: 2`,
    `${BASE}transforms: [{ filter: "true" }]`,
    `${BASE}dlq: { kafka: { topic: d } }`,
    `${BASE}delivery: exactly_once`,
  ]
  const hashes = await Promise.all([BASE, ...others].map(t => hash(t)))
  expect(new Set(hashes).size).toBe(hashes.length)
})

test('loading the same file twice gives the same result, also concurrently', async () => {
  const file = join(folder, 'same.yaml')
  writeFileSync(file, `\uFEFF${BASE.replaceAll('\n', '\r\n')}`)
  const all = await Promise.all([loadPipeline(file, { env: {} }), loadPipeline(file, { env: {} })])
  expect(all[0].problems).toEqual([])
  expect(all[0].pipeline!.hash).toBe(all[1].pipeline!.hash)
  expect(all[0].pipeline!.sources[0].at).toMatchObject({ line: 2, column: 13 })
})
