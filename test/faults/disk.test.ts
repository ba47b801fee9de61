/** A disk that is full, really: a small tmpfs. Needs the right to mount one. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { get, untilStatus } from '../e2e/lib/http.ts'
import { eventually } from '../support/eventually.ts'
import { type Runner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'

const mounted: string[] = []
afterEach(() => {
  for (const dir of mounted.splice(0)) {
    execFileSync('umount', ['-l', dir])
    rmSync(dir, { recursive: true, force: true })
  }
})

/** @returns the directory; undefined: this user may not mount. */
function smallDisk(kilobytes: number): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'tmpfs', dir], { stdio: 'ignore' })
  } catch {
    rmSync(dir, { recursive: true })
    return undefined
  }
  mounted.push(dir)
  return dir
}
const probe = smallDisk(64)

const LINES = 4000
const input = Array.from({ length: LINES }, (_, n) => JSON.stringify({ n, text: 'x'.repeat(100) })).join('\n')
/** A last line that the disk cut short does not count: the next run removes it. */
const numbers = (path: string): number[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line).n as number)
const all = Array.from({ length: LINES }, (_, n) => n)

describe.skipIf(probe === undefined)('full disk', () => {
  const start = (cwd: string, env: Record<string, string>): Runner => startRunner(['run', 'p.yaml', '--log-format', 'json'], { cwd, env })

  test('file sink: not ready with the reason, continues when there is space; SIGTERM before that ends with 1', async () => {
    const disk = smallDisk(256)!
    const [port] = await freePorts(1)
    const yaml = `
name: disk-sink
sources: [{ file: { path: in.jsonl, follow: true } }]
sinks: [{ file: { path: ${join(disk, 'out.jsonl')} } }]
shutdown_timeout: 2s
metrics: { port: ${port} }
`
    const cwd = tempDir({ 'p.yaml': yaml, 'in.jsonl': `${input}\n` })
    writeFileSync(join(disk, 'filler'), Buffer.alloc(100_000))
    let runner = start(cwd, {})
    await eventually(
      async () => expect(await get(port, '/ready')).toMatchObject({ status: 503, body: expect.stringContaining('ENOSPC') }),
      { by: runner },
    )
    runner.kill()
    await runner.exit(1)
    expect(runner.stderr.split('\n').filter(line => line.includes('ENOSPC') && line.includes('"level":"warn"')).length).toBeLessThan(3)
    const before = numbers(join(disk, 'out.jsonl'))
    expect(before).toEqual(all.slice(0, before.length))

    runner = start(cwd, {})
    await eventually(
      async () => expect(await get(port, '/ready')).toMatchObject({ status: 503, body: expect.stringContaining('ENOSPC') }),
      { by: runner },
    )
    execFileSync('mount', ['-o', 'remount,size=4m', disk])
    await untilStatus(runner, port, '/ready', 200)
    await eventually(() => expect(new Set(numbers(join(disk, 'out.jsonl')))).toEqual(new Set(all)), { by: runner })
    runner.kill()
    await runner.exit(0)
  })

  test.each([
    ['embedded log', '{ kafka: { topic: out } }', 'at_least_once'],
    ['embedded log, exactly once', '{ kafka: { topic: out } }', 'exactly_once'],
    ['state', '{ file: { path: out.jsonl } }', 'at_least_once'],
  ])('%s: exit 3 with the reason, and the next run continues without a gap', async (what, sink, delivery) => {
    const disk = smallDisk(700)!
    const yaml = `
name: disk-log
sources: [{ file: { path: in.jsonl } }]
transforms: [{ dedupe: { key: n, ttl: 1h } }]
sinks: [${sink}]
delivery: ${delivery}
metrics: { enabled: false }
`
    const read = `
name: disk-read
sources: [{ kafka: { topics: [out], once: true } }]
sinks: [{ file: { path: read.jsonl } }]
metrics: { enabled: false }
`
    const cwd = tempDir({ 'p.yaml': yaml, 'read.yaml': read, 'in.jsonl': `${input}\n` })
    writeFileSync(join(disk, 'filler'), Buffer.alloc(what === 'state' ? 560_000 : 300_000))
    const env = { RUNNER_STATE_DIR: disk }
    const full = start(cwd, env)
    await full.exit(3)
    expect(full.stderr.split('\n').filter(line => /the disk is full|or is full/.test(line))).toHaveLength(1)
    execFileSync('mount', ['-o', 'remount,size=16m', disk])
    await start(cwd, env).exit(0)
    if (what !== 'state') await startRunner(['run', 'read.yaml'], { cwd, env }).exit(0)
    const found = numbers(join(cwd, what === 'state' ? 'out.jsonl' : 'read.jsonl'))
    expect(new Set(found)).toEqual(new Set(all))
    if (delivery === 'exactly_once') expect(found).toEqual(all)
  })
})
