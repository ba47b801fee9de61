import { randomUUID } from 'node:crypto'
import { chmodSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'

/** The folder accepts no new file, or the file is a mount of its own. */
const IN_PLACE = new Set(['EACCES', 'EPERM', 'EROFS', 'EBUSY', 'EXDEV'])

/**
 * Replaces the content of an existing file at once: a process that is killed, or a full disk, leaves the old content. The file keeps its
 * permissions, and a symbolic link keeps its target. Where this is not possible, the file is overwritten.
 */
export function replaceFile(path: string, text: string): void {
  const target = realpathSync(path)
  const beside = `${target}.${randomUUID()}.tmp`
  try {
    writeFileSync(beside, text, { flag: 'wx' })
    chmodSync(beside, statSync(target).mode)
    renameSync(beside, target)
  } catch (error) {
    rmSync(beside, { force: true })
    if (!IN_PLACE.has((error as NodeJS.ErrnoException).code ?? '')) throw error
    writeFileSync(target, text)
  }
}
