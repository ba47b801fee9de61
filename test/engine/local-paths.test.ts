/** Which folders a pipeline keeps local state in, for the warning about network file systems. */
import { expect, test } from 'vitest'
import '../../src/built-in.ts'
import { loadInput } from '../../src/config/load.ts'
import { localPaths } from '../../src/engine/launch.ts'

test.each([
  ['sources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]', []],
  ['sources: [{ kafka: { topics: [t], brokers: "k:9092" } }]\nsinks: [{ http: { url: "https://example.com" } }]', []],
  ['sources: [{ kafka: { topics: [t], brokers: embedded } }]\nsinks: [{ stdout: {} }]', ['/state/']],
  ['sources: [{ stdin: {} }]\nsinks: [{ kafka: { topic: t, brokers: "embedded:/mnt/log" } }]', ['/mnt/log']],
  ['sources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]\ndlq: { kafka: { topic: t, brokers: embedded } }', ['/state/']],
  ['sources: [{ stdin: {} }]\nsinks: [{ postgres: { table: t, columns: [a], dsn: "pglite:/mnt/pg" } }]', ['/mnt/pg']],
  [
    'sources: [{ stdin: {} }]\ntransforms: [{ lookup: { query: "select a, b from t where b = any($keys)", key: b, column: b, as: x, dsn: "pglite:/mnt/l" } }]\nsinks: [{ stdout: {} }]',
    ['/mnt/l'],
  ],
  ['sources: [{ http: { path: /in, port: 8080 } }]\nsinks: [{ stdout: {} }]', ['/state/']],
  ['sources: [{ http: { path: /in, port: 8080, remember: memory } }]\nsinks: [{ stdout: {} }]', []],
])('%s', async (text, paths) => {
  process.env.RUNNER_STATE_DIR = '/state/'
  const { pipeline, problems } = await loadInput(`name: p\n${text}\n`, { env: {} })
  expect(problems.filter(p => p.severity === 'error').map(p => p.message)).toEqual([])
  expect(localPaths(pipeline!)).toEqual(paths)
})
