/** Pipelines for the commands that look at them from outside. */
import { EXIT } from '../errors.ts'
import { formatText } from '../runtime/config/format.ts'
import { loadPipeline } from '../runtime/config/load.ts'
import type { Pipeline } from '../runtime/config/model.ts'

/** `brokers` stands in for KAFKA_BROKERS. The pipelines, or the exit code when a file has problems, which are printed. */
export async function loadAll(files: readonly string[], set: readonly string[], brokers?: string): Promise<Pipeline[] | number> {
  const env = brokers === undefined ? process.env : { ...process.env, KAFKA_BROKERS: brokers }
  const loaded = await Promise.all(files.map(file => loadPipeline(file, { env, set })))
  const problems = loaded.flatMap(l => l.problems)
  if (problems.length > 0) process.stderr.write(formatText(problems))
  if (problems.some(p => p.code === 'CONFIG_READ')) return EXIT.environment
  const pipelines = loaded.map(l => l.pipeline).filter(p => p !== undefined)
  return pipelines.length === files.length ? pipelines : EXIT.config
}
