/** Memory is bounded by settings, not by how far behind a sink is; and a start is quick. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { makeTicks } from '../support/golden-ticks.ts'
import { peakMemory } from '../support/peak-memory.ts'
import { startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { type Backend, embeddedBackend, kafkaBackend } from './lib/backend.ts'
import { BarsPipeline } from './lib/bars-run.ts'
import { get, metric, untilStatus } from './lib/http.ts'
import { slowSink } from './lib/plugins.ts'

const RECORDS = Number(process.env.MEMORY_RECORDS ?? 100_000)
const SIZE = 2_000
const SECONDS = Number(process.env.MEMORY_SECONDS ?? 8)

describe.each(['kafka', 'embedded'] as const)('%s', name => {
  const open = (cwd: string): Promise<Backend> | Backend => (name === 'kafka' ? kafkaBackend() : embeddedBackend(cwd))

  test('a sink a hundred times slower than its source costs time, not memory', async () => {
    const [port] = await freePorts(1)
    const cwd = tempDir({ 'slow.js': slowSink })
    const backend = await open(cwd)
    try {
      const topic = await backend.topic('big', 2)
      const filler = 'x'.repeat(SIZE)
      for (let i = 0; i < RECORDS; i += 5_000) {
        await backend.produce(
          topic,
          Array.from({ length: 5_000 }, (_, j) => ({ key: `k${j % 50}`, value: `{"n":${i + j},"filler":"${filler}"}`, partition: j % 2 })),
        )
      }
      const yaml = `
name: ${topic}
plugins: [${cwd}/slow.js]
sources: [{ kafka: { topics: [${topic}], group: ${topic} } }]
transforms: [{ filter: n >= 0 }]
sinks: [{ slow: {} }]
shutdown_timeout: 20s
metrics: { port: ${port} }
`
      const runner = startRunner(['run', `${tempDir({ 'slow.yaml': yaml })}/slow.yaml`], { cwd, env: backend.env })
      await untilStatus(runner, port, '/ready', 200)
      await sleep(SECONDS * 1000)
      const { body } = await get(port, '/metrics')
      const written = metric(body, 'runner_step_messages_out_total', { kind: 'sink' })
      const read = metric(body, 'runner_step_messages_in_total', { kind: 'source' })
      const peak = peakRss(runner.pid)
      console.log(`${name}: read ${read}, written ${written} of ${RECORDS} x ${SIZE} bytes in ${SECONDS} s, peak RSS ${peak} MB`)
      // It is behind, it works, and it has not read ahead: 200 MB and what they decode to would not fit.
      expect(written).toBeGreaterThan(0)
      expect(written).toBeLessThan(RECORDS / 2)
      expect((read - written) * SIZE).toBeLessThan(60_000_000)
      expect(peak).toBeLessThan(400)
      runner.kill('SIGTERM')
      await runner.exited
    } finally {
      await backend.close()
    }
  })

  test('start to first output', async () => {
    const cwd = tempDir()
    const backend = await open(cwd)
    try {
      const ticks = makeTicks({ seed: 1, count: 20_000, partitions: [['BTCUSDT']] })
      const pipeline = await BarsPipeline.create(backend, cwd, 1)
      await pipeline.feedAll(ticks)
      const start = Date.now()
      const runner = pipeline.start()
      await backend.waitFor(pipeline.output, 1)
      // A figure to read, not a verdict: the machine may be busy.
      console.log(`${name}: first bar ${Date.now() - start} ms after the start (kcat's own start included on kafka)`)
      runner.kill('SIGTERM')
      await runner.exit(0)
    } finally {
      await backend.close()
    }
  })

  test('a restart after kill -9 works at once, long before the session of the dead process expires', async () => {
    const cwd = tempDir()
    const backend = await open(cwd)
    try {
      const ticks = makeTicks({ seed: 4, count: 40_000, partitions: [['BTCUSDT'], ['ETHUSDT']] })
      const pipeline = await BarsPipeline.create(backend, cwd, 2, { session: '2m' })
      await pipeline.feedAll(ticks.slice(0, 20_000))
      const first = pipeline.start()
      await backend.waitFor(pipeline.output, 20)
      first.kill('SIGKILL')
      await first.exited
      const before = (await backend.readAll(pipeline.output)).length
      await pipeline.feedAll(ticks.slice(20_000))
      const start = Date.now()
      const second = pipeline.start()
      await backend.waitFor(pipeline.output, before + 20)
      const took = Date.now() - start
      console.log(`${name}: working again ${took} ms after the restart (session timeout 2 min)`)
      expect(took).toBeLessThan(60_000)
      second.kill('SIGTERM')
      await second.exit(0)
    } finally {
      await backend.close()
    }
  })
})

/** MB. */
const peakRss = (pid: number): number => Math.round(peakMemory(pid) / 1024)
