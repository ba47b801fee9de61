/** The tests of the pipelines in this repository, each a thousand times. */
import { globSync } from 'node:fs'
import { expect, it } from 'vitest'
import { loadPipeline } from '../../src/config/load.ts'
import { runTestFile } from '../../src/testing/engine.ts'
import { failureText, plain } from '../../src/testing/report.ts'

it.each(globSync('pipelines/*.test.yaml'))('%s gives one result in a thousand runs', { timeout: 900_000 }, async file => {
  const load = (path: string, { env, set }: { env: Readonly<Record<string, string>>; set: readonly { argument: string }[] }) =>
    loadPipeline(path, { env, set: set.map(s => s.argument) })
  const { problems, results } = await runTestFile(file, { repeat: 1000, load })
  expect(problems).toEqual([])
  expect(results.flatMap(r => r.failures.map(f => failureText(f, plain)))).toEqual([])
  expect(results.length).toBeGreaterThan(0)
})
