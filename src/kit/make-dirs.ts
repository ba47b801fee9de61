import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** Makes a directory and those above it. Node's own `recursive: true` tries for ever where a file system answers ENOENT, as /proc does. */
export function makeDirs(path: string): void {
  if (made(path)) return
  makeDirs(dirname(path))
  if (!made(path)) mkdirSync(path)
}

/** False: what is above it is missing. @throws {Error} as of `mkdir`. */
function made(path: string): boolean {
  try {
    mkdirSync(path)
    return true
  } catch (error) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return true
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error
    return false
  }
}
