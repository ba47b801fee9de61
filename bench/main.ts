/** `npm run bench`: the runner beside its peers, on one broker and the same ticks, in one go. */
import { execFileSync } from 'node:child_process'
import { cpus, release, totalmem, type } from 'node:os'
import { InvalidArgumentError } from 'commander'
import { KAFKA_VERSION } from '../test/support/servers/java.ts'
import { startKafka } from '../test/support/servers/kafka.ts'
import { bare } from './contenders/bare.ts'
import type { Contender } from './contenders/contender.ts'
import { kcat } from './contenders/kcat.ts'
import { ours } from './contenders/ours.ts'
import { quix } from './contenders/quix.ts'
import { streams } from './contenders/streams.ts'
import { Dataset, loadKafka } from './lib/dataset.ts'
import { command, oneOf, whole } from './lib/options.ts'
import { median, type Results, type Row } from './report/results.ts'
import { saveResults, saveSoak } from './report/save.ts'
import { terminalTable } from './report/table.ts'
import { targets } from './report/targets.ts'
import { runOnce, type Arena } from './run.ts'
import { flat, slow } from './soak.ts'

/** What a sink must be compared with to be a hundred times slower; about what the map task reaches. */
const SOURCE_RATE = 200_000

const FAMILIES = ['ours', 'streams', 'quix', 'kafkajs', 'kcat'] as const

interface Flags {
  only?: string[]
  task?: string[]
  ticks?: number
  runs: number
  soak?: true
  save: boolean
}

const program = command(
  'npm run bench --',
  'The runner beside its peers; `outbox` as the first word: the outbox publisher beside Debezium.',
)
  .argument('[outbox]', 'must be the first word', () => {
    throw new InvalidArgumentError('only `outbox` may stand here, before all flags.')
  })
  .option('--only <families>', `of ${FAMILIES.join(', ')}`, oneOf(FAMILIES))
  .option('--task <tasks>', 'bars, map, digits; default all', oneOf(['bars', 'map', 'digits']))
  .option('--ticks <n>', 'input records; default 1000000, with --soak 10000000', whole)
  .option('--runs <n>', 'rounds; the median of each figure counts', whole, 3)
  .option('--soak', 'memory instead of speed: flat over 10 million ticks? bounded with a sink a hundred times too slow?')
  .option('--no-save', 'leave bench/results, docs/bench and docs/benchmarks.md alone (so does anything less than everything)')
const flags = program.parse().opts<Flags>()

const chosen = [...ours, ...streams, ...quix, ...bare, ...kcat].filter(
  each => (flags.only?.includes(each.family) ?? true) && (flags.task?.includes(each.task) ?? true),
)
if (chosen.length === 0) program.error(`error: ${flags.only!.join(', ')} has no task ${flags.task!.join(', ')}`)
const data = new Dataset(flags.ticks ?? (flags.soak ? 10_000_000 : 1_000_000))

// A young compiler only: a broker that gets faster while it runs would favor the last contender.
const broker = await startKafka({
  jvm: ['-Xmx1g', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'],
  // Both cores busy for long is what a benchmark is: no reason to take the broker for dead.
  properties: { 'broker.session.timeout.ms': 30_000 },
  say: console.error,
})
try {
  console.error(`Kafka at ${broker.brokers}; writing ${data.count.toLocaleString('en')} ticks`)
  const arena: Arena = { brokers: broker.brokers, input: 'ticks', data }
  await loadKafka(broker.brokers, arena.input, data)
  if (!flags.soak && chosen.some(each => each.task === 'digits')) {
    arena.digits = { input: 'ticks-of-many-digits', data: new Dataset(data.count, true) }
    await loadKafka(broker.brokers, arena.digits.input, arena.digits.data)
  }
  if (flags.soak) await soak(arena)
  else await race(arena)
} finally {
  await broker.stop()
}

async function race(arena: Arena): Promise<void> {
  data.bars()
  const rows = await prepared()
  const rounds = flags.runs
  // Round by round, not contender by contender: a noisy minute then spoils one round of each, not all of one.
  for (let round = 1; round <= rounds; round++) {
    for (const [contender, row] of rows) {
      if (row.problem !== undefined) continue
      try {
        const figures = await runOnce(contender, arena, `bench-${contender.family}-${round}-${rows.indexOf(rows.find(r => r[1] === row)!)}`)
        row.rounds.push(figures)
        console.error(
          `round ${round}: ${row.task}, ${row.name}: ${Math.round(figures.ratePerSecond).toLocaleString('en')}/s, ${figures.cpuMicrosPerRecord.toFixed(2)} µs`,
        )
      } catch (error) {
        row.problem = (error as Error).message
        console.error(`round ${round}: ${row.task}, ${row.name}: ${row.problem}`)
      }
    }
  }
  for (const [, row] of rows) if (row.problem === undefined) row.median = median(row.rounds)

  const results: Results = {
    date: new Date().toISOString(),
    machine: machine(),
    ticks: data.count,
    runs: rounds,
    rows: rows.map(([, row]) => row),
  }
  console.log(`\n${terminalTable(results)}\n`)
  for (const { text, measured, reached } of targets(results)) {
    if (reached !== undefined) console.log(`${reached ? 'reached' : 'MISSED '}  ${text} (${measured})`)
  }
  if (flags.save && flags.only === undefined && flags.task === undefined) {
    saveResults(results)
    console.error('written: bench/results/latest.json, docs/bench/*.svg, docs/benchmarks.md')
  }
  if (rows.some(([contender, row]) => contender.kind === 'ours' && row.problem !== undefined)) process.exitCode = 1
}

async function prepared(): Promise<[Contender, Row][]> {
  const rows: [Contender, Row][] = []
  for (const contender of chosen) {
    const { task, family, name, kind } = contender
    const row: Row = { task, family, name, kind, rounds: [] }
    try {
      await contender.prepare?.(data)
    } catch (error) {
      row.problem = `can't be made ready here: ${(error as Error).message}`
      console.error(`${name}: ${row.problem}`)
    }
    rows.push([contender, row])
  }
  return rows
}

async function soak(arena: Arena): Promise<void> {
  const results = { date: new Date().toISOString(), flat: await flat(arena), slow: await slow(arena, SOURCE_RATE, SOURCE_RATE / 100, 60) }
  console.log(JSON.stringify(results, null, 2))
  if (flags.save) saveSoak(results)
}

function machine(): Results['machine'] {
  const java = execFileSync('java', ['--version'], { encoding: 'utf8' }).split('\n')[0]
  const [{ model }] = cpus()
  return {
    cpu: model,
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release().split('-')[0]}`,
    node: process.versions.node,
    java,
    kafka: KAFKA_VERSION,
  }
}
