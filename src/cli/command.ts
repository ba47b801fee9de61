/** Shared by the operations commands: errors as one line and an exit code. */
import { PluginError } from '../kit/plugin-error.ts'
import { EXIT, exitCodeOf } from '../kit/exit-codes.ts'
import { errorText, printError } from './output.ts'
import { ConnectionError, EnvironmentError, PipelineError, VerdictError } from '../contract/plugin.ts'

/** Runs a command; prints an expected error as one line on standard error. Sets the exit code. */
export async function runCommand(command: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await command()
  } catch (error) {
    if (!(error instanceof PipelineError || error instanceof PluginError)) throw error
    printError(errorText(error))
    process.exitCode = error instanceof PipelineError ? commandExit(error) : EXIT.runtime
  }
}

/** A command does not wait for an unreachable peer: it reports an environment error. */
export function commandExit(error: PipelineError): number {
  if (error.code === 'PIPE_SETTINGS') return EXIT.config
  if (error instanceof EnvironmentError || error instanceof VerdictError) return exitCodeOf(error)
  return error instanceof ConnectionError ? EXIT.environment : EXIT.runtime
}
