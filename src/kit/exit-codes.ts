/** Exit codes of every command, and which error ends with which. */
import { EnvironmentError, VerdictError } from '../contract/plugin.ts'

export const EXIT = {
  ok: 0,
  /** The pipeline stopped: a bug, a record that could not be dead-lettered, a drain that missed its deadline. */
  runtime: 1,
  /** The file is wrong; `validate` says where. */
  config: 2,
  /** The world outside the file is wrong: unreachable, unauthorised, missing topic, taken port, unreadable path. */
  environment: 3,
  /** The command worked and its verdict is no: failed tests, parity under the bar. */
  verdict: 4,
} as const

export function exitCodeOf(error: unknown): number {
  if (error instanceof VerdictError) return EXIT.verdict
  return error instanceof EnvironmentError ? EXIT.environment : EXIT.runtime
}
