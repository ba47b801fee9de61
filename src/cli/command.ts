/** What the operations commands have in common: their errors as a line and an exit code, and tables. */
import { redact } from '../kit/text/secrets.ts'
import { PluginError } from '../kit/plugin-error.ts'
import { EXIT, exitCodeOf } from '../kit/exit-codes.ts'
import { ConnectionError, EnvironmentError, PipelineError, VerdictError } from '../contract/plugin.ts'

/** Runs a command; what it throws on purpose is one line on standard error. Sets the exit code. */
export async function runCommand(command: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await command()
  } catch (error) {
    if (!(error instanceof PipelineError || error instanceof PluginError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exitCode = error instanceof PipelineError ? commandExit(error) : EXIT.runtime
  }
}

/** A command does not wait for a peer that is not there: for it that is the environment's fault. */
export function commandExit(error: PipelineError): number {
  if (error.code === 'PIPE_SETTINGS') return EXIT.config
  if (error instanceof EnvironmentError || error instanceof VerdictError) return exitCodeOf(error)
  return error instanceof ConnectionError ? EXIT.environment : EXIT.runtime
}

/** Columns as wide as their widest cell; numbers stand right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [head, ...rows.map(row => row.map(String))]
  const right = head.map((_, i) => rows.length > 0 && rows.every(row => typeof row[i] === 'number' || row[i] === '-'))
  const widths = head.map((_, i) => Math.max(...cells.map(row => row[i].length)))
  return cells
    .map(
      row =>
        `${row
          .map((cell, i) => (right[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

export const printJson = (value: unknown): void => print(`${JSON.stringify(value, null, 2)}\n`)
export const print = (text: string): void => void process.stdout.write(redact(text))
