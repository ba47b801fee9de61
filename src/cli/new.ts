/** `runner new`: a pipeline or a plugin that runs, with a test that passes. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Command } from 'commander'
import { EnvironmentError } from '../contract/plugin.ts'
import { EXIT } from '../kit/exit-codes.ts'
import { reasonOf } from '../kit/system-error.ts'
import { runCommand } from './command.ts'
import { note, outcomeLine, printError, printWarning, usageError } from './output.ts'

/** Asks one question, and repeats it until `problem` finds nothing. */
export type Ask = (question: string, fallback: string, problem: (answer: string) => string | undefined) => Promise<string>

export function register(program: Command): void {
  program
    .command('new')
    .description('create a pipeline or a plugin with a test that passes')
    .argument('[file]', 'the pipeline file to create, or plugin')
    .argument('[flow]', 'source, transforms and sink, e.g. kafka/bars/kafka; with plugin: transform')
    .argument('[name]', 'with plugin: its name')
    .addHelpText(
      'after',
      `
Without a flow, it asks on a terminal. Existing files are never changed, except .env.example, which gets the missing variables.

Examples:
  $ runner new bars.yaml kafka/bars/kafka
  $ runner new                            # asks
  $ runner new plugin transform ema`,
    )
    .action(async (...words: (string | undefined)[]) => {
      await runCommand(() => create(words.slice(0, 3).filter(w => typeof w === 'string')))
    })
}

/** @param ask on a terminal. @returns the exit code */
export async function create(words: readonly string[], ask: Ask | undefined = terminal()): Promise<number> {
  const { pipelineText, planOf, testText, variablesOf } = await import('./new/compose.ts')
  let [file, flow] = words
  if (file === 'plugin') return await plugin(words.slice(1))
  const problem = file === undefined ? undefined : fileProblem(file)
  if (problem !== undefined) return usageError(problem)
  if (flow === undefined) {
    if (!ask) return usageError('name the file and the flow: runner new bars.yaml kafka/bars/kafka')
    const { SOURCES, TRANSFORMS, SINKS } = await import('./new/steps.ts')
    const oneOf = (steps: Readonly<Record<string, string>>) => (word: string) =>
      Object.hasOwn(steps, word) ? undefined : `write one of ${Object.keys(steps).join(', ')}`
    file ??= await ask('file', 'pipeline.yaml', fileProblem)
    const list = (steps: object): string => Object.keys(steps).join(', ')
    const source = await ask(`source (${list(SOURCES)})`, 'kafka', oneOf(SOURCES))
    const transforms = await ask(`transforms, separated by / (${list(TRANSFORMS)})`, '', text =>
      text
        .split('/')
        .filter(w => w !== '')
        .map(oneOf(TRANSFORMS))
        .find(p => p !== undefined),
    )
    const sink = await ask(`sink (${list(SINKS)})`, 'stdout', oneOf(SINKS))
    flow = [source, ...transforms.split('/').filter(w => w !== ''), sink].join('/')
  }
  const plan = planOf(nameOf(file), flow)
  if (typeof plan === 'string') return usageError(plan)
  const text = pipelineText(plan)
  const code = await write({ [file]: text, [testOf(file)]: testText(plan) }, file)
  if (code !== EXIT.ok) return code
  addVariables(join(dirname(file), '.env.example'), variablesOf(plan, text))
  note(`\nnext:\n  runner test ${file}\n  runner explain ${file}\n  runner run ${file}\n`)
  return EXIT.ok
}

async function plugin([kind, name, ...rest]: readonly string[]): Promise<number> {
  if (kind !== 'transform')
    return usageError(
      'runner new plugin writes transforms: runner new plugin transform ema; for sources and sinks, copy one of examples/plugins',
    )
  if (name === undefined || rest.length > 0 || !/^[a-z][a-z0-9_]*$/.test(name))
    return usageError('name the plugin with lowercase letters, digits and _: runner new plugin transform ema')
  const { pluginFiles } = await import('./new/plugin.ts')
  const code = await write(pluginFiles(name), `${name}.yaml`)
  if (code === EXIT.ok) note(`\nnext:\n  runner test ${name}.yaml\n  echo '{"price": 200}' | runner run ${name}.yaml\n`)
  return code
}

const nameOf = (file: string): string => basename(file).replace(/\.ya?ml$/, '')
const testOf = (file: string): string => file.replace(/\.ya?ml$/, '.test.yaml')
const fileProblem = (file: string): string | undefined =>
  /\.ya?ml$/.test(file) && !/\.test\.ya?ml$/.test(file) ? undefined : `'${file}' is not a pipeline file: end it in .yaml`

