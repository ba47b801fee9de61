/** Several files in one `runner run`. */
import { expect, test } from 'vitest'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'

const ENDLESS = 'name: endless\nsources: [{ schedule: { every: 1h } }]\nsinks: [{ stdout: {} }]\n'
const topic = (name: string) => `name: ${name}\nsources: [{ kafka: { topics: [t] } }]\nsinks: [{ stdout: {} }]\n`
const file = (name: string, path: string) => `name: ${name}\nsources: [{ file: { path: ${path} } }]\nsinks: [{ stdout: {} }]\n`
const env = { KAFKA_BROKERS: undefined }

test('a pipeline that stops is reported while the others continue', async () => {
  const runner = startRunner(['run', 'a.yaml', 'b.yaml'], {
    cwd: tempDir({ 'a.yaml': ENDLESS, 'b.yaml': file('stops', 'missing.jsonl') }),
    env,
  })
  await runner.line(/"level":"error".*missing.jsonl/, 60_000)
  runner.kill('SIGTERM')
  await runner.exit(3)
  expect(runner.stderr).toContain('"pipeline":"endless"')
})

test('two pipelines of one name are refused, and so are bounds that are empty or that a source does not support', async () => {
  const cwd = tempDir({ 'a.yaml': topic('same'), 'b.yaml': topic('same'), 'c.yaml': ENDLESS })
  const refused = async (...args: string[]): Promise<string> => {
    const { code, stderr } = await runRunner(['run', ...args], { cwd, env })
    expect(code, stderr).toBe(2)
    return stderr
  }
  expect(await refused('a.yaml', 'b.yaml')).toContain('b.yaml: another file has the name same, too')
  expect(await refused('a.yaml', '--from', '2026-01-02', '--to', '2026-01-01')).toContain('--from must be earlier than --to')
  expect(await refused('a.yaml', 'c.yaml', '--from', '2026-01-02')).toContain('c.yaml: source schedule cannot be read by time')
})

test('test files in a glob of the shell are ignored', async () => {
  const cwd = tempDir({ 'a.yaml': topic('a'), 'a.test.yaml': 'tests: []\n' })
  await runRunner(['topics', 'create', 't'], { cwd, env })
  expect(await runRunner(['run', 'a.test.yaml', 'a.yaml', '--until-idle', '100ms'], { cwd, env })).toMatchObject({ code: 0 })
  expect(await runRunner(['run', 'a.test.yaml'], { cwd, env })).toMatchObject({ code: 2 })
})
