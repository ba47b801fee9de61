/** Shared by the tests of the file source: a folder per test file, removed afterwards, and a config with the defaults of the schema. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import type { FileSourceConfig } from '../../../src/generated/config-types.ts'

export function scratch(): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'runner-file-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return name => join(folder, name)
}

/** By default, polls every ms and does not wait for a writer of a rotated file. */
export const sourceConfig = (o: Partial<FileSourceConfig> & { path: string }): FileSourceConfig => ({
  format: 'auto',
  follow: false,
  poll_interval: 1,
  rotate_wait: 0,
  compression: 'auto',
  quoting: 'double',
  trailing_delimiter: false,
  skip_lines: 0,
  line_break: 'auto',
  encoding: 'auto',
  max_line_size: 1 << 20,
  ...o,
})
