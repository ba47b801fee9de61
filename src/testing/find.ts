/** Finds the test files of a path. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { TEST_FILE } from './load.ts'

/** @returns test files in order; undefined: the path does not exist */
export function findTests(path: string): string[] | undefined {
  if (!existsSync(path)) return undefined
  if (!statSync(path).isDirectory()) {
    if (TEST_FILE.test(path)) return [path]
    // For a pipeline file, the test file next to it.
    const beside = ['.test.yaml', '.test.yml'].map(ending => path.replace(/\.ya?ml$/, ending)).find(p => p !== path && existsSync(p))
    return beside ? [beside] : []
  }
  return readdirSync(path, { withFileTypes: true })
    .filter(entry => !entry.name.startsWith('.') && entry.name !== 'node_modules')
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(entry => {
      const inner = join(path, entry.name)
      if (entry.isDirectory()) return findTests(inner)!
      return TEST_FILE.test(entry.name) ? [inner] : []
    })
}
