/** Two processes of one identity at the same time: what does the same shares its work, everything else is refused before it has read anything. */
import { createHash } from 'node:crypto'
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { type Backend, embeddedBackend, kafkaBackend } from './lib/backend.ts'

const PIPELINE = `
name: \${NAME}
version: \${VERSION:-1}
sources: [{ kafka: { topics: ["\${IN}"], group: "\${GROUP}", max_poll_records: "\${POLL:-500}" } }]
transforms:
  - window: { size: 10s, allowed_lateness: "\${LATE:-0s}", idle_timeout: 0s, aggregates: { n: { count: "*" } } }
  - map: { fields: { n: "\${N:-n}" } }
sinks: [{ kafka: { topic: "\${OUT}", create_topics: true, linger_ms: "\${LINGER:-5}" } }]
delivery: exactly_once
metrics: { enabled: false }
`
const T = 1_790_000_000_000
const hash = (text: string): string => `#${createHash('sha256').update(text).digest('hex').slice(0, 10)}`

for (const name of ['kafka', 'embedded'] as const) {
  interface World {
    readonly backend: Backend
    readonly env: Record<string, string>
    start(env?: Record<string, string>, ...flags: string[]): ReturnType<typeof startRunner>
    run(env?: Record<string, string>, ...flags: string[]): ReturnType<typeof runRunner>
    settled(members: number): Promise<void>
  }
  const use = async (work: (w: World) => Promise<void>): Promise<void> => {
    const cwd = tempDir({ 'p.yaml': PIPELINE })
    const backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      const id = `live-${Math.random().toString(36).slice(2, 8)}`
      const env = { NAME: id, GROUP: id, IN: await backend.topic('in', 4), OUT: await backend.topic('out', 1) }
      const options = (over: Record<string, string>) => ({ cwd, env: { ...backend.env, ...env, ...over } })
      const args = ['run', 'p.yaml', '--log-format', 'json']
      await work({
        backend,
        env,
        start: (over = {}, ...flags) => startRunner([...args, ...flags], options(over)),
        run: (over = {}, ...flags) => runRunner([...args, ...flags], options(over)),
        settled: count => eventually(async () => expect(await backend.members(id)).toEqual({ count, stable: true })),
      })
    } finally {
      await backend.close()
    }
  }

  test(`${name}: a second process that does something else is refused, and the error shows both sides and the options`, () =>
    use(async w => {
      const first = w.start()
      await w.settled(1)
      for (const [over, difference] of [
        [{ OUT: 'elsewhere' }, `sinks.kafka_2.topic: running "${w.env.OUT}", here "elsewhere"`],
        // What a variable holds may be secret: its hash is shown.
        [{ N: 'n + 1' }, `transforms.map.fields: running {"n":"n"}, here {"n":"${hash('n + 1')}"}`],
        [{ VERSION: '2' }, `pipeline: running ${w.env.NAME}.1, here ${w.env.NAME}.2`],
      ] as const) {
        const second = await w.run(over)
        expect(second.stderr).toContain(JSON.stringify(difference).slice(1, -1))
        expect(second.stderr).toMatch(/another name, version or group/)
        expect(second.code).toBe(3)
      }
      // Another version of the same pipeline in a group of its own is independent.
      expect((await w.run({ VERSION: '2', GROUP: `${w.env.GROUP}-2`, OUT: 'elsewhere' }, '--until-idle', '100ms')).code).toBe(0)
      await w.settled(1)
      first.kill()
      await first.exit(0)
    }))

  test(`${name}: processes with the same content share the work, also with other limits and another lateness`, () =>
    use(async w => {
      const first = w.start()
      await w.settled(1)
      const second = w.start({ POLL: '100', LATE: '1s', LINGER: '10' })
      await w.settled(2)
      const records = Array.from({ length: 400 }, (_, i) => ({ key: 'k', partition: i % 4, value: '{}', time: T + i * 1000 }))
      await w.backend.produce(w.env.IN, records)
      await w.backend.waitFor(w.env.OUT, 4 * 39)
      for (const runner of [first, second]) runner.kill()
      for (const runner of [first, second]) await runner.exit(0)
    }))

  test(`${name}: one of two processes that start at the same time is refused`, () =>
    use(async w => {
      const runners = [w.start(), w.start({ OUT: 'elsewhere' })]
      const refused = await Promise.race(runners.map(async r => ({ r, code: (await r.exited).code })))
      expect(refused.code).toBe(3)
      expect(refused.r.stderr).toContain('sinks.kafka_2.topic')
      await w.settled(1)
      const other = runners.find(r => r !== refused.r)!
      other.kill()
      await other.exit(0)
    }))

  test(`${name}: of two processes that start with --fresh at the same time, one is refused, and no lane is started over twice`, () =>
    use(async w => {
      const records = Array.from({ length: 200 }, (_, i) => ({ key: 'k', partition: i % 4, value: '{}', time: T + i * 1000 }))
      await w.backend.produce(w.env.IN, records)
      const runners = [w.start({}, '--fresh'), w.start({}, '--fresh')]
      const refused = await Promise.race(runners.map(async r => ({ r, code: (await r.exited).code })))
      expect([refused.code, refused.r.stderr]).toEqual([3, expect.stringContaining('this one was started with --fresh')])
      const other = runners.find(r => r !== refused.r)!
      await w.settled(1)
      // Nor can another one join it, or it others.
      const plain = await w.run()
      expect([plain.code, plain.stderr]).toEqual([3, expect.stringContaining('it was started with --fresh')])
      const windows = (): Promise<string[]> =>
        w.backend.readAll(w.env.OUT).then(all => all.map(r => `${r.key} ${String(r.value)}`).toSorted())
      await w.backend.waitFor(w.env.OUT, 4 * 19)
      other.kill()
      await other.exit(0)
      expect(await windows()).toHaveLength(4 * 19)
      const again = w.start()
      await w.settled(1)
      expect((await w.run({}, '--fresh')).code).toBe(3)
      again.kill()
      await again.exit(0)
    }))

  test(`${name}: a killed process does not block the next one`, () =>
    use(async w => {
      const first = w.start()
      await w.settled(1)
      first.kill('SIGKILL')
      await first.exited
      expect((await w.run({ OUT: await w.backend.topic('other') }, '--until-idle', '100ms')).code).toBe(0)
    }))
}

