/** `runner eval 'EXPR'`: an expression over records of a file, a value, or nothing; without an expression, a prompt. */
import type { Command } from 'commander'
import { type Compiled, compileText, evaluate } from './eval/expression.ts'
import { EXIT } from '../kit/exit-codes.ts'
import { readRecords, type RecordsFlags } from './eval/records.ts'
import { runCommand } from './command.ts'
import { jsonText, safeJson } from '../kit/text/printable.ts'
import { print, printError, usageError, verbose } from './output.ts'
import { reportProblems } from './load.ts'

interface EvalFlags extends RecordsFlags {
  readonly json?: boolean
}

export function register(program: Command): void {
  program
    .command('eval')
    .description('evaluate an expression over sample records, or interactively')
    .argument('[expression]', 'as in a pipeline file; without it, a prompt opens')
    .option('--input <file>', 'JSON Lines, or a JSON array: one result per record; - reads standard input')
    .option('--value <json>', 'one record')
    .option('--key <text>', 'key of the records (meta.key)')
    .option('--json', 'print one JSON object per record')
    .addHelpText(
      'after',
      `
The fields of a record are variables; value is the whole record, meta its key, time and offset, and env.NAME an environment variable.

Examples:
  $ runner eval 'round(price * volume, 2)' --value '{"price":100.49,"volume":0.22}'
  $ runner eval 'parse_time(at) > parse_time("2026-01-01T00:00:00Z")' --input samples.jsonl
  $ runner eval --input samples.jsonl`,
    )
    .action(async (expression: string | undefined, flags: EvalFlags) => {
      await runCommand(() => run(expression, flags))
    })
}

/** @returns the exit code: 1 when a record has no result. */
async function run(text: string | undefined, flags: EvalFlags): Promise<number> {
  const records = await readRecords(flags)
  if (text === undefined) {
    if (!process.stdin.isTTY || !process.stdout.isTTY)
      return usageError("runner eval needs an expression where there is no terminal: runner eval 'price * 2'")
    return await (await import('./eval/prompt.ts')).prompt(records)
  }
  const compiled = await compileText(text)
  if ('problems' in compiled) return await reportProblems(compiled.problems)
  if (verbose()) process.stderr.write(`type: ${compiled.type}\n`)
  let failed = 0
  for (const [i, record] of records.entries()) failed += report(compiled, record, i, flags) ? 0 : 1
  return failed > 0 ? EXIT.runtime : EXIT.ok
}

function report({ expression, type }: Compiled, record: Parameters<typeof evaluate>[1], i: number, { json, input }: EvalFlags): boolean {
  const result = evaluate(expression, record)
  if ('error' in result) {
    if (json) print(`${jsonText({ record: i + 1, error: result.error })}\n`)
    else printError(`${input === undefined ? '' : `record ${i + 1}: `}${result.error}`)
    return false
  }
  const text = safeJson(result.text)
  print(json ? `{"record":${i + 1},"type":${JSON.stringify(type)},"result":${text}}\n` : `${text}\n`)
  return true
}
