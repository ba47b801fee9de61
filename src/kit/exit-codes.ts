/** Exit codes of every command, and which error ends with which. */
import { EnvironmentError, VerdictError } from '../contract/plugin.ts'

export const EXIT = {
  ok: 0,
  /** The pipeline stopped: a bug, a record that could not be dead-lettered, or a drain that exceeded its deadline. */
  runtime: 1,
  /** The file is wrong; `validate` shows where. */
  config: 2,
  /** The environment is wrong: unreachable, unauthorized, missing topic, taken port, unreadable path. */
  environment: 3,
  /** The command worked and its result is negative: failed tests, or parity below the threshold. */
  verdict: 4,
} as const

export function exitCodeOf(error: unknown): number {
  if (error instanceof VerdictError) return EXIT.verdict
  return error instanceof EnvironmentError ? EXIT.environment : EXIT.runtime
}
