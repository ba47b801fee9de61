/** `runner state` shows the state of a run, on each store, and moves it to another version. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { eventually } from '../support/eventually.ts'
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

    // Another version with the state of the first: the open window continues.
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
    expect([none.code, none.stderr]).toEqual([1, `error: there is no state; there is state of ${NAME}.2\n`])
    expect((await runner(['state', 'import', 'p.yaml', 'p.yaml'])).code).toBe(2)
  } finally {
    await backend.close()
  }
})

test.each(['kafka', 'embedded'] as const)(
  '%s: while a process runs, its state is neither replaced nor deleted; that of an older version is',
  async name => {
    const cwd = tempDir()
    const backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      const NAME = unique('live').replaceAll('.', '-')
      const [IN, OUT] = [await backend.topic('in'), await backend.topic('out')]
      // The group is the default: the pipeline's name.
      writeFileSync(`${cwd}/p.yaml`, FILE.replace(', group: "${NAME}"', '').replace('${SINK}', SINKS[name]))
      const options = (env: Record<string, string> = {}) => ({ cwd, env: { ...backend.env, NAME, IN, OUT, ...env } })
      await backend.produce(IN, [{ key: 'k', value: '{}', time: T }])
      expect((await runRunner(['run', 'p.yaml', '--until-idle', '1s'], options())).code).toBe(0)
      writeFileSync(`${cwd}/state.json`, (await runRunner(['state', 'export', 'p.yaml'], options())).stdout)
      const running = startRunner(['run', 'p.yaml'], options({ VERSION: '2' }))
      await eventually(async () => expect(await backend.members(NAME)).toEqual({ count: 1, stable: true }))
      await backend.waitFor(IN, 1)
      for (const args of [
        ['import', 'p.yaml', 'state.json', '--yes'],
        ['rm', 'p.yaml', '--yes', '--owner', `${NAME}.2`],
      ]) {
        const { code, stderr } = await eventually(async () => {
          const result = await runRunner(['state', ...args], options({ VERSION: '2' }))
          // There is nothing to delete before the first commit.
          expect(result.code).not.toBe(1)
          return result
        })
        expect([code, stderr]).toEqual([3, expect.stringMatching(new RegExp(`group ${NAME} is live: stop .* on .* first`))])
      }
      const old = await runRunner(['state', 'rm', 'p.yaml', '--yes', '--owner', `${NAME}.1`], options())
      expect([old.code, old.stderr]).toEqual([0, ''])
      running.kill()
      await running.exit(0)
    } finally {
      await backend.close()
    }
  },
)

const COPY = `
name: copied
version: \${VERSION:-1}
sources: [{ file: { path: in.jsonl, follow: true } }]
transforms:
  - window: { size: 10s, time: ts, allowed_lateness: 0s, idle_timeout: 0s, aggregates: { n: { count: "*" } } }
sinks: [\${SINK}]
metrics: { enabled: false }
`

test.each(['local', 'postgres'] as const)('%s: state of a file is shown, moved and deleted, and not while a process runs', async where => {
  const dsn = where === 'postgres' ? await (await import('../support/postgres.ts')).database() : ''
  const sink = where === 'local' ? '{ file: out.jsonl }' : `{ postgres: { dsn: "${dsn}", table: wins, columns: [n] } }`
  const file = COPY.replace('${SINK}', sink) + (where === 'postgres' ? 'delivery: exactly_once\n' : '')
  const record = (s: number): string => `{"ts":${T + s * 1000}}\n`
  const cwd = tempDir({ 'p.yaml': file, 'in.jsonl': record(0) + record(1) })
  if (where === 'postgres') await (await import('../support/postgres.ts')).sql(dsn, 'create table wins (n int)')
  const run = (args: string[], VERSION = '1') => runRunner(args, { cwd, env: { VERSION } })
  const once = (version?: string) => run(['run', 'p.yaml', '--until-idle', '500ms'], version)
  expect((await once()).code).toBe(0)
  const ls = async (): Promise<unknown[]> =>
    JSON.parse((await run(['state', 'ls', 'p.yaml', '--json'])).stdout).lanes.map((l: any) => [l.owner, l.lane, l.current])
  expect(await ls()).toEqual([['copied.1', 'in.jsonl', true]])
  writeFileSync(`${cwd}/state.json`, (await run(['state', 'export', 'p.yaml'])).stdout)

  const running = startRunner(['run', 'p.yaml'], { cwd })
  await eventually(() => expect(existsSync(`${cwd}/.runner/live/copied.1.json`)).toBe(true))
  for (const args of [
    ['import', 'p.yaml', 'state.json', '--yes'],
    ['rm', 'p.yaml', '--yes'],
  ]) {
    const { code, stderr } = await run(['state', ...args])
    expect([code, stderr]).toEqual([3, expect.stringContaining('a process of copied.1 is running on this state directory: stop it first')])
  }
  // The state of another version does not count.
  expect((await run(['state', 'import', 'p.yaml', 'state.json', '--yes'], '2')).code).toBe(0)
  running.kill()
  await running.exit(0)

  // Version 2 continues the open window of version 1.
  appendFileSync(`${cwd}/in.jsonl`, record(2) + record(20))
  expect((await once('2')).code).toBe(0)
  const written =
    where === 'local'
      ? readFileSync(`${cwd}/out.jsonl`, 'utf8')
      : JSON.stringify((await (await import('../support/postgres.ts')).sql(dsn, 'select n from wins'))[0])
  expect(written).toMatch(/"n":3/)
  expect((await run(['state', 'rm', 'p.yaml', '--yes'])).code).toBe(0)
  expect(await ls()).toEqual([['copied.2', 'in.jsonl', false]])
})
