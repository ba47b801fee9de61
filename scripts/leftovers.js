import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Processes that a test run started and did not end (they carry its mark in their environment; they are killed here),
 * and what it left in its temporary directory.
 * @param {string} mark value of RUNNER_TEST_RUN
 * @param {string} temp
 * @returns {Promise<string[]>}
 */
export async function leftBehind(mark, temp) {
  // The last ones are allowed a moment to die.
  const deadline = Date.now() + 15_000
  let processes = marked(mark)
  while (processes.length > 0 && Date.now() < deadline) {
    await sleep(50)
    processes = marked(mark)
  }
  for (const { pid } of processes)
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It went by itself in this very moment.
    }
  return [
    ...processes.map(({ pid, command }) => `process ${pid}: ${command}`),
    ...readdirSync(temp).map(name => `file ${name} in the temporary directory`),
  ]
}

function marked(mark) {
  const found = []
  let pids
  try {
    pids = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  } catch {
    // No /proc on this system: only files are checked.
    return []
  }
  for (const pid of pids) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`RUNNER_TEST_RUN=${mark}`)) continue
      // A zombie has no executable any more; its parent's business.
      readlinkSync(`/proc/${pid}/exe`)
      found.push({ pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim().slice(0, 200) })
    } catch {
      // Gone meanwhile, or another user's.
    }
  }
  return found
}
