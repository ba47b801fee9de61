/** Starts the process that decodes and watches it: a crash, a hang and memory that grows are seen from outside. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { corpusOf } from './corpus.ts'
import { HEAP, type Report, STUCK } from './report.ts'

export interface Options {
  readonly seed: number
  readonly runs: number
  readonly seconds: number
}

export interface Result {
  readonly runs: number
  readonly outcomes: number
  /** The error and the input that causes it. */
  readonly failure?: string
  readonly input?: Buffer
}

/** Tries the inputs of the corpus, then mutated ones until either limit. */
export async function fuzz(target: string, { seed, runs, seconds }: Options): Promise<Result> {
  const temp = mkdtempSync(join(tmpdir(), 'fuzz-'))
  const last = join(temp, 'last')
  writeFileSync(last, Buffer.alloc(8))
  try {
    let done = 0
    let outcomes = 0
    const until = performance.now() + seconds * 1000
    for (let round = 0; done < runs; round++) {
      const left = Math.ceil((until - performance.now()) / 1000)
      if (round > 0 && left <= 0) break
      const report = await start(target, [String(seed + round), String(runs - done), String(Math.max(1, left)), last], last)
      const input = lastInput(last)
      done += Math.max(1, report.runs)
      outcomes = Math.max(outcomes, report.outcomes)
      if (report.memory) {
        // Garbage of many inputs, or this one?
        const file = join(temp, 'input')
        writeFileSync(file, input)
        const again = await replay(target, [file])
        if (again.failure !== undefined) return { runs: done, outcomes, failure: again.failure, input }
        continue
      }
      if (report.failure !== undefined) return { runs: done, outcomes, failure: report.failure, input }
      break
    }
    return { runs: done, outcomes }
  } finally {
    rmSync(temp, { recursive: true, force: true })
  }
}

/** Tries files, by default the whole corpus of the target. */
export function replay(target: string, files: readonly string[] = corpusOf(target)): Promise<Report> {
  return files.length === 0 ? Promise.resolve({ runs: 0, outcomes: 0 }) : start(target, ['--replay', ...files])
}

const lastInput = (file: string): Buffer => {
  const bytes = readFileSync(file)
  return bytes.subarray(8, 8 + bytes.readUInt32LE(4))
}

function start(target: string, args: readonly string[], last?: string): Promise<Report> {
  const child = spawn(process.execPath, [`--max-old-space-size=${HEAP}`, join(import.meta.dirname, 'child.ts'), target, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (bytes: Buffer) => void (out += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => void (err += bytes.toString()))
  let stuck = false
  let run = ''
  let since = performance.now()
  const watching = setInterval(() => {
    const now = last === undefined ? '' : readFileSync(last).subarray(0, 4).toString('hex')
    if (now !== run) {
      run = now
      since = performance.now()
    } else if (performance.now() - since > STUCK * 1000) {
      stuck = true
      child.kill('SIGKILL')
    }
  }, 500)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearInterval(watching)
      if (stuck) return resolve({ runs: 0, outcomes: 0, failure: `it has not ended after ${STUCK} s` })
      try {
        resolve(JSON.parse(out) as Report)
      } catch {
        resolve({ runs: 0, outcomes: 0, failure: `the process ended (${signal ?? code}): ${err.slice(-2000)}` })
      }
    })
  })
}
