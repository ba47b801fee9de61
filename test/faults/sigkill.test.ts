/**
 * Bars, exactly once, while the process is killed with SIGKILL at random points and started again each time.
 * `FAULT_TICKS=1000000 FAULT_KILLS=50 npx vitest run test/faults/sigkill.test.ts` is the full size.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { BarsPipeline, byKey } from '../e2e/lib/bars-run.ts'
import { type Backend, embeddedBackend, kafkaBackend } from '../e2e/lib/backend.ts'
import { expectedBars, type PartitionedTick } from '../support/golden-ticks.ts'
import { seeded } from '../support/random.ts'
import { tempDir } from '../support/runner.ts'
import { startFeed } from './lib/feed.ts'

const TICKS = Number(process.env.FAULT_TICKS ?? 200_000)
const KILLS = Number(process.env.FAULT_KILLS ?? 12)
const SEED = Number(process.env.FAULT_SEED ?? 20_261_121)
/** Two partitions with one symbol, one with three that share a lane. */
const PARTITIONS = [['BTCUSDT'], ['ETHUSDT'], ['SOLUSDT', 'ADAUSDT', 'XRPUSDT']]
const TIMEOUT = 60_000 + KILLS * 15_000 + TICKS / 5

describe.each(['kafka', 'embedded'] as const)('bars killed again and again, %s', name => {
  test(`${KILLS} kills over ${TICKS} ticks: every bar once, equal to an uninterrupted run and to an independent computation`, {
    timeout: TIMEOUT,
  }, async () => {
    const cwd = tempDir()
    const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      const killed = await BarsPipeline.create(backend, cwd, PARTITIONS.length)
      const { ticks, positions } = await killAndFeed(backend, killed, TICKS, KILLS)
      const last = killed.start(['--until-idle', '2s'])
      await last.exit(0, TIMEOUT)
      await killed.verify(ticks)
      // Where the lives began: most of them somewhere in the middle, or the kills proved nothing.
      expect(new Set(positions).size, `positions at the kills: ${positions.join(' ')}`).toBeGreaterThan(KILLS / 2)

      const calm = await BarsPipeline.create(backend, cwd, PARTITIONS.length, { input: killed.input })
      await calm.start(['--until-idle', '2s']).exit(0, TIMEOUT)
      expect(byKey(await backend.readAll(killed.output))).toEqual(byKey(await backend.readAll(calm.output)))
      expect([...(await backend.committed(killed.group, killed.input))].toSorted()).toEqual(
        [...(await backend.committed(calm.group, calm.input))].toSorted(),
      )
    } finally {
      await backend.close()
    }
  })
})

test.each(['kafka', 'embedded'] as const)(
  'at least once, %s: bars may repeat unchanged, and none is missing',
  { timeout: 120_000 },
  async name => {
    const cwd = tempDir()
    const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      const pipeline = await BarsPipeline.create(backend, cwd, PARTITIONS.length, {
        delivery: 'at_least_once',
        extra: 'commit_interval: 300ms',
      })
      const { ticks } = await killAndFeed(backend, pipeline, 60_000, 5)
      await pipeline.start(['--until-idle', '1s']).exit(0)
      const golden = expectedBars(ticks)
      const seen = byKey(await backend.readAll(pipeline.output))
      const distinct = new Map([...seen].map(([key, lines]) => [key, [...new Set(lines)].toSorted()]))
      expect(distinct).toEqual(new Map([...golden.bars].map(([key, bars]) => [key, bars.map(b => `${b.time} ${b.value}`).toSorted()])))
    } finally {
      await backend.close()
    }
  },
)

/** @returns all ticks, and the sum of the committed offsets at each kill. */
async function killAndFeed(
  backend: Backend,
  pipeline: BarsPipeline,
  count: number,
  kills: number,
): Promise<{ ticks: PartitionedTick[]; positions: number[] }> {
  const random = seeded(SEED)
  const feed = startFeed(backend, pipeline.input, { seed: SEED, partitions: PARTITIONS }, count, kills * 1_300)
  const positions: number[] = []
  const position = async (): Promise<number> =>
    [...(await backend.committed(pipeline.group, pipeline.input)).values()].reduce((n, offset) => n + offset, 0)
  for (let kill = 0; kill < kills; kill++) {
    const runner = pipeline.start()
    // One in four dies while it is still starting, the others once they have committed something and have more in hand.
    if (random() < 0.25) await sleep(100 + random() * 600)
    else {
      const before = positions.at(-1) ?? 0
      await expect.poll(position, { interval: 100, message: `no progress:\n${runner.stderr.slice(-3000)}` }).toBeGreaterThan(before)
      await sleep(random() * 800)
    }
    runner.kill('SIGKILL')
    const { signal } = await runner.exited
    expect(signal, `the runner ended by itself:\n${runner.stderr.slice(-3000)}`).toBe('SIGKILL')
    positions.push(await position())
  }
  return { ticks: await feed.finish(), positions }
}
