/** Three processes of one group join, leave, die and freeze while ticks come in: state follows its partition, and the output is exact. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { BarsPipeline } from '../e2e/lib/bars-run.ts'
import { type Backend, embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { type Runner, tempDir } from '../support/runner.ts'
import { startFeed } from './lib/feed.ts'

const PARTITIONS = [['AAA'], ['BBB', 'BB2'], ['CCC'], ['DDD'], ['EEE', 'EE2'], ['FFF']]
const SESSION = 6_000
const TICKS = Number(process.env.FAULT_TICKS ?? 150_000)
const ROUNDS = Number(process.env.FAULT_ROUNDS ?? 1)

describe.each(['kafka', 'embedded'] as const)('three processes on six partitions, %s', name => {
  test('SIGTERM, SIGKILL and SIGSTOP beyond the session, then SIGCONT', { timeout: 120_000 + ROUNDS * 60_000 }, async () => {
    const cwd = tempDir()
    const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    const started: Runner[] = []
    try {
      const pipeline = await BarsPipeline.create(backend, cwd, PARTITIONS.length, { session: `${SESSION / 1000}s` })
      const start = (): Runner => {
        const runner = pipeline.start()
        started.push(runner)
        return runner
      }
      const feed = startFeed(backend, pipeline.input, { seed: 6, partitions: PARTITIONS }, TICKS, 20_000 * ROUNDS)
      let [a, b, c] = [start(), start(), start()]
      for (let round = 0; round < ROUNDS; round++) {
        await settled(pipeline, 3)
        await moved(pipeline, 3)
        a.kill('SIGTERM')
        await a.exit(0)
        a = start()
        await moved(pipeline, 3)
        b.kill('SIGKILL')
        await b.exited
        b = start()
        await settled(pipeline, 3)
        await moved(pipeline, 3)
        // The others go on with its partitions while it sleeps; when it wakes it must not write a single record of them.
        await backend.freeze(c)
        await Promise.all([settled(pipeline, 2), sleep(SESSION + 3_000)])
        c.kill('SIGCONT')
        await moved(pipeline, 3)
      }
      const ticks = await feed.finish()
      await pipeline.verify(ticks, 90_000)
      for (const runner of [a, b, c]) runner.kill('SIGTERM')
      await Promise.all([a, b, c].map(runner => runner.exit(0)))
      await pipeline.verify(ticks)
      expect(c.stderr, 'the frozen process noticed nothing: it was no zombie').toMatch(/session .*expired|fenced/i)
      const offsets = await backend.committed(pipeline.group, pipeline.input)
      expect(offsets.size).toBe(PARTITIONS.length)
    } finally {
      for (const runner of started) runner.kill('SIGCONT')
      await backend.close()
    }
  })
})

test('the group does not wait 5 min for the session of a member that dies during a rebalance', async () => {
  const backend = await kafkaBackend()
  const started: Runner[] = []
  try {
    const pipeline = await BarsPipeline.create(backend, tempDir(), PARTITIONS.length, { session: '5m' })
    const start = (): Runner => {
      started.push(pipeline.start())
      return started.at(-1)!
    }
    const a = start()
    await settled(pipeline, 1)
    const b = start()
    await settled(pipeline, 2)
    // Once the oldest, once the youngest: one of them leads the group.
    for (const victim of [a, b]) {
      start()
      while ((await backend.members(pipeline.group)).stable) await sleep(5)
      victim.kill('SIGKILL')
      const begin = Date.now()
      await settled(pipeline, 2)
      console.log(`the group works again ${Date.now() - begin} ms after the kill`)
    }
  } finally {
    for (const runner of started) runner.kill('SIGKILL')
    await backend.close()
  }
})

/** Waits until the group consists of so many members and each has what it is to have. */
async function settled(pipeline: BarsPipeline, count: number, timeoutMs = 90_000): Promise<void> {
  for (const deadline = Date.now() + timeoutMs; ; await sleep(200)) {
    const now = await pipeline.backend.members(pipeline.group)
    if (now.stable && now.count === count) return
    if (Date.now() > deadline) throw new Error(`the group has ${now.count} members, stable: ${now.stable}; waited for ${count}`)
  }
}

/** Waits until committed offsets have moved `times` times: every member has had time to work. */
async function moved(pipeline: BarsPipeline, times: number): Promise<void> {
  const position = async (): Promise<number> =>
    [...(await pipeline.backend.committed(pipeline.group, pipeline.input)).values()].reduce((n, offset) => n + offset, 0)
  let last = await position()
  const deadline = Date.now() + 90_000
  for (let moves = 0; moves < times; ) {
    await sleep(300)
    const now = await position()
    if (now !== last) moves++
    else if (Date.now() > deadline) throw new Error(`no progress: the group stands at ${now}`)
    last = now
  }
}
