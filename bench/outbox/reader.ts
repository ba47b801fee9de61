/** What has arrived, seen by another client: kcat, read committed. Every row once, and each aggregate in order. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { guard } from '../../test/support/servers/guard.ts'

export class Reader {
  count = 0
  /** performance.now() at the last arrival. */
  lastAt = 0
  private readonly child
  private readonly watcher
  private readonly seen = new Set<number>()
  private readonly last = new Map<string, number>()
  private latencies: number[] = []
  private problem: Error | undefined

  constructor(brokers: string, topic: string) {
    const args = ['-C', '-q', '-u', '-b', brokers, '-t', topic, '-o', 'beginning', '-f', '%k %s\n']
    const quick = ['fetch.wait.max.ms=10', 'isolation.level=read_committed', 'fetch.error.backoff.ms=5']
    this.child = spawn('kcat', [...args, ...quick.flatMap(x => ['-X', x])], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.watcher = guard(this.child.pid!)
    createInterface(this.child.stdout).on('line', line => this.take(line))
  }

  /** Latencies in ms since the last call. */
  drain(): number[] {
    const found = this.latencies
    this.latencies = []
    return found
  }

  /** @throws {Error} when they do not come, or not as they should. */
  async until(count: number, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs
    while (this.count < count) {
      if (this.problem) throw this.problem
      if (Date.now() > deadline) throw new Error(`${this.count} of ${count} rows within ${timeoutMs / 1000} s`)
      await sleep(2)
    }
    if (this.problem) throw this.problem
  }

  async close(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.watcher.release()
  }

  private take(line: string): void {
    const now = performance.timeOrigin + performance.now()
    const space = line.indexOf(' ')
    const key = line.slice(0, space)
    const n = Number(/"n": ?(\d+)/.exec(line)![1])
    if (this.seen.has(n)) this.problem ??= new Error(`row ${n} came twice`)
    if ((this.last.get(key) ?? 0) > n) this.problem ??= new Error(`row ${n} of ${key} came after ${this.last.get(key)}`)
    this.seen.add(n)
    this.last.set(key, n)
    this.latencies.push(now - Number(/"t": ?([\d.]+)/.exec(line)![1]))
    this.count++
    this.lastAt = performance.now()
  }
}
