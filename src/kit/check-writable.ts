import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { CheckResult } from '../contract/plugin.ts'

/** Can this file be written? Opens nothing: looking changes nothing. `detail` is said of one that is there. */
export function checkWritable(what: string, path: string, detail: string): CheckResult {
  if (existsSync(path)) {
    if (!statSync(path).isFile()) return { what, ok: false, detail: 'is not a file', fix: `ls -ld ${path}` }
    return may(path, constants.W_OK)
      ? { what, ok: true, detail }
      : { what, ok: false, detail: 'may not be written', fix: `chmod u+w ${path}` }
  }
  // Folders that are not there are made, in the nearest one that is.
  let folder = dirname(resolve(path))
  while (!existsSync(folder)) folder = dirname(folder)
  if (!statSync(folder).isDirectory()) return { what, ok: false, detail: `${folder} is not a folder`, fix: `ls -ld ${folder}` }
  return may(folder, constants.W_OK | constants.X_OK)
    ? { what, ok: true, detail: 'will be made' }
    : { what, ok: false, detail: `cannot be made: ${folder} may not be written`, fix: `chmod u+w ${folder}` }
}

/** Does this process have the right `mode` (`constants.W_OK` of node:fs) on `path`? Never throws. */
export function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}
