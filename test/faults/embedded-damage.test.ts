/** The embedded log is emptied, cut, damaged, deleted or replaced under a running pipeline, or between two runs: one line says so, and the run ends with exit code 3. */
import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { embeddedBackend } from '../e2e/lib/backend.ts'
import { untilStatus } from '../e2e/lib/http.ts'
import { startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'

const RECORDS = 500
const fill = Array.from({ length: RECORDS }, (_, i) => ({ value: JSON.stringify({ n: i, text: 'x'.repeat(200) }) }))

/** Flips a bit in the middle of every page but the first. */
function flip(path: string): void {
  const bytes = readFileSync(path)
  for (let page = 4096; page < bytes.length; page += 4096) bytes[page + 2048] ^= 1
  writeFileSync(path, bytes)
}
const half = (path: string): void => truncateSync(path, Math.floor(readFileSync(path).length / 2 / 4096) * 4096)
function replace(path: string): void {
  writeFileSync(`${path}.other`, readFileSync(path))
  renameSync(`${path}.other`, path)
}

test.each<[what: string, running: boolean, fault: (path: string) => void, reason: RegExp]>([
  ['emptied', true, path => truncateSync(path, 0), /was emptied while it was in use|is damaged/],
  ['deleted', true, path => rmSync(path), /was deleted while it was in use/],
  ['replaced', true, replace, /was replaced by another file while it was in use/],
  ['emptied', false, path => truncateSync(path, 0), /is empty|0 bytes/],
  ['cut', false, half, /is damaged|malformed/],
  ['flipped', false, flip, /is damaged|malformed/],
])('%s, while it runs: %s', async (_, running, fault, reason) => {
  const cwd = tempDir()
  const backend = embeddedBackend(cwd)
  const [IN, OUT] = [await backend.topic('in'), await backend.topic('out')]
  const [port] = await freePorts(1)
  const yaml = `
name: damaged
sources: [{ kafka: { topics: [${IN}] } }]
sinks: [{ kafka: { topic: ${OUT} } }]
delivery: exactly_once
metrics: { port: ${port} }
`
  writeFileSync(join(cwd, 'p.yaml'), yaml)
  const path = join(cwd, '.runner', 'log.db')
  const start = () => startRunner(['run', 'p.yaml', '--log-format', 'json'], { cwd, env: backend.env })
  await backend.produce(IN, fill)
  let runner = running ? start() : undefined
  if (runner) {
    await untilStatus(runner, port, '/ready', 200)
    await backend.waitFor(OUT, RECORDS)
  }
  // Nothing else has the file open.
  await backend.close()
  for (const end of running ? [] : ['-wal', '-shm']) rmSync(path + end, { force: true })
  fault(path)
  const after = running ? undefined : readFileSync(path)
  runner ??= start()
  await runner.exit(3)
  const lines = runner.stderr.split('\n').filter(line => reason.test(line))
  expect(lines, runner.stderr).toHaveLength(1)
  expect(lines[0]).toContain('log.db')
  expect(lines[0]).not.toContain('Correct the plugin')
  // Nothing makes a new log of it.
  if (after?.length === 0) expect(readFileSync(path)).toHaveLength(0)
})
