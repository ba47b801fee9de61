/**
 * `npm run demo`: bars out of two hours of recorded ticks, on the embedded log. Everything it does is a command that you can
 * type yourself; it only starts them and lays out what they print.
 */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { styleText } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const runner = ['bin/runner.js']
// A log of the demo's own, so that it never meets yours; KAFKA_BROKERS is set aside for the same reason.
const directory = '.runner/demo'
const env = { ...process.env, RUNNER_STATE_DIR: directory, KAFKA_BROKERS: 'embedded', KAFKA_METRICS_ENABLED: 'false' }

interface Bar {
  readonly symbol: string
  readonly start: number
  readonly open: number
  readonly high: number
  readonly low: number
  readonly close: number
  readonly volume: number
  readonly count: number
}

process.chdir(root)
rmSync(directory, { recursive: true, force: true })

title('1. The pipeline: pipelines/bars.yaml')
command('runner explain pipelines/bars.yaml')
// The whole explanation goes on with every setting; the graph and its guarantees are enough here.
console.log(
  output('explain', 'pipelines/bars.yaml')
    // In colors, the title has more around it.
    .split(/^\S*Steps\S*$/m)[0]
    .trimEnd(),
)

title('2. Two hours of ticks into the embedded log, and bars out of it')
command('runner run examples/demo/load-ticks.yaml')
const loaded = performance.now()
call('run', 'examples/demo/load-ticks.yaml', '--log-level', 'warn')
console.log(
  `  ${readFileSync('examples/data/ticks.jsonl', 'utf8').trimEnd().split('\n').length.toLocaleString('en-US')} lines in ${((performance.now() - loaded) / 1000).toFixed(1)} s, good and bad alike\n`,
)
// What is read by then is there: reading creates no topic.
for (const topic of ['bars.BTCUSDT.1m', 'events.v1.dlq']) {
  command(`runner topics create ${topic}`)
  output('topics', 'create', topic)
}
command('runner run pipelines/bars.yaml   (and two small pipelines that print what it writes)')
const started = performance.now()
const { bars, dead } = await follow()
const seconds = (performance.now() - started) / 1000

title('3. What happened')
console.log(
  `${bars} bars and ${dead.size === 0 ? 'no' : [...dead.values()].reduce((n, d) => n + d.count, 0)} dead letters in ${seconds.toFixed(1)} s. The minute still open when the ticks ended waits in the checkpoint for the next one.`,
)
console.log('\nWhy records died; the topic has each one with its original bytes:')
for (const [reason, { count, example }] of [...dead].toSorted((a, b) => b[1].count - a[1].count).slice(0, 12)) {
  console.log(`  ${String(count).padStart(5)}  ${reason}`)
  console.log(styleText('dim', `         e.g. ${example}`))
}

title('4. Where to look next')
console.log(`  pipelines/bars.yaml            the file that ran; change a key to a wrong name and run: npx runner validate pipelines/bars.yaml
  pipelines/bars.test.yaml       its tests on a virtual clock, with a crash in the middle: npx runner test pipelines/bars.test.yaml
  examples/sma-crossover         a transform of your own, in one small file
  docs/guide                     concepts, expressions, delivery, operating
  KAFKA_BROKERS=host:9092        the same file on real brokers`)
rmSync(directory, { recursive: true, force: true })

function title(text: string): void {
  console.log(`\n${styleText('bold', text)}\n`)
}

function command(text: string): void {
  console.log(styleText('dim', `$ ${text}`))
}

function call(...args: string[]): void {
  const { status } = spawnSync(process.execPath, [...runner, ...args], { stdio: 'inherit', env })
  if (status !== 0) process.exit(status ?? 1)
}

function output(...args: string[]): string {
  const { status, stdout } = spawnSync(process.execPath, [...runner, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
    encoding: 'utf8',
  })
  if (status !== 0) process.exit(status ?? 1)
  return stdout
}

/** Runs the three pipelines until nothing more comes, and prints bars as they close. */
async function follow(): Promise<{ bars: number; dead: Map<string, { count: number; example: string }> }> {
  const files = ['pipelines/bars.yaml', 'examples/demo/print-bars.yaml', 'examples/demo/print-dead-letters.yaml']
  const child = spawn(process.execPath, [...runner, 'run', ...files, '--until-idle', '2s', '--log-level', 'warn'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  })
  const exited = new Promise<number>(resolve => child.once('exit', code => resolve(code ?? 1)))
  let bars = 0
  const dead = new Map<string, { count: number; example: string }>()
  console.log(styleText('dim', '  minute  symbol        open       high        low      close      volume  trades'))
  for await (const line of createInterface({ input: child.stdout })) {
    const record = JSON.parse(line) as Bar | { headers: Record<string, string>; value?: unknown; value_base64?: string }
    if ('headers' in record) note(dead, record.headers, record.value ?? `bytes, in base64: ${record.value_base64}`)
    else if (bars++ % 12 === 0 || bars < 8) console.log(row(record))
  }
  const code = await exited
  if (code !== 0) process.exit(code)
  console.log(styleText('dim', '  (the first ones, then every twelfth)'))
  return { bars, dead }
}

function note(dead: Map<string, { count: number; example: string }>, headers: Record<string, string>, value: unknown): void {
  const reason = `${headers.error_type}: ${headers.error_message.replace(/\d{10,}/g, 'N').slice(0, 90)}`
  const entry = dead.get(reason) ?? { count: 0, example: (typeof value === 'string' ? value : JSON.stringify(value)).slice(0, 100) }
  entry.count++
  dead.set(reason, entry)
}

function row(bar: Bar): string {
  const price = (n: number): string => n.toFixed(2).padStart(10)
  const time = new Date(bar.start).toISOString().slice(11, 16)
  return `  ${time}   ${bar.symbol} ${price(bar.open)} ${price(bar.high)} ${price(bar.low)} ${price(bar.close)}  ${String(bar.volume).padStart(10)}  ${String(bar.count).padStart(6)}`
}
