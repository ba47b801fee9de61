/** `runner fmt FILE...`: one form of pipeline files, tests and catalogs. */
import type { Command } from 'commander'
import type { Problem } from '../config/model.ts'
import { EnvironmentError } from '../contract/plugin.ts'
import { EXIT } from '../kit/exit-codes.ts'
import { replaceFile } from '../kit/replace-file.ts'
import { reasonOf } from '../kit/system-error.ts'
import { runCommand } from './command.ts'
import { note, outcomeLine, print, printError, printJson } from './output.ts'

interface FmtFlags {
  readonly check?: boolean
  readonly json?: boolean
}

interface Outcome {
  readonly file: string
  readonly status: 'formatted' | 'unchanged' | 'refused' | 'invalid'
  readonly reason?: string
  /** Of an invalid file. */
  readonly problems?: readonly Problem[]
}

export function register(program: Command): void {
  program
    .command('fmt')
    .description('format pipeline files; comments and values are kept')
    .argument('<path...>', 'files, folders or globs; - reads standard input and prints the result')
    .option('--check', 'write nothing; exit with 4 if a file is not formatted')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
Top-level keys get the order of the reference, indentation is two spaces, and a flow map on several lines becomes a block.
A file whose values or comments would change is left as it is, and the exit code is 1.

Examples:
  $ runner fmt pipelines/
  $ runner fmt --check pipelines/     # in CI`,
    )
    .action(async (paths: string[], flags: FmtFlags) => {
      await runCommand(() => fmt(paths, flags))
    })
}

/** @returns the exit code */
export async function fmt(paths: readonly string[], { check = false, json = false }: FmtFlags): Promise<number> {
  const [{ findFiles }, { readText, STANDARD_INPUT }, { Problems }, { parseText }, { SourceText }, format] = await Promise.all([
    import('./validate/files.ts'),
    import('../config/read.ts'),
    import('../config/problems.ts'),
    import('../config/parse.ts'),
    import('../config/tree.ts'),
    import('./fmt/format.ts'),
  ])
  const outcomes: Outcome[] = []
  const invalid: Problem[] = []
  for (const file of await findFiles(paths)) {
    const problems = new Problems()
    const text = await readText(file, problems)
    if (text !== undefined) parseText(new SourceText(file, text), problems)
    const found = problems.list().filter(p => p.severity === 'error')
    invalid.push(...found)
    if (text === undefined || found.length > 0) {
      outcomes.push({ file, status: 'invalid', problems: found })
      continue
    }
    try {
      const formatted = format.formatYaml(text)
      const isInput = file === STANDARD_INPUT
      if (isInput && !check && !json) process.stdout.write(formatted)
      else if (!check && !isInput && formatted !== text) save(file, formatted)
      outcomes.push({ file, status: formatted === text ? 'unchanged' : 'formatted' })
    } catch (error) {
      if (!(error instanceof format.Unformattable)) throw error
      outcomes.push({ file, status: 'refused', reason: error.message })
    }
  }
  const changed = outcomes.filter(o => o.status === 'formatted')
  const rejected = outcomes.filter(o => o.status === 'refused')
  if (json) printJson({ ok: invalid.length === 0 && rejected.length === 0 && !(check && changed.length > 0), files: outcomes })
  else {
    for (const { file } of changed)
      if (check) print(outcomeLine('failed', `${file} is not formatted; run: runner fmt ${file}`))
      else if (file !== STANDARD_INPUT) note(outcomeLine('ok', `${file}: formatted`))
  }
  for (const { file, reason } of rejected) printError(`${file}:1:1 is left as it is: ${reason}`)
  if (invalid.length > 0) return await (await import('./load.ts')).reportProblems(invalid)
  if (rejected.length > 0) return EXIT.runtime
  return check && changed.length > 0 ? EXIT.verdict : EXIT.ok
}

function save(file: string, text: string): void {
  try {
    replaceFile(file, text)
  } catch (error) {
    throw new EnvironmentError(`cannot write ${file}: ${reasonOf(error)}`, error)
  }
}