const FILE = `
name: copy
sources: [{ file: { path: in.jsonl, follow: true } }]
sinks: [{ file: { path: "\${OUT:-out.jsonl}" } }]
metrics: { enabled: false }
`

test('file: a second process is refused, and continues where the first was killed', async () => {
  const cwd = tempDir({ 'p.yaml': FILE, 'in.jsonl': '{"n":1}\n{"n":2}\n' })
  const out = (): string[] => readFileSync(join(cwd, 'out.jsonl'), 'utf8').trim().split('\n')
  const first = startRunner(['run', 'p.yaml'], { cwd })
  await eventually(() => expect(out()).toHaveLength(2))
  const second = await runRunner(['run', 'p.yaml', '--until-idle', '100ms'], { cwd })
  expect(second.stderr).toMatch(/copy \(version 1\) is already running \(p\.yaml, process \d+ on .*; source file \(file\) cannot share/)
  expect(second.code).toBe(3)
  const other = await runRunner(['run', 'p.yaml', '--until-idle', '100ms'], { cwd, env: { OUT: 'other.jsonl' } })
  expect(other.stderr).toMatch(/sinks\.file_2\.path: running \\"out\.jsonl\\", here \\"other\.jsonl\\"/)
  expect(other.code).toBe(3)
  // It looks only, and keeps nothing.
  expect((await runRunner(['run', 'p.yaml', '--dry-run', '--until-idle', '100ms'], { cwd })).code).toBe(0)
  first.kill('SIGKILL')
  await first.exited
  appendFileSync(join(cwd, 'in.jsonl'), '{"n":3}\n')
  expect((await runRunner(['run', 'p.yaml', '--until-idle', '500ms'], { cwd })).code).toBe(0)
  expect(out().at(-1)).toBe('{"n":3}')
})

test('file: two files of one name cannot run at the same time; with another name, they can', async () => {
  const cwd = tempDir({
    'a.yaml': FILE,
    'b.yaml': FILE.replace('in.jsonl', 'b.jsonl'),
    'c.yaml': FILE.replace('copy', 'copy-c').replace('in.jsonl', 'b.jsonl'),
    'in.jsonl': '{"n":1}\n',
    'b.jsonl': '{"n":2}\n',
  })
  const first = startRunner(['run', 'a.yaml'], { cwd })
  await eventually(() => expect(readFileSync(join(cwd, 'out.jsonl'), 'utf8')).toContain('1'))
  expect((await runRunner(['run', 'b.yaml', '--until-idle', '100ms'], { cwd, env: { OUT: 'b.out' } })).code).toBe(3)
  expect((await runRunner(['run', 'c.yaml', '--until-idle', '500ms'], { cwd, env: { OUT: 'c.out' } })).code).toBe(0)
  first.kill()
  await first.exit(0)
})
