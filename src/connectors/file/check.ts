/** Checks that the files can be read or written. Opens nothing for writing, so that the check changes nothing. */
import { constants, existsSync, globSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { FileSinkConfig, FileSourceConfig } from '../../generated/config-types.ts'
import type { CheckResult } from '../../contract/plugin.ts'
import { WILD } from './open.ts'
import { baseFolder, isTemplate } from './path-template.ts'
import { may, checkWritable } from '../../kit/check-writable.ts'

export function checkSource({ path, follow }: FileSourceConfig): CheckResult[] {
  const several = WILD.test(path)
  const paths = several ? globSync(path).toSorted() : [path]
  if (paths.length === 0) return [{ what: `files ${path}`, ok: false, detail: 'no file matches', fix: `ls ${path}` }]
  return paths.map(file => {
    const what = `file ${file}`
    if (!existsSync(file))
      return follow
        ? { what, ok: true, detail: 'does not exist yet; the source waits for it' }
        : { what, ok: false, detail: `does not exist (looked in ${process.cwd()})`, fix: `ls -l ${file}` }
    if (!statSync(file).isFile())
      return { what, ok: several, detail: `is not a file${several ? ' and is skipped' : ''}`, fix: `ls -ld ${file}` }
    return may(file, constants.R_OK)
      ? { what, ok: true, detail: `${statSync(file).size} bytes` }
      : { what, ok: false, detail: 'permission denied', fix: `chmod u+r ${file}` }
  })
}

export function checkSink({ path }: FileSinkConfig): CheckResult[] {
  if (!isTemplate(path)) return [checkWritable(`file ${path}`, path, 'exists; the sink appends to it')]
  // All files share this folder, so any name shows whether a file can be created in it.
  return [checkWritable(`files ${path}`, join(baseFolder(path), `.${process.pid}`), '')]
}
