/** `runner lag` and `runner offsets` on both logs, on pipelines that run, were killed, or are reset. */
import { describe, expect, test } from 'vitest'
import { type Backend, embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { type Runner, runRunner, startRunner, tempDir } from '../support/runner.ts'
import { unique } from '../support/unique.ts'

const COUNT = 300

describe.each(['kafka', 'embedded'] as const)('%s', name => {
  const use = async (delivery: string, work: (place: OffsetsRun) => Promise<void>): Promise<void> => {
    const cwd = tempDir()
    const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      await work(await OffsetsRun.make(backend, cwd, delivery))
    } finally {
      await backend.close()
    }
  }

  // Of exactly_once the checkpoint lies with the outputs, of at_least_once with state beside them.
  test.each(name === 'kafka' ? ['exactly_once'] : ['exactly_once', 'at_least_once'])(
    '%s with state: killed, reset to earliest, run again: the full output once more',
    delivery =>
      use(delivery, async place => {
        const { backend, output } = place
        await place.feed(0, COUNT)
        const running = place.start()
        await backend.waitFor(output, COUNT)
        await expect.poll(async () => (await place.json('lag', 'p.yaml')).total_lag, { interval: 300 }).toBe(0)
        running.kill('SIGKILL')
        await running.exited
        // The brokers detect a killed member only by its session timeout.
        await expect.poll(async () => (await place.run('offsets', 'reset', 'p.yaml', '--to-latest')).code, { interval: 1000 }).toBe(0)
        const [before] = (await place.json('lag', 'p.yaml')).lanes
        expect(before).toMatchObject({ lane: `${place.input}/0`, group: place.group, checkpoint: before.end, lag: 0 })
        expect(before.state_keys).toBeGreaterThan(0)

        // Without a reset nothing more comes: all of it is a repetition to `dedupe`.
        if (name === 'embedded') await place.start(['--until-idle', '1s']).exit(0)
        expect(await backend.readAll(output)).toHaveLength(COUNT)

        const dry = await place.run('offsets', 'reset', 'p.yaml', '--to-earliest')
        expect(dry.code, dry.stderr).toBe(0)
        expect(dry.stdout).toMatch(/nothing was changed; --yes does it and clears \d+ keys of state/)
        expect((await place.json('lag', 'p.yaml')).lanes[0]).toEqual(before)
        const done = await place.run('offsets', 'reset', 'p.yaml', '--to-earliest', '--yes')
        expect(done.code, done.stderr).toBe(0)
        expect(done.stdout).toContain('keys of state were cleared')
        expect((await place.json('offsets', 'show', 'p.yaml')).lanes[0]).toMatchObject({
          committed: 0,
          checkpoint: 0,
          state: 0,
          lag: before.end,
        })
        const above = await place.run('lag', 'p.yaml', '--fail-above', '10')
        expect(above.code).toBe(4)

        await place.start(['--until-idle', '1s']).exit(0)
        const values = (await backend.readAll(output)).map(r => String(r.value))
        expect(values).toHaveLength(2 * COUNT)
        expect(values.slice(COUNT)).toEqual(values.slice(0, COUNT))
      }),
    120_000,
  )

  test('a reset is rejected while the pipeline runs, and inspecting it does not disturb the run', () =>
    use('exactly_once', async place => {
      await place.feed(0, 50)
      const running = place.start()
      await place.backend.waitFor(place.output, 50)
      for (let n = 0; n < 3; n++) await place.json('lag', 'p.yaml')
      const { code, stderr } = await place.run('offsets', 'reset', 'p.yaml', '--to-earliest', '--yes')
      expect(code).toBe(4)
      expect(stderr).toMatch(/error: nothing was changed: group .* has members; stop them first:\n {2}\S+/)
      await place.feed(50, 100)
      await place.backend.waitFor(place.output, 100)
      running.kill()
      await running.exit(0)
      expect(running.stderr).not.toMatch(/another instance now owns|fenced/i)
      expect(await place.backend.readAll(place.output)).toHaveLength(100)
    }))

  test('a group without a file: lag, and reset by offset, by time, of one partition, to the end', () =>
    use('at_least_once', async place => {
      await place.feed(0, 20)
      const args = ['--group', unique('g'), '--topic', place.input]
      expect((await place.json('lag', ...args)).total_lag).toBe(20)
      expect((await place.json('lag', ...args, '--topic', place.input)).total_lag).toBe(20)
      const to = async (...target: string[]): Promise<number | null> => {
        expect((await place.run('offsets', 'reset', ...args, ...target, '--yes')).code).toBe(0)
        return (await place.json('offsets', 'show', ...args)).lanes[0].committed
      }
      expect(await to('--to-offset', '7')).toBe(7)
      expect(await to('--to-time', new Date(1_700_000_000_000 + 12_000).toISOString())).toBe(12)
      expect(await to('--to-time', '999999999')).toBe(0)
      expect(await to('--to-latest')).toBe(20)
      expect(await to('--to-earliest', '--partition', '0')).toBe(0)
      const outside = await place.run('offsets', 'reset', ...args, '--to-offset', '99', '--yes')
      expect(outside.code).toBe(4)
      expect(outside.stderr).toContain('has the offsets 0 to 20')
      expect((await place.run('offsets', 'reset', ...args, '--to-earliest', '--to-latest')).code).toBe(2)
      expect((await place.run('offsets', 'reset', ...args, '--to-earliest', '--partition', '5')).code).toBe(3)
      expect((await place.run('offsets', 'reset', ...args)).code).toBe(2)
      for (const no of ['day 1', '2026', '2026-02-31', '2026-01-31T12:00']) {
        const { code, stderr } = await place.run('offsets', 'reset', ...args, '--to-time', no, '--yes')
        expect([code, stderr]).toEqual([2, expect.stringContaining('write a time as 2026-01-31T12:00:00Z')])
      }
    }))
})