/** Writes all files or none, and completes the test with the outputs of the pipeline. @returns the exit code */
async function write(files: Readonly<Record<string, string>>, pipeline: string): Promise<number> {
  for (const path of Object.keys(files)) if (existsSync(path)) return usageError(`${path} exists: name another file, or delete it`)
  const written: string[] = []
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, text, { flag: 'wx' })
      written.push(path)
    }
    const code = await complete(pipeline)
    if (code !== EXIT.ok) throw new EnvironmentError(`${pipeline} does not pass its test here; nothing was created`)
  } catch (error) {
    for (const path of written) rmSync(path)
    if (error instanceof EnvironmentError) throw error
    throw new EnvironmentError(`cannot create the files: ${reasonOf(error)}`, error)
  }
  for (const path of written) note(outcomeLine('ok', `created ${path}`))
  return EXIT.ok
}

/** Fills the expectation with what the pipeline writes, and runs the test again. */
async function complete(pipeline: string): Promise<number> {
  const [{ loadPipeline }, { runTestFile }, { accept }, { reportProblems }, { formatYaml }] = await Promise.all([
    import('../config/load.ts'),
    import('../testing/engine.ts'),
    import('../testing/accept.ts'),
    import('./load.ts'),
    import('./fmt/format.ts'),
  ])
  const { problems } = await loadPipeline(pipeline)
  if (problems.length > 0) return await reportProblems(problems)
  const test = testOf(pipeline)
  const run = () =>
    runTestFile(test, {
      repeat: 1,
      restTimeout: 10_000,
      load: (file, { env, set }) => loadPipeline(file, { env, set: set.map(s => s.argument) }),
    })
  let result = await run()
  if (result.problems.length > 0) return await reportProblems(result.problems)
  if (result.results.some(r => r.failures.length > 0)) {
    writeFileSync(test, formatYaml(accept(readFileSync(test, 'utf8'), result.results).text))
    result = await run()
  }
  const failures = [...result.problems.map(p => p.message), ...result.results.flatMap(r => r.failures)]
  if (failures.length === 0 && result.results.length > 0) {
    if (/^ *(outputs: \[\]|dead_letters:)$/m.test(readFileSync(test, 'utf8')))
      printWarning(`${test}: not all sample records get through the steps; change the records or the steps`)
    return EXIT.ok
  }
  for (const failure of failures) printError(JSON.stringify(failure))
  return EXIT.runtime
}

/** Appends what is not there yet. */
function addVariables(path: string, lines: readonly string[]): void {
  if (lines.length === 0) return
  const known = existsSync(path)
  const before = known ? readFileSync(path, 'utf8') : '# Copy to .env, which runner reads, and set what differs from the default.\n'
  const set = new Set([...before.matchAll(/^\s*#?\s*(\w+)=/gm)].map(([, name]) => name))
  const missing = lines.filter(line => !set.has(/\w+(?==)/.exec(line)![0]))
  if (missing.length === 0) return
  writeFileSync(path, `${before}${before.endsWith('\n') ? '' : '\n'}${missing.join('\n')}\n`)
  note(outcomeLine('ok', `${known ? 'added variables to' : 'created'} ${path}`))
}

/** Closes when the command ends; ctrl-c and ctrl-d end it. */
function terminal(): Ask | undefined {
  if (!process.stdin.isTTY || !process.stdout.isTTY) return undefined
  let lines: { next: () => Promise<{ value?: string; done?: boolean }>; prompt: (text: string) => void } | undefined
  return async (question, fallback, problem) => {
    lines ??= await linesOfTerminal()
    for (;;) {
      lines.prompt(`${question}${fallback === '' ? '' : ` [${fallback}]`}: `)
      const { value, done } = await lines.next()
      if (done) throw new EnvironmentError('stopped; nothing was created')
      const answer = (value ?? '').trim() || fallback
      const wrong = problem(answer)
      if (wrong === undefined) return answer
      process.stdout.write(`${wrong}\n`)
    }
  }
}

async function linesOfTerminal() {
  const { createInterface } = await import('node:readline')
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  lines.on('SIGINT', () => lines.close())
  // Otherwise an open terminal keeps the process alive.
  process.stdin.unref()
  const each = lines[Symbol.asyncIterator]()
  return {
    next: () => {
      process.stdin.ref()
      return each.next().finally(() => process.stdin.unref()) as Promise<{ value?: string; done?: boolean }>
    },
    prompt: (text: string) => {
      lines.setPrompt(text)
      lines.prompt()
    },
  }
}
