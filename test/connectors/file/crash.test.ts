/** The whole runner, killed while it writes: from a file, through bars, to files. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { cleanTicks } from '../../../examples/data/make-ticks.mjs'
import { goldenBars } from '../../support/golden-bars.ts'
import { scratch } from './scratch.ts'

const at = scratch()
const runner = fileURLToPath(new URL('../../../bin/runner.js', import.meta.url))
const TICKS = 200_000

test('after SIGKILL at several points every line is present and complete, and the bars are those of one run', async () => {
  const ticks = [...cleanTicks(TICKS)]
  writeFileSync(at('in.jsonl'), `${ticks.join('\n')}\n`)
  const pipeline = (name: string, transforms: string, output: string) =>
    writeFileSync(
      at(`${name}.yaml`),
      `name: ${name}\ncommit_interval: 50ms\nsources:\n  - file: in.jsonl\n${transforms}sinks:\n  - file: ${output}\n`,
    )
  pipeline('mirror', '', 'copy.jsonl')
  pipeline('bars', 'transforms:\n  - bars: 10s\n', 'bars.jsonl')
  const { size } = statSync(at('in.jsonl'))

  const kills = await killing(
    'mirror.yaml',
    'copy.jsonl',
    [0.1, 0.3, 0.5, 0.7, 0.9].map(x => x * size),
  )
  expect(kills).toBeGreaterThan(2)
  const copy = readFileSync(at('copy.jsonl'), 'utf8').split('\n').slice(0, -1)
  expect(copy.length).toBeGreaterThanOrEqual(TICKS)
  const first = [...new Set(copy)]
  expect(first.length === TICKS && first.every((line, i) => line === ticks[i])).toBe(true)

  const golden = goldenBars(
    ticks.map(t => JSON.parse(t)),
    { interval: 10_000, label: '10s', lateness: 2000 },
  )
  const total = golden.lines.join('\n').length
  expect(
    await killing(
      'bars.yaml',
      'bars.jsonl',
      [0.2, 0.4, 0.6].map(x => x * total),
    ),
  ).toBeGreaterThan(0)
  const bars = readFileSync(at('bars.jsonl'), 'utf8').split('\n').slice(0, -1)
  expect([...new Set(bars)]).toEqual(golden.lines)
})

/** Runs the pipeline again and again, killing it as `output` grows past each size, until it ends by itself. @returns the kills. */
async function killing(pipeline: string, output: string, sizes: readonly number[]): Promise<number> {
  let kills = 0
  for (let round = 0; ; round++) {
    const child = spawn(process.execPath, [runner, 'run', at(pipeline)], { cwd: at(''), stdio: ['ignore', 'ignore', 'pipe'] })
    let errors = ''
    child.stderr.on('data', chunk => (errors += chunk))
    const exit = once(child, 'exit')
    let running = true
    void exit.then(() => {
      running = false
    })
    const threshold = sizes[round] ?? Number.POSITIVE_INFINITY
    while (running && grown(output) < threshold) await sleep(1)
    const killed = running && child.kill('SIGKILL')
    const [code] = await exit
    if (killed && code === null) kills++
    else if (code !== 0) throw new Error(`exit code ${code}: ${errors}`)
    else return kills
  }
}

function grown(output: string): number {
  return statSync(at(output), { throwIfNoEntry: false })?.size ?? 0
}
