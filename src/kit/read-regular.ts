import { readFileSync, statSync } from 'node:fs'

const MAX = 64 * 1024 * 1024

/** A whole file. @throws {Error} for a pipe or a device, which may never end, and for more than 64 MiB */
export function readRegular(path: string): Buffer {
  const found = statSync(path)
  if (!found.isFile()) throw new Error(`${path} is not a file`)
  if (found.size > MAX) throw new Error(`${path} has more than 64 MiB`)
  return readFileSync(path)
}
