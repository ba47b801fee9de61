/**
 * Redis for tests. `redis-cli` is an independent client that shares no code with the client under test; `raw` is a bare
 * connection for fast writes. Importing this module starts the shared server if it isn't there yet.
 */
import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import { inject } from 'vitest'

const address = await ask()

/** URL of the shared server. */
export const redisUrl = (): string => address

/** The output of `redis-cli` for a command, without its last newline. */
export async function cli(args: readonly (string | number)[], url = address): Promise<string> {
  const { stdout } = await promisify(execFile)('redis-cli', ['-u', url, ...args.map(String)], { maxBuffer: 256 * 1024 * 1024 })
  return stdout.replace(/\n$/, '')
}

/** One command in the server's own protocol. */
export function encode(args: readonly (string | Buffer)[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${args.length}\r\n`)]
  for (const arg of args) {
    const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(arg)
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'))
  }
  return Buffer.concat(parts)
}

/** Writes encoded commands at full speed and resolves when `replies` one-line answers are there. */
export function raw(port: number, commands: Buffer, replies: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port })
    let seen = 0
    socket.on('data', (data: Buffer) => {
      for (const byte of data) if (byte === 10) seen++
      if (seen >= replies) {
        resolve()
        socket.destroy()
      }
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error(`connection closed after ${seen} of ${replies} answers`)))
    socket.write(commands)
  })
}

async function ask(): Promise<string> {
  const answer = await fetch(`${inject('servers')}/redis`)
  const text = await answer.text()
  if (!answer.ok) throw new Error(`no Redis for the tests: ${text}`)
  return text
}
