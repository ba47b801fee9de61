/** Memory: does it stay flat over many ticks, and bounded when the sink is far slower than the source? */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guard } from '../test/support/servers/guard.ts'
import { root } from './contenders/build.ts'
import { ours } from './contenders/ours.ts'
import { createTopic } from './lib/dataset.ts'
import { measure } from './lib/measure.ts'
import { OffsetWatch } from './lib/offsets.ts'
import { costOf } from './lib/proc.ts'
import { readKafka } from './lib/verify.ts'
import type { Arena } from './run.ts'
import type { SoakResults } from './report/results.ts'

/** Bars at exactly once over the whole input: memory in the second tenth of the run (the first is warm-up) against the last. */
export async function flat({ brokers, input, data }: Arena): Promise<SoakResults['flat']> {
  const dir = mkdtempSync(join(tmpdir(), 'soak-'))
  const output = 'soak-bars'
  await createTopic(brokers, output)
  const contender = ours.find(each => each.task === 'bars' && /Kafka, exactly/.test(each.name))!
  const samples: { ms: number; rss: number }[] = []
  const complete = async (end: number) => end >= data.barCount && (await readKafka(brokers, output)).lines.length >= data.barCount
  const command = contender.command({ brokers, input, output, id: 'soak', dir })
  const m = await measure(command, new OffsetWatch(brokers, output), complete, dir, (ms, _end, cost) =>
    samples.push({ ms, rss: cost.rssMb }),
  )
  rmSync(dir, { recursive: true, force: true })
  return { ticks: data.count, seconds: m.lastMs / 1000, peakMb: m.peakMb, ...tenths(samples.filter(s => s.ms <= m.lastMs)) }
}

/** The same input mapped to a standard output that is read at `sinkRate` records per second. */
export async function slow({ brokers, input }: Arena, sourceRate: number, sinkRate: number, seconds: number): Promise<SoakResults['slow']> {
  const dir = mkdtempSync(join(tmpdir(), 'soak-'))
  const child = spawn(
    process.execPath,
    [join(root, 'bin/runner.js'), 'run', join(root, 'bench/pipelines/slow.yaml'), '--log-level', 'error'],
    {
      cwd: dir,
      env: { ...process.env, KAFKA_BROKERS: brokers, TICKS_TOPIC: input, KAFKA_GROUP: 'soak-slow' },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const watcher = guard(child.pid!, dir)
  let ended = false
  child.once('exit', () => (ended = true))
  const samples: { ms: number; rss: number }[] = []
  const started = performance.now()
  let records = 0
  let bytesPerRecord = 100
  let bytes = 0
  let peakMb = 0
  // Reading little is what makes the pipe, and with it the sink, slow.
  while (performance.now() - started < seconds * 1000 && !ended) {
    await sleep(20)
    const ms = performance.now() - started
    const due = Math.floor((ms / 1000) * sinkRate * bytesPerRecord) - bytes
    const chunk = due <= 0 ? null : ((child.stdout.read(Math.min(due, child.stdout.readableLength)) ?? null) as Buffer | null)
    if (chunk !== null) {
      bytes += chunk.length
      for (const byte of chunk) if (byte === 10) records++
      if (records > 100) bytesPerRecord = bytes / records
    } else child.stdout.read(0)
    const cost = costOf(child.pid!)
    peakMb = Math.max(peakMb, cost.peakMb)
    samples.push({ ms, rss: cost.rssMb })
  }
  const early = ended
  const gone = ended ? undefined : once(child, 'exit')
  child.kill('SIGKILL')
  await gone
  await watcher.release()
  rmSync(dir, { recursive: true, force: true })
  if (early || records === 0) throw new Error(`slow sink: ${records} records arrived${early ? ', and the runner ended' : ''}`)
  return { seconds, records, sourceRate, sinkRate: records / seconds, peakMb, ...tenths(samples) }
}

function tenths(samples: { ms: number; rss: number }[]): { earlyMb: number; lateMb: number } {
  const span = samples.at(-1)!.ms
  const middle = (from: number, to: number) => {
    const part = samples.filter(s => s.ms >= span * from && s.ms <= span * to).map(s => s.rss)
    return part.toSorted((a, b) => a - b)[part.length >> 1]
  }
  return { earlyMb: middle(0.1, 0.2), lateMb: middle(0.9, 1) }
}
