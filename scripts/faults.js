/** `npm run faults`: runs the fault matrix (test/faults/matrix) and writes its results to docs/guarantees.md. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { fail, installCommands, installPackages, projectNode, root } from './bootstrap.js'

const USAGE = `Usage: npm run faults -- [options]

  --only TEXT    run the rows whose title contains TEXT
  --rows eo|all  exactly-once rows only, or all (default: all)
  --kafka LINE   3.9, 4.1 or 4.3 (default: 4.1); 3.9 and 4.3 have the exactly-once rows
  --missing      only rows that the page has no result of
  --seed N       seed of the random choices (default: 20261129)
`

let values
try {
  ;({ values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      rows: { type: 'string', default: 'all' },
      kafka: { type: 'string', default: '4.1' },
      missing: { type: 'boolean', default: false },
      seed: { type: 'string', default: '20261129' },
      help: { type: 'boolean', short: 'h' },
    },
  }))
} catch (error) {
  fail(`${error.message}\n${USAGE}`, 2)
}
if (values.help) {
  process.stdout.write(USAGE)
  process.exit(0)
}
if (!['eo', 'all'].includes(values.rows)) fail(`--rows is eo or all, not ${values.rows}`, 2)
if (!['3.9', '4.1', '4.3'].includes(values.kafka)) fail(`--kafka is 3.9, 4.1 or 4.3, not ${values.kafka}`, 2)
if (!/^\d{1,15}$/.test(values.seed)) fail(`--seed is a whole number, not ${values.seed}`, 2)

installPackages()
await installCommands({ required: true })
const { only, rows, kafka, missing, seed } = values
const child = spawn(
  projectNode(),
  [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', '--reporter=verbose', 'test/faults/guarantees.test.ts'],
  // The shared broker of the tests stays down: the matrix has its own.
  {
    cwd: root,
    env: { ...process.env, KAFKA_BROKERS: 'none:0', FAULTS: JSON.stringify({ only, rows, kafka, missing }), FAULT_SEED: seed },
    stdio: 'inherit',
  },
)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
child.once('exit', code => (process.exitCode = code ?? 1))
