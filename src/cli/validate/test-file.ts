import { NO_FILES } from '../../config/env.ts'
import { type LoadOptions, loadPipeline } from '../../config/load.ts'
import type { Problem } from '../../config/model.ts'
import { checkTestFile } from '../../testing/engine.ts'

/** Checks only whether the tests can run; `runner test` runs them. */
export async function validateTestFile(file: string, options: LoadOptions = {}): Promise<{ problems: readonly Problem[] }> {
  const problems = await checkTestFile(
    file,
    (pipeline, { env, set }) =>
      loadPipeline(pipeline, {
        ...options,
        env: { ...env, ...(options.noPlugins && { [NO_FILES]: true as const }) },
        set: set.map(s => s.argument),
      }),
    pipeline => loadPipeline(pipeline, options),
    { unsaved: options.unsaved },
  )
  return { problems }
}
