import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))
/** Built and downloaded peers. */
export const cache = fileURLToPath(new URL('../../.cache/bench', import.meta.url))

/** Does the work unless `stamp` says that it was done for these very sources. */
export async function upToDate(stamp: string, sources: readonly string[], work: () => Promise<void>): Promise<void> {
  const hash = createHash('sha256')
  for (const source of sources) hash.update(readFileSync(source))
  const now = hash.digest('hex')
  if (read(stamp) === now) return
  await work()
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, now)
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
