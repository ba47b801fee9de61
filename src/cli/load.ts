/** Pipelines for commands. */
import { EXIT } from '../kit/exit-codes.ts'
import { loadPipeline } from '../config/load.ts'
import type { Pipeline, Problem } from '../config/model.ts'
import { colors, widthOf } from './output.ts'

/** The shell expands `pipelines/*.yaml` to test files, too: these are left out. `brokers` replaces KAFKA_BROKERS. @returns the pipelines; or the exit code if a file has problems, which are printed. */
export async function loadAll(
  files: readonly string[],
  set: readonly string[] | undefined,
  brokers?: string,
  warn: (warnings: readonly Problem[]) => void | Promise<void> = printProblems,
): Promise<Pipeline[] | number> {
  const env = brokers === undefined ? process.env : { ...process.env, KAFKA_BROKERS: brokers }
  const wanted = files.filter(file => !/\.test\.ya?ml$/.test(file))
  const loaded = await Promise.all((wanted.length > 0 ? wanted : files).map(file => loadPipeline(file, { env, set })))
  const problems = loaded.flatMap(l => l.problems)
  if (problems.some(p => p.severity === 'error')) return await reportProblems(problems)
  if (problems.length > 0) await warn(problems)
  return loaded.map(l => l.pipeline!)
}

/** Prints the problems. @returns the exit code: an unreadable file is an environment error. */
export async function reportProblems(problems: readonly Problem[]): Promise<number> {
  await printProblems(problems)
  return problems.some(p => p.code === 'CONFIG_READ') ? EXIT.environment : EXIT.config
}

/** On standard error. */
export async function printProblems(problems: readonly Problem[]): Promise<void> {
  const { formatText } = await import('../config/format.ts')
  process.stderr.write(formatText(problems, { color: colors(process.stderr), width: widthOf(process.stderr) }))
}
