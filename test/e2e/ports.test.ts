/** `examples/ports`: a built-in port. And topics of the embedded log that are read before they are there. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { eventually } from '../support/eventually.ts'

const EXAMPLE = join(import.meta.dirname, '../../examples/ports')

test('examples/ports passes its tests and runs: records that do not fit are in a separate file with the reason', async () => {
  const tested = await runRunner(['test', join(EXAMPLE, 'pipeline.test.yaml')])
  expect(tested.code, tested.stdout + tested.stderr).toBe(0)
  const cwd = tempDir(Object.fromEntries(['pipeline.yaml', 'orders.jsonl'].map(name => [name, readFileSync(join(EXAMPLE, name))])))
  const { code, stdout, stderr } = await runRunner(['run', 'pipeline.yaml'], { cwd })
  expect(code, stderr).toBe(0)
  expect(stdout).toBe('{"order":1,"amount":20}\n')
  const lines = readFileSync(join(cwd, 'invalid.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(l => JSON.parse(l) as any)
  expect(lines.map(l => l.value)).toEqual([{ order: 2, amount: -1 }, { order: 3 }])
  expect(lines.map(l => l.headers.error_message)).toEqual([expect.stringContaining('amount'), expect.stringContaining('amount')])
})

test('reading creates no topic on the embedded log: a log line reports it, and records that are written later are read from the first one', async () => {
  const cwd = tempDir({
    'read.yaml': 'name: read\nsources: [{ kafka: { topics: [orders], start_at: latest } }]\nsinks: [{ file: out.jsonl }]\n',
    'write.yaml': 'name: write\nsources: [{ file: in.jsonl }]\nsinks: [{ kafka: { topic: orders, partitions: 3 } }]\n',
    'in.jsonl': '{"n":1}\n{"n":2}\n',
  })
  const env = { KAFKA_BROKERS: undefined }
  const reader = startRunner(['run', 'read.yaml', '--log-format', 'json'], { cwd, env })
  await reader.line('topic orders does not exist in the embedded log')
  const topics = async (): Promise<any[]> =>
    JSON.parse((await runRunner(['topics', 'list', '--json'], { cwd, env })).stdout).topics as any[]
  expect(await topics()).toEqual([])
  expect((await runRunner(['run', 'write.yaml'], { cwd, env })).code).toBe(0)
  await eventually(() => expect(readFileSync(join(cwd, 'out.jsonl'), 'utf8').trim().split('\n').toSorted()).toEqual(['{"n":1}', '{"n":2}']))
  // The writer's settings hold.
  expect(await topics()).toMatchObject([{ name: 'orders', partitions: 3 }])
  reader.kill('SIGTERM')
  await reader.exit(0)
  // Waiting for a topic is idleness, too.
  const idle = await runRunner(
    ['run', 'read.yaml', '--until-idle', '500ms', '--set', 'sources[0].kafka.topics=[nothing]', '--set', 'name=idle'],
    { cwd, env },
  )
  expect(idle.code, idle.stderr).toBe(0)
})
