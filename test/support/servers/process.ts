/** A server's process: its output goes to a file, it ends with us, and it is killed, frozen and started again at will. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, readFileSync } from 'node:fs'
import { guard } from './guard.ts'

export interface ServerProcessOptions {
  /** For error texts. */
  readonly name: string
  /** File for its output. */
  readonly log: string
  /** Goes when this process dies without ending it. */
  readonly dir?: string
}

const STOP_TIMEOUT = 20_000

export class ServerProcess {
  private readonly options: ServerProcessOptions
  private child: ChildProcess | undefined
  private exited: Promise<void> = Promise.resolve()
  /** With the end of its log, once it has ended. */
  ended: string | undefined

  constructor(options: ServerProcessOptions) {
    this.options = options
  }

  /** 0 while it is down. */
  get pid(): number {
    return this.child?.pid ?? 0
  }

  async start(command: string, args: readonly string[], as: { uid?: number; gid?: number; cwd?: string } = {}): Promise<void> {
    const { name, log: path, dir } = this.options
    const log = createWriteStream(path, { flags: 'a' })
    await new Promise((resolve, reject) => log.once('open', resolve).once('error', reject))
    // Its own session: Ctrl-C on the terminal reaches us, and we decide when the server goes.
    const child = spawn(command, args, { ...as, stdio: ['ignore', log, log], detached: true })
    this.ended = undefined
    this.child = child
    const watch = child.pid === undefined ? undefined : guard(child.pid, dir)
    this.exited = new Promise(resolve => {
      const end = async (why: string) => {
        this.ended = `${name} ended (${why}):\n${tail(path)}`
        this.child = undefined
        await watch?.release()
        log.close()
        resolve()
      }
      child.once('error', error => void end(error.message))
      child.once('exit', (code, signal) => void end(String(signal ?? code)))
    })
  }

  signal(name: NodeJS.Signals): void {
    this.child?.kill(name)
  }

  /** Wakes it where it is frozen, sends the signal and waits for its end, which comes by SIGKILL when it takes too long. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this
    if (child === undefined) return
    child.kill('SIGCONT')
    child.kill(signal)
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT)
    await this.exited
    clearTimeout(late)
  }
}

function tail(path: string): string {
  return readFileSync(path, 'utf8').split('\n').slice(-12).join('\n')
}
