/** Children that must not outlive this process, however it ends. */
import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'

export interface Guard {
  /** The child has ended normally and needs no guard. */
  release(): Promise<void>
}

// The pipe that `read` waits on closes only when this process ends, or with `release`.
const SCRIPT = 'read -r word; [ "$word" = done ] && exit 0; kill -9 "$1"; [ -n "$2" ] && rm -rf "$2"'

/**
 * Kills `pid` and removes `dir` when this process ends without calling `release`: also on SIGKILL, when no exit handler
 * of ours runs. The watcher is a shell in a session of its own, out of reach of the terminal's Ctrl-C.
 */
export function guard(pid: number, dir?: string): Guard {
  const shell = spawn('sh', ['-c', SCRIPT, 'guard', String(pid), dir ?? ''], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  const ended = new Promise<void>(resolve => shell.once('exit', () => resolve()).once('error', () => resolve()))
  // Neither may keep this process alive. Node gives a child's pipe as a Socket; its type says only Writable.
  shell.unref()
  const pipe = shell.stdin as Socket
  pipe.unref()
  pipe.on('error', () => {})
  return {
    release: async () => {
      shell.ref()
      pipe.end('done\n')
      await ended
    },
  }
}
