/** Checks whether the process with this token is still running. Saves a group the wait for a session to expire after a `kill -9`. */
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** Identity of this process: its machine, its id, and its start time, because ids are reused. */
export function processToken(): string {
  return JSON.stringify([machine(), process.pid, startOf(process.pid) ?? ''])
}

/** False only when the process has certainly ended; other machines and containers are unknown. */
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

/** The text of a token for people. */
export function processName(token: string): string {
  const [where, pid] = JSON.parse(token) as [string, number]
  return `process ${pid} on ${where.split(' ')[0]}`
}

let known: string | undefined

/** Process ids are valid only within one pid namespace, which containers sharing a volume do not share. */
function machine(): string {
  if (known === undefined) {
    known = hostname()
    try {
      // Also the id of the boot: two machines may share a host name, and the first namespace of every machine has the same number.
      known += ` ${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()} ${readlinkSync('/proc/self/ns/pid')}`
    } catch {
      // This system has no /proc, hence no pid namespaces.
    }
  }
  return known
}

/** Start time from /proc; undefined when the process does not exist, is a zombie, or the system has no /proc. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The command, in parentheses, may contain any characters; the fields after it are plain.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  } catch {
    return undefined
  }
}
