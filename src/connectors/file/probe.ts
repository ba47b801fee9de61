/** Can the files be read or written? Opens nothing for writing: looking changes nothing. */
import { accessSync, constants, existsSync, globSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { FileSinkConfig, FileSourceConfig } from '../../config.gen.ts'
import type { Probe } from '../../plugin.ts'

export function probeSource({ path, follow }: FileSourceConfig): Probe[] {
  const paths = /[*?[{]/.test(path) ? globSync(path).toSorted() : [path]
  if (paths.length === 0) return [{ what: `files ${path}`, ok: false, detail: 'no file matches', fix: `ls ${path}` }]
  return paths.map(file => {
    const what = `file ${file}`
    if (!existsSync(file))
      return follow
        ? { what, ok: true, detail: 'is not there yet; the source waits for it' }
        : { what, ok: false, detail: `does not exist (looked in ${process.cwd()})`, fix: `ls -l ${file}` }
    if (!statSync(file).isFile()) return { what, ok: false, detail: 'is not a file', fix: `ls -ld ${file}` }
    return may(file, constants.R_OK)
      ? { what, ok: true, detail: `${statSync(file).size} bytes` }
      : { what, ok: false, detail: 'may not be read', fix: `chmod u+r ${file}` }
  })
}

export function probeSink({ path }: FileSinkConfig): Probe[] {
  const what = `file ${path}`
  if (existsSync(path)) {
    if (!statSync(path).isFile()) return [{ what, ok: false, detail: 'is not a file', fix: `ls -ld ${path}` }]
    return [
      may(path, constants.W_OK)
        ? { what, ok: true, detail: 'is appended to' }
        : { what, ok: false, detail: 'may not be written', fix: `chmod u+w ${path}` },
    ]
  }
  // Folders that are not there are made, in the nearest one that is.
  let folder = dirname(resolve(path))
  while (!existsSync(folder)) folder = dirname(folder)
  if (!statSync(folder).isDirectory()) return [{ what, ok: false, detail: `${folder} is not a folder`, fix: `ls -ld ${folder}` }]
  return [
    may(folder, constants.W_OK | constants.X_OK)
      ? { what, ok: true, detail: 'will be made' }
      : { what, ok: false, detail: `cannot be made: ${folder} may not be written`, fix: `chmod u+w ${folder}` },
  ]
}

function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}
