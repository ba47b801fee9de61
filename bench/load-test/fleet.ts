/** The runners under test: started, killed on demand, and started again when they end, as a supervisor would. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { guard } from '../../test/support/servers/guard.ts'
import { root } from '../contenders/build.ts'

export class Process {
  readonly name: string
  /** How often it ended by itself: killed ones are not counted. */
  crashes = 0
  private readonly pipeline: string
  private readonly env: Record<string, string>
  private readonly log: string
  private child: ChildProcess | undefined
  private watch: { release(): Promise<void> } | undefined
  private stopping = false
  private killed = false

  constructor(name: string, pipeline: string, env: Record<string, string>, dir: string) {
    this.name = name
    this.pipeline = pipeline
    this.env = env
    this.log = join(dir, `${name}.log`)
  }

  get pid(): number {
    return this.child?.pid ?? 0
  }

  start(): void {
    const fd = openSync(this.log, 'a')
    const file = join(root, 'pipelines', `${this.pipeline}.yaml`)
    const child = spawn(process.execPath, [join(root, 'bin/runner.js'), 'run', file, '--log-format', 'json'], {
      env: { ...process.env, NODE_ENV: 'production', ...this.env },
      stdio: ['ignore', fd, fd],
    })
    closeSync(fd)
    this.child = child
    this.watch = child.pid === undefined ? undefined : guard(child.pid)
    child.once('exit', () => {
      void this.watch?.release()
      if (this.child !== child) return
      this.child = undefined
      if (this.stopping) return
      if (this.killed) this.killed = false
      else this.crashes++
      setTimeout(() => {
        if (!this.stopping) this.start()
      }, 200)
    })
  }

  /** SIGKILL; it comes back. */
  kill(): void {
    this.killed = true
    this.child?.kill('SIGKILL')
  }

  async stop(): Promise<void> {
    this.stopping = true
    const { child } = this
    if (child === undefined) return
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 15_000)
    await gone
    clearTimeout(late)
  }

  tail(): string {
    try {
      return readFileSync(this.log, 'utf8').split('\n').slice(-6).join('\n')
    } catch {
      return ''
    }
  }
}
