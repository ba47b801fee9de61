/** Paths that are not writable, and the directories created for those that are. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { makeDirs } from '../../src/kit/make-dirs.ts'
import { runRunner, tempDir } from '../support/runner.ts'

describe.each<[string, string, string]>([
  ['the embedded log', 'kafka: { topics: [a] }', 'stdout: {}'],
  ['triggers', 'trigger: {}', 'stdout: {}'],
  ['the embedded PostgreSQL', 'generate: { fields: { n: { sequence: 0 } }, count: 1 }', 'postgres: { table: t, columns: [n] }'],
  ['the embedded Redis', 'generate: { fields: { n: { sequence: 0 } }, count: 1 }', 'redis: { channel: c }'],
])('%s', (_, source, sink) => {
  // Even root cannot create files in /proc, and the error is that of a missing parent.
  test.each(['/proc/none/state', 'file/state'])('a RUNNER_STATE_DIR of %s exits with 3, and the error names it', async dir => {
    const cwd = tempDir({ file: '', 'p.yaml': `name: p\nsources: [{ ${source} }]\nsinks: [{ ${sink} }]\n` })
    const env = { RUNNER_STATE_DIR: dir, KAFKA_BROKERS: undefined, PG_DSN_RW: undefined, REDIS_URL: undefined }
    const { code, stderr } = await runRunner(['run', 'p.yaml', '--set', 'metrics.enabled=false'], { cwd, env })
    expect(code, stderr).toBe(3)
    expect(stderr).toContain(dir)
  })
})

test('directories are created with their parents, and existing ones are kept', () => {
  const dir = tempDir()
  makeDirs(join(dir, 'a', 'b', 'c'))
  makeDirs(join(dir, 'a', 'b', 'c'))
  expect(existsSync(join(dir, 'a', 'b', 'c'))).toBe(true)
  writeFileSync(join(dir, 'file'), '')
  expect(() => makeDirs(join(dir, 'file'))).toThrow(/EEXIST/)
  expect(() => makeDirs(join(dir, 'file', 'below'))).toThrow(/ENOTDIR/)
})
