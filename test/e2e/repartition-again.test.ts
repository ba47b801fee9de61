/** A pipeline with an internal topic is run again: as a dry run, as a backfill, and from the beginning. */
import { expect, test } from 'vitest'
import { type Runner, runRunner, startRunner, tempDir } from '../support/runner.ts'
import { type Backend, embeddedBackend, kafkaBackend } from './lib/backend.ts'

const T = 1_790_000_000_000
const RECORDS = 300

/** 10 s windows of 10 users in 3 of 4 partitions, one record a second; the last one, of each partition, closes them. */
const records = Array.from({ length: RECORDS }, (_, n) => ({
  key: `order-${n}`,
  partition: n % 3,
  value: JSON.stringify({ user: `u${n % 10}`, i: n }),
  time: T + n * 1000,
}))

interface World {
  readonly backend: Backend
  readonly input: string
  readonly output: string
  runner(
    args: readonly string[],
    env?: Record<string, string>,
  ): [args: string[], options: { cwd: string; env: Record<string, string | undefined> }]
  rows(topic: string): Promise<string[]>
}

async function use(kind: 'embedded' | 'kafka', work: (w: World) => Promise<void>): Promise<void> {
  const cwd = tempDir()
  const backend = kind === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
  try {
    const input = await backend.topic('orders', 4)
    const output = await backend.topic('counts', 2)
    const dead = await backend.topic('dead')
    const file = `${tempDir({
      'p.yaml': `name: ${output}
sources: [{ kafka: { topics: [${input}] } }]
transforms:
  - repartition: { by: user, idle_timeout: "\${IDLE:-1s}" }
  - window: { size: 10s, by: user, allowed_lateness: 0s, idle_timeout: 0s, on_late: dlq, aggregates: { n: { count: "*" }, sum: { sum: i } } }
sinks: [{ kafka: { topic: "\${OUT}", create_topics: true } }]
dlq: { kafka: { topic: ${dead} } }
delivery: exactly_once
metrics: { enabled: false }
`,
    })}/p.yaml`
    await work({
      backend,
      input,
      output,
      runner: (args, env = {}) => [[...args, file], { cwd, env: { ...backend.env, OUT: output, ...env } }],
      rows: async topic => (await backend.readAll(topic)).map(r => r.value!.toString()).toSorted(),
    })
    expect(await backend.readAll(dead), 'late records').toEqual([])
  } finally {
    await backend.close()
  }
}

test.each(['embedded', 'kafka'] as const)('%s: a dry run prints the output of the run, and a backfill writes a part of it again', kind =>
  use(kind, async w => {
    await w.backend.produce(w.input, records)
    const dry = await runRunner(...w.runner(['run', '--dry-run']))
    expect([dry.code, dry.stderr]).toEqual([0, expect.any(String)])
    const shown = dry.stdout
      .split('\n')
      .flatMap(line => /^kafka_2 +\S+ +(.*)$/.exec(line)?.[1] ?? [])
      .toSorted()

    const live = startRunner(...w.runner(['run']))
    await w.backend.waitFor(w.output, shown.length)
    live.kill()
    await live.exit(0)
    expect(shown.length).toBeGreaterThan(RECORDS / 2)
    expect(await w.rows(w.output)).toEqual(shown)

    const time = (s: number): string => new Date(T + s * 1000).toISOString()
    const again = await runRunner(...w.runner(['run', '--from', time(100), '--to', time(200)], { OUT: `${w.output}-2` }))
    expect([again.code, again.stderr]).toEqual([0, expect.any(String)])
    const within = shown.filter(row => {
      const { end } = JSON.parse(row) as { end: number }
      return end > T + 100_000 && end <= T + 200_000
    })
    expect(await w.rows(`${w.output}-2`)).toEqual(within)
    expect(within.length).toBe(100)
    if (kind === 'embedded') return
    expect(again.stderr).not.toContain('were deleted')
    const { withAdmin } = await import('../support/kafka.ts')
    await withAdmin(async admin => {
      // Without it this client knows no leader to send the other request to.
      await admin.fetchTopicOffsets(w.input)
      await admin.deleteTopicRecords({ topic: w.input, partitions: [{ partition: 1, offset: '20' }] })
    })
    const cut = await runRunner(...w.runner(['run', '--from', time(0), '--to', time(100)], { OUT: `${w.output}-3` }))
    expect([cut.code, cut.stderr]).toEqual([0, expect.stringContaining(`older records of ${w.input}/1 were deleted`)])
  }),
)

test.each(['embedded', 'kafka'] as const)('%s: --fresh and offsets reset hand everything over again, once', kind =>
  use(kind, async w => {
    await w.backend.produce(w.input, records)
    const rounds = async (runner: Runner, rows: number): Promise<void> => {
      await w.backend.waitFor(w.output, rows)
      runner.kill()
      await runner.exit(0)
    }
    const first = startRunner(...w.runner(['run']))
    await w.backend.waitFor(w.output, 290)
    const refused = await runRunner(...w.runner(['run', '--fresh']))
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringMatching(/is running; stop these processes first.*on /s)])
    await rounds(first, 290)
    const once = await w.rows(w.output)
    expect(once.length).toBe(290)

    await rounds(startRunner(...w.runner(['run', '--fresh'])), 580)
    expect(await w.rows(w.output)).toEqual([...once, ...once].toSorted())

    const time = new Date(T + 200_000).toISOString()
    const shown = await runRunner(...w.runner(['offsets', 'reset', '--to-time', time]))
    expect([shown.code, shown.stdout]).toEqual([
      0,
      expect.stringMatching(/nothing was changed; --yes does it and clears \d+ keys of state/),
    ])
    for (const lane of [`${w.input}/0`, `__runner.${w.output}.1.repartition/3`]) expect(shown.stdout).toContain(lane)
    const part = await runRunner(...w.runner(['offsets', 'reset', '--to-time', time, '--partition', '1']))
    expect([part.code, part.stderr]).toEqual([2, expect.stringContaining('can only be reset together')])
    const done = await runRunner(...w.runner(['offsets', 'reset', '--to-time', time, '--yes']))
    expect([done.code, done.stderr, done.stdout]).toEqual([0, '', expect.stringContaining('done;')])
    await rounds(startRunner(...w.runner(['run'])), 670)
    const later = once.filter(row => (JSON.parse(row) as { start: number }).start >= T + 200_000)
    expect(later.length).toBe(90)
    expect(await w.rows(w.output)).toEqual([...once, ...once, ...later].toSorted())
  }),
)
