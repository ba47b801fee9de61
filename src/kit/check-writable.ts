import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { CheckResult } from '../contract/plugin.ts'

/** Checks that this file can be written. Opens nothing, so that the check changes nothing. `detail` describes a file that exists. */
export function checkWritable(what: string, path: string, detail: string): CheckResult {
  if (existsSync(path)) {
    if (!statSync(path).isFile()) return { what, ok: false, detail: 'is not a file', fix: `ls -ld ${path}` }
    return may(path, constants.W_OK)
      ? { what, ok: true, detail }
      : { what, ok: false, detail: 'permission denied', fix: `chmod u+w ${path}` }
  }
  // Missing folders are created in the nearest existing one.
  let folder = dirname(resolve(path))
  while (!existsSync(folder)) folder = dirname(folder)
  if (!statSync(folder).isDirectory()) return { what, ok: false, detail: `${folder} is not a folder`, fix: `ls -ld ${folder}` }
  return may(folder, constants.W_OK | constants.X_OK)
    ? { what, ok: true, detail: 'will be created' }
    : { what, ok: false, detail: `cannot be created: ${folder} is not writable`, fix: `chmod u+w ${folder}` }
}

/** @returns whether this process has the permission `mode` (`constants.W_OK` of node:fs) on `path`. Never throws. */
export function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}
