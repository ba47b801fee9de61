/** One contender, once: from its start until its whole output is visible to a reader who reads only what is committed. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guard } from '../../test/support/servers/guard.ts'
import { costOf, type Cost } from './proc.ts'

export interface Command {
  argv: readonly string[]
  env?: Record<string, string>
  cwd?: string
}

/** Something whose visible size can be polled. */
export interface Watch {
  end(): Promise<number>
  close(): void
}

export interface Measurement {
  /** Start of the process to the first and to the last visible output, ms. */
  firstMs: number
  lastMs: number
  /** Size of the output (offsets) when the first of it was seen, and at the end. */
  firstEnd: number
  lastEnd: number
  /** At the last output: start-up included, shutdown not. */
  cpuMs: number
  peakMb: number
}

const POLL_MS = 5
/** Output that has not grown for so long is checked for being complete. */
const QUIET_MS = 1_500
const GIVE_UP_MS = 60_000

/**
 * @param complete whether the output is all there; asked once it has stopped growing
 * @param sample called about every 100 ms while it runs, for soak tests
 * @throws {Error} with the end of the contender's log when it ends early or stalls.
 */
export async function measure(
  command: Command,
  watch: Watch,
  complete: (end: number) => Promise<boolean>,
  dir: string,
  sample?: (ms: number, end: number, cost: Cost) => void,
): Promise<Measurement> {
  const log = join(dir, 'contender.log')
  const fd = openSync(log, 'a')
  const started = performance.now()
  const child = spawn(command.argv[0], command.argv.slice(1), {
    cwd: command.cwd ?? dir,
    env: { ...process.env, ...command.env },
    stdio: ['ignore', fd, fd],
  })
  closeSync(fd)
  const pid = await new Promise<number>((resolve, reject) => child.once('error', reject).once('spawn', () => resolve(child.pid!)))
  const watcher = guard(pid)
  let ended: string | undefined
  child.once('exit', (code, signal) => (ended = String(signal ?? code)))
  const problem = (what: string) => new Error(`${what}; the end of its log:\n${readFileSync(log, 'utf8').slice(-3_000)}`)

  try {
    const m: Measurement = { firstMs: 0, lastMs: 0, firstEnd: 0, lastEnd: 0, cpuMs: 0, peakMb: 0 }
    let sampled = 0
    for (;;) {
      const end = await watch.end()
      const ms = performance.now() - started
      if (end > m.lastEnd) {
        const cost = costOf(pid)
        // A process that has ended and is gone from /proc keeps its last figures.
        Object.assign(m, { lastEnd: end, lastMs: ms, cpuMs: Math.max(m.cpuMs, cost.cpuMs), peakMb: Math.max(m.peakMb, cost.peakMb) })
        if (m.firstEnd === 0) Object.assign(m, { firstEnd: end, firstMs: ms })
      } else if (m.lastEnd > 0 && ms - m.lastMs > QUIET_MS) {
        if (await complete(m.lastEnd)) return m
        if (ended !== undefined) throw problem(`ended (${ended}) before its output was complete`)
      } else if (m.lastEnd === 0 && ended !== undefined) {
        throw problem(`ended (${ended}) without any output`)
      }
      if (ms - m.lastMs > GIVE_UP_MS)
        throw problem(m.lastEnd === 0 ? `no output within ${GIVE_UP_MS / 1000} s` : `no more output after ${m.lastEnd} records`)
      if (sample !== undefined && ms - sampled > 100) {
        sampled = ms
        sample(ms, end, costOf(pid))
      }
      await sleep(POLL_MS)
    }
  } finally {
    await stop()
    await watcher.release()
    watch.close()
  }

  async function stop(): Promise<void> {
    if (ended !== undefined) return
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 8_000)
    await gone
    clearTimeout(late)
  }
}
