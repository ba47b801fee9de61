/** Entry of the command line. Only the module of the command that runs is loaded: `validate` must not pay for `run`. */
import { statSync } from 'node:fs'
import { Command, Help } from 'commander'
import '../built-in.ts'
import { EXIT } from '../kit/exit-codes.ts'
import { redact } from '../kit/text/secrets.ts'
import { outputOptions, paint, printError } from './output.ts'
import { watchStrayErrors } from './stray-errors.ts'
import { reasonOf } from '../kit/system-error.ts'

type Load = () => Promise<{ register(program: Command): void }>

/** Each module registers its command; `--help` shows them in these groups and in this order. */
const GROUPS: Record<string, Record<string, Load>> = {
  Author: {
    new: () => import('./new.ts'),
    validate: () => import('./validate.ts'),
    explain: () => import('./explain.ts'),
    test: () => import('./test.ts'),
    types: () => import('./types.ts'),
    eval: () => import('./eval.ts'),
    dev: () => import('./dev.ts'),
    fmt: () => import('./fmt.ts'),
    list: () => import('./list.ts'),
    schema: () => import('./schema.ts'),
    gen: () => import('./gen.ts'),
  },
  Run: {
    run: () => import('./run.ts'),
    check: () => import('./check.ts'),
    smoke: () => import('./smoke.ts'),
    trigger: () => import('./trigger.ts'),
  },
  Operate: {
    lag: () => import('./lag.ts'),
    offsets: () => import('./offsets.ts'),
    state: () => import('./state.ts'),
    topics: () => import('./topics.ts'),
    dlq: () => import('./dlq.ts'),
    sql: () => import('./sql.ts'),
  },
  Shell: {
    completion: () => import('./completion.ts'),
  },
}
/** Started by editors, so the overview has no line for it. */
const UNLISTED: Record<string, Load> = { lsp: () => import('./lsp.ts') }
const COMMANDS: Record<string, Load> = Object.assign({}, ...Object.values(GROUPS), UNLISTED)

/** `runner --help`: one line per command, and at most 24 of them, so that it fits every terminal. */
function overview(program: Command, help: Help): string {
  const described = new Map(program.commands.map(c => [c.name(), help.subcommandDescription(c)]))
  const lines = Object.entries(GROUPS).flatMap(([group, commands]) =>
    Object.keys(commands).map(
      (name, i) => `${paint('bold', (i === 0 ? group : '').padEnd(8))}${paint('accent', name.padEnd(10))} ${described.get(name)}`,
    ),
  )
  return `Usage: runner COMMAND [options]   more: runner COMMAND --help, runner --version
${lines.join('\n')}
`
}

/** Applies to all errors of a command: a message of a driver or a plugin may contain any setting. */
function maskErrors(): void {
  const write = process.stderr.write.bind(process.stderr)
  process.stderr.write = ((text: string | Uint8Array, ...rest: []) =>
    write(typeof text === 'string' ? redact(text) : text, ...rest)) as typeof process.stderr.write
}

/**
 * The first process of a container: Linux drops signals that it has no handler for, so a command that hangs could only be killed.
 * Elsewhere the default stays, which also ends a plugin that loops without returning.
 */
function obeySignals(): void {
  if (process.pid !== 1) return
  // A command that handles signals itself has a second listener.
  for (const [signal, number] of [
    ['SIGHUP', 1],
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const)
    process.on(signal, () => process.listenerCount(signal) === 1 && process.exit(128 + number))
}

/** Most calls have none, and start faster without the module. A folder of that name is a virtual environment of Python. */
const hasEnvFile = (argv: readonly string[]): boolean =>
  statSync('.env', { throwIfNoEntry: false })?.isFile() === true || argv.some(arg => arg === '--env-file' || arg.startsWith('--env-file='))

export async function main(argv: readonly string[]): Promise<void> {
  const program: Command = new Command('runner')
    .usage('COMMAND [options]')
    .configureHelp({
      formatHelp: (command, help) => (command === program ? overview(command, help) : Help.prototype.formatHelp(command, help)),
    })
    .configureOutput({ outputError: text => printError(text.trimEnd().replace('error: ', '')) })
    .showSuggestionAfterError()
    .enablePositionalOptions()
    .exitOverride()
  watchStrayErrors()
  maskErrors()
  obeySignals()
  const [name] = argv
  // `runner list | head` closes the pipe. A pipeline that writes to standard output handles this itself.
  if (name !== 'run' || argv.includes('--dry-run')) {
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(EXIT.ok)
      printError(`cannot write to standard output: ${reasonOf(error)}`)
      process.exit(EXIT.environment)
    })
  }
  if (name === '--version' || name === '-V') {
    const { default: manifest } = await import('../../package.json', { with: { type: 'json' } })
    process.stdout.write(`${manifest.version}\n`)
    return
  }
  program.option('-V, --version', 'print the version')
  // Before the commands are loaded: defaults of their options come from the environment.
  const isCommand = name !== undefined && Object.hasOwn(COMMANDS, name)
  if (isCommand && hasEnvFile(argv) && !(await import('./env-file.ts')).applyEnvFiles(argv)) return
  // A completion script needs all of them.
  const wanted = isCommand && name !== 'completion' ? [COMMANDS[name]] : Object.values(COMMANDS)
  for (const command of await Promise.all(wanted.map(load => load()))) command.register(program)
  outputOptions(program)
  for (const command of program.commands) command.exitOverride().showSuggestionAfterError()
  try {
    await program.parseAsync(argv, { from: 'user' })
  } catch (error) {
    const { code, exitCode } = error as { code?: string; exitCode?: number }
    if (!code?.startsWith('commander.')) throw error
    // Help was printed, or the command line is wrong and commander has printed the error.
    process.exitCode = exitCode === 0 ? EXIT.ok : EXIT.config
  }
}
