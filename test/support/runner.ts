/** The command as a user starts it: `bin/runner.js` in a process and a directory of its own. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, dirname } from 'node:path'
import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach } from 'vitest'
import { type Watched, watched } from './watched.ts'

export interface RunnerOptions {
  /** Added to this process's environment; undefined removes a variable. */
  env?: Record<string, string | undefined>
  /** Default: a temporary directory that goes after the test file. */
  cwd?: string
  /** Whole standard input; default: none (closed at once). */
  stdin?: string | Buffer
  /** Standard input stays open: write to `input`. */
  openStdin?: boolean
}

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface Runner extends Watched {
  readonly pid: number
  readonly cwd: string
  /** All output so far. */
  readonly stdout: string
  readonly stderr: string
  readonly exited: Promise<Exit>
  readonly input: Writable
  /**
   * The first line of stdout or stderr that matches, past or to come.
   * @throws {Error} with the output so far when the process ends first or after `timeoutMs` (default 60 s).
   */
  line(pattern: RegExp | string, timeoutMs?: number): Promise<string>
  /** Sends the signal; `exited` resolves when the process has ended. */
  kill(signal?: NodeJS.Signals): void
  /** Waits for the end; @throws {Error} with the output when the code is another one or nothing ends within `timeoutMs` (default 90 s). */
  exit(code: number, timeoutMs?: number): Promise<void>
}

const BIN = fileURLToPath(new URL('../../bin/runner.js', import.meta.url))
const running = new Set<RunnerProcess>()
const dirs: string[] = []

afterEach(() => {
  // One that is still running may belong to the whole file.
  for (const runner of watched) if (!running.has(runner as RunnerProcess)) watched.delete(runner)
})
afterAll(async () => {
  for (const runner of running) runner.kill('SIGKILL')
  await Promise.all([...running].map(runner => runner.exited))
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
})

/** A directory that goes after the test file, with these files in it. */
export function tempDir(files: Record<string, string | Buffer> = {}): string {
  const dir = mkdtempSync(join(tmpdir(), 'runner-'))
  dirs.push(dir)
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), content)
  }
  return dir
}

/** Starts `runner ARGS...` and returns at once. */
export function startRunner(args: readonly string[], options: RunnerOptions = {}): Runner {
  return new RunnerProcess(args, options)
}

/** Runs `runner ARGS...` to its end, whatever the exit code. */
export async function runRunner(
  args: readonly string[],
  options: RunnerOptions & { timeoutMs?: number } = {},
): Promise<Exit & { stdout: string; stderr: string; cwd: string }> {
  const runner = new RunnerProcess(args, options)
  const exit = await runner.end(options.timeoutMs ?? 120_000)
  return { ...exit, stdout: runner.stdout, stderr: runner.stderr, cwd: runner.cwd }
}

class RunnerProcess implements Runner {
  readonly cwd: string
  private readonly args: readonly string[]
  private readonly child: ChildProcessWithoutNullStreams
  private readonly out = { stdout: '', stderr: '' }
  private readonly waiting = new Set<() => void>()
  private readonly whenExited: Promise<Exit>
  private over = false
  private ending: NodeJS.Signals | number | null = null
  /** The test ended it, or waits for its end. */
  private asked = false

  constructor(args: readonly string[], options: RunnerOptions) {
    this.args = args
    this.cwd = options.cwd ?? tempDir()
    this.child = spawn(process.execPath, [BIN, ...args], { cwd: this.cwd, env: { ...process.env, NO_COLOR: '1', ...options.env } })
    running.add(this)
    watched.add(this)
    for (const name of ['stdout', 'stderr'] as const) {
      this.child[name].setEncoding('utf8').on('data', (text: string) => {
        this.out[name] += text
        for (const check of this.waiting) check()
      })
    }
    // It may end, or never read, before all of its input is written.
    this.child.stdin.on('error', () => {})
    if (!options.openStdin) this.child.stdin.end(options.stdin)
    this.whenExited = new Promise(resolve => {
      this.child.once('close', (code, signal) => {
        this.over = true
        running.delete(this)
        for (const check of this.waiting) check()
        this.ending = signal ?? code
        resolve({ code, signal })
      })
    })
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get input(): Writable {
    return this.child.stdin
  }

  get exited(): Promise<Exit> {
    this.asked = true
    return this.whenExited
  }

  get endedUnasked(): boolean {
    return this.over && !this.asked
  }

  get stdout(): string {
    return this.out.stdout
  }

  get stderr(): string {
    return this.out.stderr
  }

  async line(pattern: RegExp | string, timeoutMs = 60_000): Promise<string> {
    return await new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer)
        this.waiting.delete(check)
      }
      const check = () => {
        const found = this.find(pattern)
        if (found === undefined && !this.over) return
        done()
        if (found === undefined) reject(new Error(this.describe(`ended before a line matched ${pattern}`)))
        else resolve(found)
      }
      const timer = setTimeout(() => {
        done()
        reject(new Error(this.describe(`no line matched ${pattern} within ${timeoutMs} ms`)))
      }, timeoutMs)
      this.waiting.add(check)
      check()
    })
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    this.asked = true
    this.child.kill(signal)
  }

  async exit(code: number, timeoutMs = 90_000): Promise<void> {
    const exit = await this.end(timeoutMs)
    if (exit.code !== code) throw new Error(this.describe(`expected exit code ${code}`))
  }

  /** A process that doesn't end in time is killed, so that no process remains after the failure. */
  async end(timeoutMs: number): Promise<Exit> {
    let late = false
    const timer = setTimeout(() => {
      late = true
      this.child.kill('SIGKILL')
    }, timeoutMs)
    const exit = await this.exited
    clearTimeout(timer)
    if (late) throw new Error(this.describe(`still running after ${timeoutMs} ms`))
    return exit
  }

  private find(pattern: RegExp | string): string | undefined {
    for (const text of [this.out.stdout, this.out.stderr]) {
      const lines = text.split('\n')
      // The last piece is a line only once the process is over.
      if (!this.over) lines.pop()
      const found = lines.find(line => (typeof pattern === 'string' ? line.includes(pattern) : pattern.test(line)))
      if (found !== undefined) return found
    }
    return undefined
  }

  describe(problem: string): string {
    const state = this.over ? ` (exit ${this.ending})` : ''
    return `runner ${this.args.join(' ')}${state}: ${problem}\n--- stdout\n${last(this.out.stdout)}\n--- stderr\n${last(this.out.stderr)}`
  }
}

const last = (text: string): string => (text.length > 8_000 ? `…${text.slice(-8_000)}` : text)
