/** Inputs kept in the repository: `corpus/TARGET/NAME`, each one that failed once, or that reaches what the seeds do not. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

export const CORPUS = join(import.meta.dirname, 'corpus')

export function corpusOf(target: string): string[] {
  const folder = join(CORPUS, target)
  return existsSync(folder)
    ? readdirSync(folder)
        .toSorted()
        .map(name => join(folder, name))
    : []
}
