/** The flags of `run`, and what is seen from outside. */
import { describe, expect, test } from 'vitest'
import { BAR_INTERVAL, expectedBars, makeTicks, type PartitionedTick } from '../support/golden-ticks.ts'
import { eventually } from '../support/eventually.ts'
import { runRunner, startRunner, tempDir } from '../support/runner.ts'
import { freePorts } from '../support/servers/ports.ts'
import { type Backend, embeddedBackend, kafkaBackend } from './lib/backend.ts'
import type { ConsumedRecord } from '../support/kcat.ts'
import { BarsPipeline, byKey, expectBars, header } from './lib/bars-run.ts'
import { get, metric, untilStatus } from './lib/http.ts'

/** A window that lies between the bounds as a whole. */
function liesWithin(bar: string, from: number, to: number): boolean {
  const { start, end } = JSON.parse(bar) as { start: number; end: number }
  return start >= from && end <= to
}

const PARTITIONS = [['BTCUSDT'], ['ETHUSDT', 'SOLUSDT']]

describe.each(['kafka', 'embedded'] as const)('%s', name => {
  const use = async (work: (backend: Backend, cwd: string) => Promise<void>): Promise<void> => {
    const cwd = tempDir()
    const backend: Backend = name === 'kafka' ? await kafkaBackend() : embeddedBackend(cwd)
    try {
      await work(backend, cwd)
    } finally {
      await backend.close()
    }
  }

  test('the shipped pipelines/bars.yaml: ticks in, one-minute bars out', () =>
    use(async (backend, cwd) => {
      const file = new URL('../../pipelines/bars.yaml', import.meta.url).pathname
      const ticks = makeTicks({ seed: 3, count: 20_000, partitions: [['BTCUSDT']] })
      const shape = await BarsPipeline.create(backend, cwd, 1)
      await shape.feedAll(ticks)
      const env = {
        ...backend.env,
        TICKS_TOPIC: shape.input,
        BARS_TOPIC: shape.output,
        KAFKA_GROUP: shape.group,
        KAFKA_DLQ_TOPIC: shape.dead,
      }
      const args = ['run', file, '--until-idle', '1s', '--set', `name=${shape.name}`, '--set', 'metrics.enabled=false']
      const { code, stderr } = await runRunner(args, { cwd, env })
      expect(code, stderr).toBe(0)
      const bars = (await backend.readAll(shape.output)).map(
        r => JSON.parse(String(r.value)) as { interval: string; start: number; end: number },
      )
      expect(bars.length).toBeGreaterThan(10)
      expect(bars.every(b => b.interval === '1m' && b.end - b.start === 60_000 && b.start % 60_000 === 0)).toBe(true)
    }))

  test('--from and --to: the bars of a time range equal those of the live run byte for byte, with out-of-order and late trades', () =>
    use(async (backend, cwd) => {
      const ticks = makeTicks({ seed: 12, count: 30_000, partitions: PARTITIONS })
      const live = await BarsPipeline.create(backend, cwd, 2)
      await live.feedAll(ticks)
      await live.start(['--until-idle', '1s']).exit(0)
      await live.verify(ticks)
      const [from, to] = stretch(ticks)
      const fill = await BarsPipeline.create(backend, cwd, 2, { input: live.input, name: live.name })
      // Small, so that the stretch and what has to be read around it are a part of the topic only.
      const args = ['--from', new Date(from).toISOString(), '--to', String(to), '--set', 'transforms[0].bars.max_future=30s']
      await fill.start(args).exit(0)
      const within = new Map([...expectedBars(ticks).bars].map(([key, bars]) => [key, bars.filter(b => liesWithin(b.value, from, to))]))
      expectBars(await backend.readAll(fill.output), within)
      const late = (records: ConsumedRecord[]) =>
        records
          .filter(r => Number(header(r, 'source_timestamp')) >= from && Number(header(r, 'source_timestamp')) < to)
          .map(r => `${header(r, 'source_partition')}/${header(r, 'source_offset')}`)
          .toSorted()
      const dead = await backend.readAll(fill.dead, { headers: true })
      expect(late(dead)).toEqual(late(await backend.readAll(live.dead, { headers: true })))
      expect(dead.length).toBe(late(dead).length)
      // A backfill has no group.
      expect(await backend.committed(fill.group, live.input)).toEqual(new Map())
      // And it takes nothing away from the live pipeline of the same name, which goes on where it was.
      await live.start(['--until-idle', '1s']).exit(0)
      await live.verify(ticks)
    }))

  test('--dry-run prints and leaves no trace', () =>
    use(async (backend, cwd) => {
      const ticks = makeTicks({ seed: 13, count: 5_000, partitions: PARTITIONS })
      const pipeline = await BarsPipeline.create(backend, cwd, 2)
      await pipeline.feedAll(ticks)
      const runner = pipeline.start(['--dry-run'])
      await runner.exit(0)
      const golden = expectedBars(ticks)
      for (const { value } of [...golden.bars.values()].flat()) expect(runner.stdout).toContain(value)
      expect(runner.stdout.match(/error_message|# late/g)?.length ?? 0).toBeGreaterThanOrEqual(golden.late > 0 ? 1 : 0)
      expect(await backend.readAll(pipeline.output)).toEqual([])
      expect(await backend.readAll(pipeline.dead)).toEqual([])
      expect(await backend.committed(pipeline.group, pipeline.input)).toEqual(new Map())
    }))

  test('several files in one process, seen from outside through one port', () =>
    use(async (backend, cwd) => {
      const [port] = await freePorts(1)
      const ticks = makeTicks({ seed: 14, count: 6_000, partitions: PARTITIONS })
      const a = await BarsPipeline.create(backend, cwd, 2, { metricsPort: port })
      const b = await BarsPipeline.create(backend, cwd, 2, { metricsPort: port, input: a.input, delivery: 'at_least_once' })
      await a.feedAll(ticks)
      const runner = startRunner(['run', a.file, b.file], { cwd, env: backend.env })
      await untilStatus(runner, port, '/ready', 200)
      await Promise.all([a.verify(ticks), b.verify(ticks)])
      const golden = expectedBars(ticks)
      // Counted once they are committed, which is later than written at least once. Two closing trades, whose own bars stay open.
      const body = await eventually(async () => {
        const page = (await get(port, '/metrics')).body
        for (const { name } of [a, b])
          expect(metric(page, 'runner_step_messages_in_total', { pipeline: name, kind: 'source' })).toBe(ticks.length + 2)
        return page
      })
      for (const { name: pipeline } of [a, b]) {
        const of = (metricName: string, kind: string) => metric(body, metricName, { pipeline, kind })
        expect(of('runner_step_messages_out_total', 'sink')).toBe(golden.count)
        expect(metric(body, 'runner_step_messages_dead_total', { pipeline, step: 'bars' })).toBe(golden.late)
        expect(metric(body, 'runner_ready', { pipeline })).toBe(1)
        expect(metric(body, 'runner_lag', { pipeline })).toBe(0)
        expect(metric(body, 'runner_state_keys', { pipeline })).toBeGreaterThan(0)
        expect(metric(body, 'runner_watermark_delay_seconds', { pipeline })).toBeGreaterThan(0)
        expect(of('runner_step_seconds_total', 'sink')).toBeGreaterThan(0)
      }
      expect(metric(body, 'kafka_messages_published_total', { topic: a.output })).toBe(golden.count)
      expect(metric(body, 'kafka_dlq_published_total', { dlq_topic: a.dead, source_topic: a.input, error_type: 'late' })).toBe(golden.late)
      const ready = JSON.parse((await get(port, '/ready')).body) as { pipelines: { pipeline: string }[] }
      expect(ready.pipelines.map(p => p.pipeline).toSorted()).toEqual([a.name, b.name].toSorted())
      expect((await get(port, '/')).status).toBe(404)
      runner.kill('SIGTERM')
      await runner.exit(0)
    }))

  test('--set overrides a value of the file', () =>
    use(async (backend, cwd) => {
      const ticks = makeTicks({ seed: 15, count: 5_000, partitions: PARTITIONS })
      const pipeline = await BarsPipeline.create(backend, cwd, 2)
      const elsewhere = await backend.topic('elsewhere', 2)
      await pipeline.feedAll(ticks)
      await pipeline.start(['--until-idle', '1s', '--set', `sinks[0].kafka.topic=${elsewhere}`]).exit(0)
      expect(await backend.readAll(pipeline.output)).toEqual([])
      expectBars(await backend.readAll(elsewhere), expectedBars(ticks).bars)
    }))

  test('at least once is exact without faults', () =>
    use(async (backend, cwd) => {
      const ticks = makeTicks({ seed: 16, count: 10_000, partitions: PARTITIONS })
      const pipeline = await BarsPipeline.create(backend, cwd, 2, { delivery: 'at_least_once' })
      await pipeline.feedAll(ticks)
      await pipeline.start(['--until-idle', '1s']).exit(0)
      await pipeline.verify(ticks)
      const before = byKey(await backend.readAll(pipeline.output))
      // A second run finds everything committed.
      await pipeline.start(['--until-idle', '1s']).exit(0)
      expect(byKey(await backend.readAll(pipeline.output))).toEqual(before)
    }))
})

/** A stretch in the middle, on bar boundaries. */
function stretch(ticks: readonly PartitionedTick[]): [from: number, to: number] {
  const times = ticks.map(t => t.ts).toSorted((a, b) => a - b)
  const align = (time: number) => Math.floor(time / BAR_INTERVAL) * BAR_INTERVAL
  return [align(times[Math.floor(times.length / 4)]), align(times[Math.floor((times.length * 3) / 4)])]
}