test('a file with several kafka sources needs --source; --brokers replaces KAFKA_BROKERS', async () => {
  const cwd = tempDir({
    'p.yaml': 'name: p\nsources: [{ kafka: { topics: [a] } }, { kafka: { topics: [b], group: other } }]\nsinks: [{ stdout: {} }]\n',
  })
  const run = (...args: string[]) => runRunner(args, { cwd, env: { KAFKA_BROKERS: '127.0.0.1:1' } })
  for (const topic of ['a', 'b']) expect((await run('topics', 'create', topic, '--partitions', '2', '--brokers', 'embedded')).code).toBe(0)
  const both = await run('offsets', 'reset', 'p.yaml', '--to-latest', '--brokers', 'embedded')
  expect(both.code).toBe(2)
  expect(both.stderr).toContain('--source (kafka, kafka_2)')
  const one = await run('offsets', 'reset', 'p.yaml', '--to-latest', '--source', 'kafka_2', '--yes', '--brokers', 'embedded', '--json')
  expect(JSON.parse(one.stdout).lanes).toMatchObject([
    { lane: 'b/0', group: 'other' },
    { lane: 'b/1', group: 'other' },
  ])
  expect((await run('lag', 'p.yaml', '--brokers', 'embedded')).stdout).toContain('total lag 0')
  expect((await run('lag', 'p.yaml')).code).toBe(3)
})

test('lag --watch prints repeatedly', async () => {
  const cwd = tempDir()
  const env = { KAFKA_BROKERS: undefined }
  await runRunner(['topics', 'create', 't'], { cwd, env })
  const watching = startRunner(['lag', '--group', 'g', '--topic', 't', '--watch', '50ms'], { cwd, env })
  await expect.poll(() => watching.stdout.match(/total lag 0/g)?.length ?? 0).toBeGreaterThan(2)
  watching.kill()
  await watching.exited
})

test('sources that do not report their position are named', async () => {
  const cwd = tempDir({ 'p.yaml': 'name: p\nsources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]\n' })
  const { code, stderr } = await runRunner(['lag', 'p.yaml'], { cwd })
  expect(code).toBe(0)
  expect(stderr).toContain('warning: p: source stdin does not report its position')
  const json = JSON.parse((await runRunner(['lag', 'p.yaml', '--json'], { cwd })).stdout)
  expect(json.not_reported).toEqual(['p: source stdin does not report its position'])
  expect(json.untold).toEqual(json.not_reported)
  const reset = await runRunner(['offsets', 'reset', 'p.yaml', '--to-earliest'], { cwd })
  expect(reset.code).toBe(2)
  expect((await runRunner(['lag'], { cwd })).code).toBe(2)
})

class OffsetsRun {
  readonly backend: Backend
  readonly cwd: string
  readonly input: string
  readonly output: string
  readonly group: string

  private constructor(backend: Backend, cwd: string, input: string, output: string) {
    this.backend = backend
    this.cwd = cwd
    this.input = input
    this.output = output
    this.group = unique('g')
  }

  static async make(backend: Backend, cwd: string, delivery: string): Promise<OffsetsRun> {
    const place = new OffsetsRun(backend, cwd, await backend.topic('in'), await backend.topic('out'))
    const { writeFileSync } = await import('node:fs')
    writeFileSync(
      `${cwd}/p.yaml`,
      `name: ${unique('p')}\nsources: [{ kafka: { topics: [${place.input}], group: ${place.group}, session_timeout: 6s } }]\ntransforms: [{ dedupe: { key: n } }]\nsinks: [{ kafka: { topic: ${place.output}, key: k } }]\ndelivery: ${delivery}\ndlq: { kafka: { topic: ${place.output}.dlq } }\n`,
    )
    return place
  }

  async feed(from: number, to: number): Promise<void> {
    const records = Array.from({ length: to - from }, (_, i) => from + i).map(n => ({
      key: 'k',
      value: JSON.stringify({ k: 'k', n }),
      time: 1_700_000_000_000 + n * 1000,
    }))
    await this.backend.produce(this.input, records)
  }

  start(more: readonly string[] = []): Runner {
    return startRunner(['run', 'p.yaml', ...more], { cwd: this.cwd, env: this.backend.env })
  }

  async run(...args: string[]) {
    return await runRunner(args, { cwd: this.cwd, env: this.backend.env })
  }

  async json(...args: string[]): Promise<any> {
    const { stdout, stderr } = await this.run(...args, '--json')
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout)
  }
}
