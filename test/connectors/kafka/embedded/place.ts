/** A directory per test file, gone when its tests are done. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

/** @returns a path maker: every name is a file that does not exist yet. */
export function place(): (name: string) => string {
  const directory = mkdtempSync(join(tmpdir(), 'runner-log-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  return name => join(directory, name)
}
