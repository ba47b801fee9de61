import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { get, untilStatus } from '../e2e/lib/http.ts'
import { eventually } from '../support/eventually.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'

/** Runs until it gets a signal. */
const ENDLESS = `
name: endless
sources: [{ generate: { rate: 10, fields: { n: { sequence: 1 } } } }]
sinks: [{ stdout: {} }]
`

describe('the runner as a process', () => {
  test('collects both outputs and the exit code, in its own directory', async () => {
    const { code, signal, stdout, stderr, cwd } = await runRunner(['--version'])
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect(existsSync(cwd)).toBe(true)
  })

  test('an unexpected exit code fails with the output', async () => {
    const runner = startRunner(['no-such-command'])
    await expect(runner.exit(0)).rejects.toThrow(
      /no-such-command \(exit [1-9]\): expected exit code 0[\s\S]*--- stderr[\s\S]*unknown command/,
    )
  })

  test('a missing line fails with the output as soon as the process ends', async () => {
    await expect(startRunner(['--version']).line('never printed')).rejects.toThrow(
      /ended before a line matched never printed[\s\S]*\d+\.\d+\.\d+/,
    )
  })

  test('waits for a line, then stops the process with a signal', async () => {
    const runner = startRunner(['run', 'endless.yaml'], { cwd: tempDir({ 'endless.yaml': ENDLESS }) })
    expect(await runner.line(/"n":1/)).toContain('"n":1')
    runner.kill('SIGKILL')
    expect(await runner.exited).toEqual({ code: null, signal: 'SIGKILL' })
    expect(existsSync(`/proc/${runner.pid}`)).toBe(false)
  })
})

describe('waiting for a process', () => {
  const never = (): never => {
    throw new Error('nothing came')
  }
  test('fails at once, with the output and the exit code, when the process has ended', async () => {
    const [port] = await freePorts(1)
    const runner = startRunner(['no-such-command'])
    await expect(untilStatus(runner, port, '/ready', 200)).rejects.toThrow(
      /no-such-command \(exit 2\): ended, while it was waited for: \/ready is not served, not 200[\s\S]*--- stderr[\s\S]*unknown command/,
    )
  })

  test('fails in the same way without a named process, if one ends meanwhile', async () => {
    startRunner(['no-such-command'])
    await expect(eventually(never)).rejects.toThrow(/no-such-command \(exit 2\): ended, while it was waited for: nothing came/)
  })

  test('does not fail for a process that the test stopped or waits for', async () => {
    const killed = startRunner(['run', 'endless.yaml'], { cwd: tempDir({ 'endless.yaml': ENDLESS }) })
    killed.kill('SIGKILL')
    await startRunner(['--version']).exit(0)
    let tries = 0
    await eventually(() => expect(++tries).toBe(5), { interval: 1 })
    await expect(eventually(never, { timeout: 1 })).rejects.toThrow(/^not within 1 ms: nothing came/)
  })

  test('prints the output after the limit if a process runs and never listens', async () => {
    const [port] = await freePorts(1)
    const runner = startRunner(['run', 'endless.yaml'], { cwd: tempDir({ 'endless.yaml': ENDLESS }) })
    await runner.line(/"n":1/)
    await expect(untilStatus(runner, port, '/ready', 200, 1)).rejects.toThrow(
      /not within 1 ms: \/ready is not served[\s\S]*runner run endless.yaml: is running\n--- stdout\n\{"n":1\}/,
    )
    expect(await get(port, '/ready')).toEqual({ status: 0, body: '' })
    runner.kill('SIGKILL')
  })
})

test('processes that request free ports at the same time get different ones', async () => {
  const script = `import { freePorts } from ${JSON.stringify(new URL('../support/servers/ports.ts', import.meta.url).href)}
console.log(JSON.stringify(await freePorts(300)))
process.stdin.resume().once('end', () => process.exit())`
  const all = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const running = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
      const line = await new Promise<string>(resolve => running.child.stdout!.once('data', chunk => resolve(String(chunk))))
      return { ports: JSON.parse(line) as number[], running }
    }),
  )
  for (const { running } of all) running.child.stdin!.end()
  await Promise.all(all.map(a => a.running))
  const ports = all.flatMap(a => a.ports)
  expect(ports).toHaveLength(1200)
  expect(new Set(ports).size).toBe(1200)
})
