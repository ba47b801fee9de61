/** `npm run fuzz -- TARGET --minutes N [--seed S]`; see CONTRIBUTING.md. Without a target, all of them in turn, N minutes each. */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { CORPUS } from './corpus.ts'
import { fuzz } from './fuzz.ts'
import { targets } from './targets.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string' } },
})
const names = positionals.length > 0 ? positionals : Object.keys(targets)
const minutes = Number(values.minutes)
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e9))
const unknown = names.find(name => !Object.hasOwn(targets, name))
if (unknown !== undefined || !(minutes > 0) || !Number.isInteger(seed)) {
  console.error(`usage: npm run fuzz -- [TARGET...] [--minutes N] [--seed S]\ntargets: ${Object.keys(targets).join(', ')}`)
  process.exit(2)
}
for (const name of names) {
  const { runs, outcomes, failure, input } = await fuzz(name, { seed, runs: Number.POSITIVE_INFINITY, seconds: minutes * 60 })
  if (failure === undefined) {
    console.log(`${name}: ${runs} inputs, ${outcomes} outcomes, seed ${seed}`)
    continue
  }
  const folder = join(CORPUS, name)
  const file = join(folder, createHash('sha256').update(input!).digest('hex').slice(0, 12))
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, input!)
  console.error(`${name}: FAILED after ${runs} inputs, seed ${seed}; the input is ${relative(process.cwd(), file)}\n${failure}`)
  process.exitCode = 1
}
