/** The error for pipelines that cannot be loaded. */
import { PipelineError } from '../contract/plugin.ts'
import { formatText } from '../config/format.ts'
import type { Problem } from '../config/model.ts'

/**
 * The pipeline cannot be run as it is written. `problems` has every problem with its path, line and column; the message shows them in the
 * format of `runner validate`.
 *
 * @example
 * try {
 *   await run({ name: 'x', sources: [{ kafak: {} }], sinks: [{ stdout: {} }] })
 * } catch (error) {
 *   if (error instanceof ConfigError) for (const p of error.problems) console.error(p.path, p.message, p.suggestion)
 * }
 */
export class ConfigError extends PipelineError {
  readonly problems: readonly Problem[]
  constructor(problems: readonly Problem[]) {
    super('PIPE_CONFIG', formatText(problems).trimEnd())
    this.problems = problems
  }
}
