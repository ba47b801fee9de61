/** `runner test [PATH...]`: runs pipeline tests on a virtual clock. */
import { readFileSync, writeFileSync } from 'node:fs'
import { Argument, type Command } from 'commander'
import { EXIT } from '../kit/exit-codes.ts'
import { replaceFile } from '../kit/replace-file.ts'
import { grouped } from '../kit/text/grouped.ts'
import { durationOption, wholeNumber } from './options.ts'
import { colors, paint as painted, printError, printJson, quiet, type Style as OutputStyle, usageError, widthOf } from './output.ts'
import type { FileResult, TestOptions } from '../testing/engine.ts'
import type { Paint, Style } from '../testing/report.ts'
import { reasonOf } from '../kit/system-error.ts'

export interface TestFlags {
  readonly junit?: string
  readonly accept?: boolean
  readonly json?: boolean
  readonly repeat: number
  readonly timeout: number
  readonly filter?: string
}

export function register(program: Command): void {
  program
    .command('test')
    .description('run pipeline tests (*.test.yaml) on a virtual clock')
    .addArgument(new Argument('[path...]', 'test files, pipeline files with tests beside them, or directories').default(['.'], '.'))
    .option('--filter <text>', 'run only tests whose name contains this')
    .option(
      '--repeat <n>',
      'run each test this many times with different batch boundaries; all runs must have the same result',
      wholeNumber(1),
      1,
    )
    .addOption(durationOption('--timeout <duration>', 'real time limit of one step of a test', '10s'))
    .option('--accept', 'write the actual values into the failed expectations')
    .option('--junit <file>', 'write a JUnit XML report')
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      '\nExit codes: 0 all passed, 2 a file is invalid, 4 a test failed.\n\nExample:\n  $ runner test pipelines --junit report.xml',
    )
    .action(async (paths: string[], flags: TestFlags) => {
      process.exitCode = await runTests(paths, flags)
    })
}

/** @returns the exit code. */
export async function runTests(paths: readonly string[], flags: TestFlags): Promise<number> {
  const { findTests } = await import('../testing/find.ts')
  const files: string[] = []
  for (const path of paths) {
    const found = findTests(path)
    if (!found) {
      printError(`${path} does not exist`)
      return EXIT.environment
    }
    if (found.length === 0) return usageError(`${path} has no tests: they are in files named *.test.yaml`)
    for (const file of found) if (!files.includes(file)) files.push(file)
  }
  const results = await runAll(files, flags)
  if (flags.junit !== undefined) {
    const { junit } = await import('../testing/junit.ts')
    try {
      writeFileSync(flags.junit, junit(results))
    } catch (error) {
      printError(`cannot write ${flags.junit}: ${reasonOf(error)}`)
      return EXIT.environment
    }
  }
  if (flags.json) {
    const { toJson } = await import('../testing/json.ts')
    printJson(toJson(results))
  }
  if (results.some(r => r.problems.length > 0)) return EXIT.config
  if (flags.filter !== undefined && results.every(r => r.results.length === 0))
    return usageError(`no test has a name with '${flags.filter}' in it`)
  return results.some(r => r.results.some(t => t.failures.length > 0)) ? EXIT.verdict : EXIT.ok
}

async function runAll(files: readonly string[], flags: TestFlags): Promise<FileResult[]> {
  const { runTestFile } = await import('../testing/engine.ts')
  const { loadPipeline } = await import('../config/load.ts')
  const print = flags.json ? () => {} : (text: string) => process.stdout.write(`${text}\n`)
  const options: TestOptions = {
    repeat: flags.repeat,
    restTimeout: flags.timeout,
    filter: flags.filter,
    load: (file, { env, set }) => loadPipeline(file, { env, set: set.map(s => s.argument) }),
  }
  const results: FileResult[] = []
  for (const file of files) {
    let result = await runTestFile(file, options)
    if (flags.accept && result.results.some(r => r.failures.length > 0)) {
      const accepted = await accept(result)
      print(`${file}: ${accepted} expectation${accepted === 1 ? '' : 's'} written`)
      if (accepted > 0) result = await runTestFile(file, options)
    }
    await printFile(result, print)
    results.push(result)
  }
  const tests = results.flatMap(r => r.results)
  const failed = tests.filter(t => t.failures.length > 0).length
  const silent = quiet() && failed === 0 && results.every(r => r.problems.length === 0)
  print(`${silent ? '' : '\n'}${grouped(tests.length - failed)} passed, ${grouped(failed)} failed`)
  return results
}

async function printFile(result: FileResult, print: (text: string) => void): Promise<void> {
  const { failureText, testLine } = await import('../testing/report.ts')
  const shown = quiet() ? result.results.filter(t => t.failures.length > 0) : result.results
  if (quiet() && shown.length === 0 && result.problems.length === 0) return
  print(paint('bold', result.file))
  if (result.problems.length > 0) {
    const { formatText } = await import('../config/format.ts')
    print(formatText(result.problems, { color: colors(process.stdout), width: widthOf() }).trimEnd())
  }
  for (const test of shown) {
    print(testLine(test, paint))
    for (const failure of test.failures) print(failureText(failure, paint))
  }
}

/** Writes what came into the file. @returns how many expectations. */
async function accept({ file, results }: FileResult): Promise<number> {
  const { accept: write } = await import('../testing/accept.ts')
  const text = readFileSync(file, 'utf8')
  const { text: changed, count } = write(text, results)
  if (changed !== text) replaceFile(file, changed)
  return count
}

const STYLES: Record<Style, OutputStyle> = { good: 'accent', bad: 'bad', dim: 'dim', bold: 'bold' }
const paint: Paint = (style, text) => painted(STYLES[style], text)
