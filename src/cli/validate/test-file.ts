import type { Problem } from '../../runtime/config/model.ts'
import { loadTests } from '../../testing/load.ts'

/** Pipeline tests are checked as text; whether they pass is for `runner test`. */
export async function validateTestFile(file: string): Promise<{ problems: readonly Problem[] }> {
  return { problems: (await loadTests(file)).problems }
}
