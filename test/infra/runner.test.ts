import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'

/** Runs until it is told to end. */
const ENDLESS = `
name: endless
sources: [{ generate: { rate: 10, fields: { n: { sequence: 1 } } } }]
sinks: [{ stdout: {} }]
`

describe('the runner as a process', () => {
  test('collects both outputs and the exit code, in a directory of its own', async () => {
    const { code, signal, stdout, stderr, cwd } = await runRunner(['--version'])
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect(existsSync(cwd)).toBe(true)
  })

  test('an unexpected exit code fails with the output', async () => {
    const runner = startRunner(['no-such-command'])
    await expect(runner.exit(0)).rejects.toThrow(/no-such-command: exit [1-9][\s\S]*--- stderr[\s\S]*unknown command/)
  })

  test('a line that never comes fails with the output as soon as the process ends', async () => {
    await expect(startRunner(['--version']).line('never printed')).rejects.toThrow(
      /ended before a line matched never printed[\s\S]*\d+\.\d+\.\d+/,
    )
  })

  test('waits for a line, then ends it by signal', async () => {
    const runner = startRunner(['run', 'endless.yaml'], { cwd: tempDir({ 'endless.yaml': ENDLESS }) })
    expect(await runner.line(/"n":1/)).toContain('"n":1')
    runner.kill('SIGKILL')
    expect(await runner.exited).toEqual({ code: null, signal: 'SIGKILL' })
    expect(existsSync(`/proc/${runner.pid}`)).toBe(false)
  })
})
