/** Public test suites: data that is not part of the project. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The folder of a suite; undefined: it is not on this machine. */
export function suite(name: string): string | undefined {
  const folder = join(process.env.SUITES_DIR ?? join(import.meta.dirname, '../../../shared/suites'), name)
  return existsSync(folder) ? folder : undefined
}

/** For the title of a skipped test. */
export const howToGet = (name: string, url: string): string => `needs ${url} in the folder '${name}' of SUITES_DIR`
