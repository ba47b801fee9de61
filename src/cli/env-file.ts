/** `.env` of the working directory, or the files of `--env-file`: variables that are not set already. */
import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { EXIT } from '../kit/exit-codes.ts'
import { printError } from './output.ts'

export interface EnvFile {
  readonly file: string
  /** The variables that have their value from it, without those that the environment sets to another one. */
  readonly names: readonly string[]
}

/** A file that cannot be read, or a line that does not set a variable. */
export class EnvFileError extends Error {
  readonly isSyntax: boolean
  constructor(message: string, isSyntax: boolean) {
    super(message)
    this.isSyntax = isSyntax
  }
}

/** Sets the variables in `env`; the first file that has a variable counts. @throws {EnvFileError} */
export function loadEnvFiles(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): EnvFile[] {
  const given = namesIn(argv)
  const loaded: EnvFile[] = []
  // A file that is not trusted is validated in a folder that is not trusted.
  const implied = argv.includes('--no-plugins') || argv[0] === 'lsp' ? [] : ['.env']
  for (const file of given.length > 0 ? given : implied) {
    const text = read(file, given.length > 0)
    if (text === undefined) continue
    checkLines(file, text)
    const names = Object.entries(parseEnv(text)).flatMap(([name, value]) => {
      // Node.js reads the option, too, and may have set it.
      env[name] ??= value
      return env[name] === value ? [name] : []
    })
    loaded.push({ file, names })
  }
  return loaded
}

/** The command line is read before its command is known: the defaults of options come from the environment. */
function namesIn(argv: readonly string[]): string[] {
  const end = argv.indexOf('--')
  const args = end < 0 ? argv : argv.slice(0, end)
  return args.flatMap((arg, i) =>
    arg.startsWith('--env-file=') ? [arg.slice('--env-file='.length)] : arg === '--env-file' && i + 1 < args.length ? [args[i + 1]] : [],
  )
}

function read(file: string, required: boolean): string | undefined {
  try {
    return readFileSync(file, 'utf8').replace(/^\uFEFF/, '')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (!required && code === 'ENOENT') return undefined
    throw new EnvFileError(`${file} ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}`, false)
  }
}

/** `parseEnv` skips what it cannot read without a word. */
function checkLines(file: string, text: string): void {
  const rest = text.replace(/=[ \t]*(?:"[^"]*"|'[^']*'|`[^`]*`)/g, all => `=${'\n'.repeat(all.split('\n').length - 1)}`)
  for (const [i, line] of rest.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.trimStart().startsWith('#') || /^\s*(?:export\s+)?[A-Za-z_][\w.-]*\s*=/.test(line)) continue
    // The line may hold a secret.
    throw new EnvFileError(`${file}:${i + 1}: not a variable; write NAME=value, and # before a comment`, true)
  }
}

/** Loads the files and prints the names of the variables. @returns false when a file is wrong; the exit code is set */
export function applyEnvFiles(argv: readonly string[]): boolean {
  try {
    for (const { file, names } of loadEnvFiles(argv))
      if (names.length > 0 && !argv.includes('--quiet') && !argv.includes('-q'))
        process.stderr.write(`environment from ${file}: ${names.join(', ')}\n`)
    return true
  } catch (error) {
    if (!(error instanceof EnvFileError)) throw error
    printError(error.message)
    process.exitCode = error.isSyntax ? EXIT.config : EXIT.environment
    return false
  }
}
