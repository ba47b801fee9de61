/**
 * Opens files in folders that others may write to: nothing there may make the runner wait, or lead it to a file that the one who put the
 * link there cannot read.
 */
import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, lstat, open, stat } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'

/** The first character of a glob pattern. */
export const WILD = /[*?[{]/

/** What is at the path is not read. */
export class NotRead extends Error {}

/**
 * Links are followed as Linux does in shared folders: if they belong to the user of the process, to root, or to the owner of the file.
 * @param base the folder before the first wildcard of a pattern, below which links are checked
 * @throws {NotRead} for what is not a regular file, which could block, and for a link of another user
 */
export async function openFile(path: string, base?: string): Promise<{ handle: FileHandle; info: BigIntStats }> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const info = await handle.stat({ bigint: true })
    if (!info.isFile()) throw new NotRead(info.isDirectory() ? 'it is a directory' : 'it is not a regular file')
    if (base !== undefined) await checkLinks(path, base, info)
    return { handle, info }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** After the file is opened, so that a link that is exchanged meanwhile is detected. */
async function checkLinks(path: string, base: string, file: BigIntStats): Promise<void> {
  const trusted = [process.geteuid?.(), 0]
  let at = base
  for (const name of relative(base, path).split(sep)) {
    at = join(at, name)
    const link = await lstat(at)
    if (link.isSymbolicLink() && !trusted.includes(link.uid) && (await stat(at)).uid !== link.uid)
      throw new NotRead(`${at === path ? 'it' : at} is a link of another user to something that user does not own`)
  }
  const now = await stat(path, { bigint: true })
  if (now.ino !== file.ino || now.dev !== file.dev) throw new NotRead('it was exchanged while it was opened')
}
