import { NO_FILES } from '../../config/env.ts'
import { type LoadOptions, loadPipeline } from '../../config/load.ts'
import type { Problem } from '../../config/model.ts'
import { checkTestFile } from '../../testing/engine.ts'

/** Whether the tests pass is for `runner test`; here only whether they can be run. */
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
  )
  return { problems }
}
