/** `runner check`: tests whether the process could listen, and closes the port again. */
import { createServer } from 'node:net'
import type { CheckResult } from '../../contract/plugin.ts'
import { reasonOf } from '../system-error.ts'

const asked = new Map<string, Promise<CheckResult>>()

/** Steps may share a port: simultaneous checks get one result, and do not block each other. */
export async function checkPort({ host, port }: { readonly host: string; readonly port: number }): Promise<CheckResult[]> {
  const address = `${host === 'localhost' ? '127.0.0.1' : host}:${port}`
  let answer = asked.get(address)
  if (answer === undefined) {
    answer = listen(host, port).finally(() => asked.delete(address))
    asked.set(address, answer)
  }
  return [await answer]
}

function listen(host: string, port: number): Promise<CheckResult> {
  const what = `listening on ${host}:${port}`
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE'
      const fix = taken
        ? `check whether this pipeline is already running; otherwise find the process that uses the port (ss -ltnp 'sport = :${port}'), or set another port`
        : 'correct host and port'
      resolve({ what, ok: false, detail: reasonOf(error), fix })
    })
    server.listen(port, host, () => server.close(() => resolve({ what, ok: true, detail: 'the port is free' })))
  })
}
