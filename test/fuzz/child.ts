/**
 * The process that decodes. `node child.ts TARGET SEED RUNS SECONDS LAST` tries inputs until either limit; `node child.ts TARGET --replay FILE…`
 * tries files. Each input is written to the file LAST before it is tried, so that the parent has it whatever happens here.
 */
import { openSync, readFileSync, writeSync } from 'node:fs'
import { basename } from 'node:path'
import { peakMemory } from '../support/peak-memory.ts'
import { corpusOf } from './corpus.ts'
import { MAX_INPUT, mutate } from './mutate.ts'
import { Random } from './random.ts'
import { MAX_RSS, type Report, SLOW } from './report.ts'
import { targets } from './targets.ts'

const [name, ...args] = process.argv.slice(2)
const target = await targets[name]()

/** With a lot of inputs kept, each is tried too seldom. */
const MAX_KEPT = 2000

async function attempt(input: Buffer): Promise<{ outcome?: string; failure?: string }> {
  try {
    return { outcome: await target.run(input) }
  } catch (error) {
    return { failure: (error as Error).stack ?? String(error) }
  }
}

/** CPU seconds of one attempt: the wall clock also depends on the load of the machine. */
async function cpuOf(input: Buffer): Promise<number> {
  const before = process.cpuUsage()
  await attempt(input)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

async function check(input: Buffer): Promise<{ outcome?: string; failure?: string }> {
  const before = performance.now()
  const result = await attempt(input)
  if (result.failure !== undefined) return result
  if (performance.now() - before > SLOW * 1000) {
    const seconds = Math.min(await cpuOf(input), await cpuOf(input))
    if (seconds > SLOW) return { failure: `it takes ${seconds.toFixed(1)} s` }
  }
  return result
}

/** Peak of this process, bytes. The parent tries the input again in a process of its own. */
/** Bytes. */
const peak = (): number => (process.platform === 'linux' ? peakMemory('self') : process.resourceUsage().maxRSS) * 1024

function report(result: Report): never {
  process.stdout.write(JSON.stringify(result))
  process.exit(0)
}

if (args[0] === '--replay') {
  for (const file of args.slice(1)) {
    const before = peak()
    const { failure } = await check(readFileSync(file))
    if (failure !== undefined) report({ runs: 0, outcomes: 0, failure: `${basename(file)}: ${failure}` })
    if (peak() > MAX_RSS && peak() > before * 1.2)
      report({ runs: 0, outcomes: 0, failure: `${basename(file)}: it takes ${Math.round(peak() / 1e6)} MB of memory` })
  }
  report({ runs: args.length - 1, outcomes: 0 })
}

const [seed, maxRuns, seconds] = args.map(Number)
const last = openSync(args[3], 'w')
const random = new Random(seed)
const kept = [...target.seeds(), ...corpusOf(name).map(file => readFileSync(file))]
const outcomes = new Map<string, number>()
const until = performance.now() + seconds * 1000
const head = Buffer.alloc(8)
let runs = 0

function changed(base: Buffer, other: Buffer): Buffer {
  const input = target.restructure && random.chance(0.7) ? target.restructure(base, other, random) : undefined
  if (input !== undefined && input.length <= MAX_INPUT && random.chance(0.8)) return input
  return mutate(input ?? base, other, target.dictionary ?? [], random)
}

for (; runs < maxRuns && performance.now() < until; runs++) {
  const base = runs < kept.length ? kept[runs] : random.pick(kept)
  let input = runs < kept.length ? base : changed(base, random.pick(kept))
  if (runs >= kept.length && target.repair && random.chance(0.85)) input = target.repair(input, random)
  head.writeUInt32LE(runs, 0)
  head.writeUInt32LE(input.length, 4)
  writeSync(last, head, 0, 8, 0)
  writeSync(last, input, 0, input.length, 8)
  const { outcome, failure } = await check(input)
  if (failure !== undefined) report({ runs, outcomes: outcomes.size, failure })
  if (peak() > MAX_RSS) report({ runs, outcomes: outcomes.size, failure: 'memory', memory: true })
  const seen = outcomes.get(outcome!) ?? 0
  outcomes.set(outcome!, seen + 1)
  if (seen < 4 && kept.length < MAX_KEPT) kept.push(input)
}
report({ runs, outcomes: outcomes.size })
