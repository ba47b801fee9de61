/** Is the process that wrote this line still running? Spares a group the wait for a session to expire after a `kill -9`. */
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** Identity of this process: where it runs, its id, and its start, because ids are used again. */
export function processToken(): string {
  return JSON.stringify([machine(), process.pid, startOf(process.pid) ?? ''])
}

/** False only when the process is surely gone; of other machines and containers nothing is known. */
export function mayBeAlive(token: string): boolean {
  const [where, pid, start] = JSON.parse(token) as [string, number, string]
  if (where !== machine()) return true
  if (pid === process.pid) return true
  if (start !== '') return startOf(pid) === start
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Of a token, for people. */
export function processName(token: string): string {
  const [where, pid] = JSON.parse(token) as [string, number]
  return `process ${pid} on ${where.split(' ')[0]}`
}

let known: string | undefined

/** Process ids mean something only within one pid namespace, which containers sharing a volume do not share. */
function machine(): string {
  if (known === undefined) {
    known = hostname()
    try {
      // The boot's id too: two machines may share a host name, and every machine's first namespace has the same number.
      known += ` ${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()} ${readlinkSync('/proc/self/ns/pid')}`
    } catch {
      // No /proc on this system, hence no pid namespaces either.
    }
  }
  return known
}

/** Start time from /proc; undefined when there is no such process, it is a zombie, or there is no /proc. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The command, in parentheses, may contain anything; the fields behind it are plain.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  } catch {
    return undefined
  }
}
