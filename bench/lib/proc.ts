/** What a process and its children cost, read from /proc. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const HZ = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

export interface Cost {
  /** User and system time of the process tree so far, ms (in steps of 10). */
  cpuMs: number
  /** Sum of the peaks of its processes, MB. */
  peakMb: number
  /** Resident now, MB. */
  rssMb: number
}

export function costOf(pid: number): Cost {
  const total: Cost = { cpuMs: 0, peakMb: 0, rssMb: 0 }
  for (const each of tree(pid)) {
    const cost = one(each)
    total.cpuMs += cost.cpuMs
    total.peakMb += cost.peakMb
    total.rssMb += cost.rssMb
  }
  return total
}

function one(pid: number): Cost {
  try {
    // The command's name, in brackets, may hold spaces; what follows may not.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // utime, stime, and those of children that have ended and been waited for
    const ticks = [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0)
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const kb = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0)
    return { cpuMs: (ticks * 1000) / HZ, peakMb: kb('VmHWM') / 1024, rssMb: kb('VmRSS') / 1024 }
  } catch {
    return { cpuMs: 0, peakMb: 0, rssMb: 0 }
  }
}

function tree(pid: number): number[] {
  let children: number[] = []
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
  } catch {
    // Gone, or a kernel without this file: then only the process itself counts.
  }
  return [pid, ...children.flatMap(tree)]
}
