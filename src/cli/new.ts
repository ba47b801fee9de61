/** `runner new`: a pipeline or a plugin that runs, with a test that passes. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Command } from 'commander'
import { EnvironmentError } from '../contract/plugin.ts'
import type { Pipeline } from '../config/model.ts'
import { EXIT } from '../kit/exit-codes.ts'
import { reasonOf } from '../kit/system-error.ts'
import { runCommand } from './command.ts'
import { note, outcomeLine, printError, printJson, printWarning, usageError } from './output.ts'

/** Asks one question, and repeats it until `problem` finds nothing. */
export type Ask = (question: string, fallback: string, problem: (answer: string) => string | undefined) => Promise<string>

export function register(program: Command): void {
  program
    .command('new')
    .description('create a pipeline or a plugin with a test that passes')
    .argument('[file]', 'the pipeline file to create, or plugin')
    .argument('[flow]', 'source, transforms and sink, e.g. kafka/bars/kafka; with plugin: transform')
    .argument('[name]', 'with plugin: its name')
    .option('--from <file>', 'translate a config of Benthos, Bento, Redpanda Connect or Vector (YAML or JSON)')
    .option('--json', 'with --from: print what was created, and what was not translated, as JSON')
    .addHelpText(
      'after',
      `
Without a flow, it asks on a terminal. Existing files are never changed, except .env.example, which gets the missing variables.
With --from, parts without a translation become comments in the new file, and warnings.

Examples:
  $ runner new bars.yaml kafka/bars/kafka
  $ runner new                            # asks
  $ runner new --from redpanda.yaml       # writes a pipeline of that name, in the working directory
  $ runner new orders.yaml --from vector.yaml
  $ runner new plugin transform ema`,
    )
    .action(async (file: string | undefined, flow: string | undefined, name: string | undefined, flags: NewFlags) => {
      const words = [file, flow, name].filter(w => w !== undefined)
      await runCommand(() => (flags.from === undefined ? create(words) : createFrom(words, flags.from, flags)))
    })
}

interface NewFlags {
  readonly from?: string
  readonly json?: boolean
}

/** `--from`. @returns the exit code */
export async function createFrom(words: readonly string[], from: string, { json = false }: NewFlags = {}): Promise<number> {
  if (words.length > 1) return usageError('--from has the flow: name the new file only, runner new orders.yaml --from vector.yaml')
  const name = pipelineName(from)
  const file = words[0] ?? `${name}.yaml`
  const problem = fileProblem(file)
  if (problem !== undefined) return usageError(problem)
  let text: string
  try {
    text = readFileSync(from, 'utf8')
  } catch (error) {
    throw new EnvironmentError(`cannot read ${from}: ${reasonOf(error)}`, error)
  }
  const { translate } = await import('./new/from.ts')
  const made = await translate(text, basename(from), pipelineName(file))
  if (typeof made === 'string') return usageError(made)
  const code = await write({ [file]: made.pipeline, [testOf(file)]: made.test }, file, made.env, json)
  if (code !== EXIT.ok) return code
  addVariables(join(dirname(file), '.env.example'), made.variables, json)
  if (json) printJson({ ok: made.notes.length === 0, files: [file, testOf(file)], tool: made.tool, not_translated: made.notes })
  else {
    for (const { line, what, reason } of made.notes)
      printWarning(`${from}${line > 0 ? `:${line}` : ''} is not translated: ${what.split('\n')[0]}: ${reason}`)
    if (made.notes.length > 0)
      note(`\n${made.notes.length === 1 ? '1 part is' : `${made.notes.length} parts are`} not translated: see the comments in ${file}\n`)
    nextSteps(file, Object.keys(made.env).length > 0)
  }
  return EXIT.ok
}

/** The new pipeline must not replace the config that it is from. */
function pipelineName(path: string): string {
  const name = basename(path)
    .replace(/\.\w+$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .replace(/^[^a-z]+/, '')
  return name === '' ? 'pipeline' : name
}

function nextSteps(file: string, needsVariables = false): void {
  note(
    `\nnext:\n${needsVariables ? '  cp .env.example .env            # and set its variables\n' : ''}  runner test ${file}\n  runner explain ${file}\n  runner run ${file}\n`,
  )
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
  nextSteps(file)
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
async function write(
  files: Readonly<Record<string, string>>,
  pipeline: string,
  variables: Readonly<Record<string, string>> = {},
  silent = false,
): Promise<number> {
  for (const path of Object.keys(files)) if (existsSync(path)) return usageError(`${path} exists: name another file, or delete it`)
  const written: string[] = []
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, text, { flag: 'wx' })
      written.push(path)
    }
    const code = await complete(pipeline, variables)
    if (code !== EXIT.ok) throw new EnvironmentError(`${pipeline} does not pass its test here; nothing was created`)
  } catch (error) {
    for (const path of written) rmSync(path)
    if (error instanceof EnvironmentError) throw error
    throw new EnvironmentError(`cannot create the files: ${reasonOf(error)}`, error)
  }
  if (!silent) for (const path of written) note(outcomeLine('ok', `created ${path}`))
  return EXIT.ok
}

/** Fills the expectation with what the pipeline writes, and runs the test again. @param variables that the pipeline requires */
async function complete(pipeline: string, variables: Readonly<Record<string, string>>): Promise<number> {
  const [{ loadPipeline }, { runTestFile }, { accept }, { reportProblems }, { formatYaml }] = await Promise.all([
    import('../config/load.ts'),
    import('../testing/engine.ts'),
    import('../testing/accept.ts'),
    import('./load.ts'),
    import('./fmt/format.ts'),
  ])
  const { problems: all, pipeline: made } = await loadPipeline(pipeline, { env: { ...variables, ...process.env } })
  const problems = all.filter(p => p.severity === 'error')
  if (problems.length > 0) return await reportProblems(problems)
  const test = testOf(pipeline)
  if (made) writeFileSync(test, byName(readFileSync(test, 'utf8'), made))
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

/** With several sources or sinks, a test names them. The records are for the first source. */
function byName(test: string, { sources, sinks }: Pipeline): string {
  const [first, second] = sources
  const input =
    second === undefined
      ? test
      : test.replace(/- input:\n( +)(- .*)$/m, (_, indent, rest) => `- input:\n${indent}${first.name}:\n${indent}  ${rest}`)
  return sinks.length < 2 ? input : input.replace(/outputs: \[\]$/m, `outputs:${sinks.map(sink => `\n        ${sink.name}: []`).join('')}`)
}

/** Appends what is not there yet. */
function addVariables(path: string, lines: readonly string[], silent = false): void {
  if (lines.length === 0) return
  const known = existsSync(path)
  const before = known ? readFileSync(path, 'utf8') : '# Copy to .env, which runner reads, and set what differs from the default.\n'
  const set = new Set([...before.matchAll(/^\s*#?\s*(\w+)=/gm)].map(([, name]) => name))
  const missing = lines.filter(line => !set.has(/\w+(?==)/.exec(line)![0]))
  if (missing.length === 0) return
  writeFileSync(path, `${before}${before.endsWith('\n') ? '' : '\n'}${missing.join('\n')}\n`)
  if (!silent) note(outcomeLine('ok', `${known ? 'added variables to' : 'created'} ${path}`))
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
