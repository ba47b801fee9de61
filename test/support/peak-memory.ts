import { readFileSync } from 'node:fs'

/** The most memory a process has had since it started its program, kB. `maxRSS` would count the memory of the process that started it. */
export const peakMemory = (process: number | 'self'): number =>
  Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${process}/status`, 'utf8'))![1])
