/** `npm run simulate -- --seeds 10000 --from 0`; `--seed N` runs one and prints its whole trace; `--mutants` finds the planted bugs. */
import { parseArgs } from 'node:util'
import { MUTANTS } from './mutants.ts'
import { simulate } from './simulate.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '500' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string' },
    mutants: { type: 'boolean', default: false },
  },
})

async function findMutants(): Promise<number> {
  let missed = 0
  for (const mutant of MUTANTS) {
    let seed = 0
    let found: readonly string[] = []
    for (; seed < 500 && found.length === 0; seed++) if (mutant.seeds?.(seed) !== false) found = (await simulate(seed, mutant)).violations
    if (found.length === 0) missed++
    console.log(`${mutant.name} | ${found.length > 0 ? `${seed} | ${found[0].slice(0, 150)}` : 'not found'}`)
  }
  return missed
}

async function runSeeds(from: number, count: number, whole: boolean): Promise<number> {
  const started = performance.now()
  let events = 0
  let failed = 0
  for (let seed = from; seed < from + count; seed++) {
    const { violations, trace, hash, rows, events: n } = await simulate(seed)
    events += n
    if (whole) console.log(trace.join('\n'))
    if (whole && violations.length === 0) console.log(`seed ${seed} passed: ${rows} rows, ${n} events, trace ${hash}`)
    if (violations.length === 0) continue
    failed++
    const end = whole ? [] : ['  last events:', ...trace.slice(-20).map(line => `    ${line.slice(0, 200)}`)]
    const found = violations.map(v => `  ${v}`)
    console.log([`seed ${seed} failed:`, ...found, ...end, `  repeat: npm run simulate -- --seed ${seed}`].join('\n'))
  }
  const seconds = (performance.now() - started) / 1000
  console.log(`${count} seeds, ${failed} failed, ${events} events, ${seconds.toFixed(1)} s`)
  return failed
}

const failures = values.mutants
  ? await findMutants()
  : values.seed === undefined
    ? await runSeeds(Number(values.from), Number(values.seeds), false)
    : await runSeeds(Number(values.seed), 1, true)
process.exitCode = failures === 0 ? 0 : 1
