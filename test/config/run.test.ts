/** The other half of the guarantee of `validate`, with the real command: a valid file runs, or exits with 3 for a reason outside the file. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadText } from '../../src/config/load.ts'
import { mutationsOf } from './mutations.ts'

const RUNNER = resolve(import.meta.dirname, '../../bin/runner.js')
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'run-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** One pipeline of each kind of computation. */
async function accepted(file: string): Promise<{ title: string; text: string }[]> {
  const seen = new Set<string>()
  const out: { title: string; text: string }[] = []
  for (const { title, text } of await mutationsOf(file)) {
    const { pipeline } = await loadText(file, text, { env: {} })
    if (!pipeline || seen.has(pipeline.hash)) continue
    seen.add(pipeline.hash)
    out.push({ title, text })
  }
  return out
}

function run(text: string, id: string, args: string[]): Promise<{ code: number; said: string }> {
  const home = join(folder, id)
  writeFileSync(`${home}.yaml`, text)
  const options = { cwd: folder, timeout: 120_000, env: { PATH: process.env.PATH, KAFKA_BROKERS: 'embedded', RUNNER_STATE_DIR: home } }
  return new Promise(done => {
    const child = execFile(
      process.execPath,
      [RUNNER, 'run', `${home}.yaml`, '--until-idle', '50ms', '--log-format', 'json', '--log-level', 'error', ...args],
      options,
      (error, out, err) => done({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, said: (out + err).slice(-500) }),
    )
    child.stdin!.end()
  })
}

test('mutations that pass validate never fail run with a config error', { timeout: 900_000 }, async () => {
  writeFileSync(join(folder, 'in.csv'), 'BTCUSDT;1\nETHUSDT;2\n')
  const bars = await accepted('pipelines/bars.yaml')
  // A field that is the whole record would contain itself: that fails with the data, not with the file.
  const files = (await accepted('test/config/corpus/files.yaml')).filter((m, i) => i % 12 === 0 && m.title !== 'perhaps "value"')
  expect(bars.length).toBeGreaterThan(30)
  expect(files.length).toBeGreaterThan(20)
  const small = ['--set', 'sources[3].generate.count=3', '--set', 'sources[3].generate.rate=1000']
  const queue = [
    ...bars.map((m, i) => ({ ...m, id: `bars${i}`, args: [] as string[] })),
    ...files.map((m, i) => ({ ...m, id: `files${i}`, args: small })),
  ]
  const failed: string[] = []
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const { code, said } = await run(next.text, next.id, [...next.args, '--set', 'metrics.enabled=false'])
      if (code !== 0 && code !== 3) failed.push(`${next.id} ${next.title}: ${code} ${said}`)
    }
  }
  await Promise.all([worker(), worker()])
  expect(failed).toEqual([])
})
