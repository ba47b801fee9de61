/** `runner state` looks into what a run has kept, on each store, and moves it to another version. */
import { writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { runRunner, tempDir } from '../support/runner.ts'
import { unique } from '../support/unique.ts'

const FILE = `
name: \${NAME}
version: \${VERSION:-1}
sources: [{ kafka: { topics: ["\${IN}"], group: "\${NAME}" } }]
transforms:
  - window: { size: 10s, allowed_lateness: 0s, idle_timeout: 0s, aggregates: { n: { count: "*" } } }
sinks: [\${SINK}]
delivery: exactly_once
metrics: { enabled: false }
`
const T = 1_790_000_000_000
const SINKS = {
  kafka: '{ kafka: { topic: "${OUT}" } }',
  embedded: '{ kafka: { topic: "${OUT}" } }',
}

test.each(['kafka', 'embedded'] as const)('%s: ls, show, export, import to another version, rm', async name => {
  const cwd = tempDir()
  const backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
  try {
    const NAME = unique('state').replaceAll('.', '-')
    const [IN, OUT] = [await backend.topic('in'), await backend.topic('out')]
    writeFileSync(`${cwd}/p.yaml`, FILE.replace('${SINK}', SINKS[name]))
    const feed = (from: number, count: number) =>
      backend.produce(
        IN,
        Array.from({ length: count }, (_, i) => ({ key: 'k', value: `{"n":${from + i}}`, time: T + (from + i) * 1000 })),
      )
    const runner = (args: string[], env: Record<string, string> = {}) =>
      runRunner(args, { cwd, env: { ...backend.env, NAME, IN, OUT, ...env } })
    const json = async (args: string[], env: Record<string, string> = {}) => {
      const { code, stdout, stderr } = await runner(args, env)
      expect(code, stderr).toBe(0)
      return JSON.parse(stdout)
    }
    await feed(0, 15)
    expect((await runner(['run', 'p.yaml', '--until-idle', '1s'])).code).toBe(0)
    const [lane] = (await json(['state', 'ls', 'p.yaml', '--json'])).lanes
    expect(lane).toMatchObject({ owner: `${NAME}.1`, lane: `${IN}/0`, position: 15, current: true, made_from: { lanes: 1 } })
    expect(lane.made_from.steps.window).toMatchObject({ type: 'window', shape: { size: 10_000 } })
    const shown = (await runner(['state', 'show', 'p.yaml'])).stdout.trim().split('\n')
    expect(shown.length).toBe(1 + lane.entries)
    expect(JSON.parse(shown[1])).toMatchObject({ lane: `${IN}/0`, step: 'window' })

    // Another version with the state of the first: the open window goes on.
    const exported = await runner(['state', 'export', 'p.yaml'])
    writeFileSync(`${cwd}/state.json`, exported.stdout)
    const two = { VERSION: '2' }
    expect(await json(['state', 'import', 'p.yaml', 'state.json', '--json'], two)).toMatchObject({ applied: false, lanes: 1 })
    expect((await runner(['state', 'show', 'p.yaml'], two)).code).toBe(1)
    expect(await json(['state', 'import', 'p.yaml', 'state.json', '--yes', '--json'], two)).toMatchObject({ applied: true, lanes: 1 })
    await feed(15, 10)
    expect((await runner(['run', 'p.yaml', '--until-idle', '1s'], two)).code).toBe(0)
    expect((await backend.readAll(OUT)).map(r => JSON.parse(String(r.value)).n)).toEqual([10, 10])
    expect((await json(['state', 'ls', 'p.yaml', '--json'])).lanes.map((l: any) => [l.owner, l.current])).toEqual([
      [`${NAME}.1`, true],
      [`${NAME}.2`, false],
    ])

    expect((await runner(['state', 'rm', 'p.yaml', '--owner', `${NAME}.1`])).stdout).toContain('would delete')
    expect((await runner(['state', 'rm', 'p.yaml', '--owner', `${NAME}.1`, '--yes'])).stdout).toContain('deleted')
    await expect.poll(async () => (await json(['state', 'ls', 'p.yaml', '--json'])).lanes.map((l: any) => l.owner)).toEqual([`${NAME}.2`])
    const none = await runner(['state', 'show', 'p.yaml'])
    expect([none.code, none.stderr]).toEqual([1, `there is no state; there is state of ${NAME}.2\n`])
    expect((await runner(['state', 'import', 'p.yaml', 'p.yaml'])).code).toBe(2)
  } finally {
    await backend.close()
  }
})
