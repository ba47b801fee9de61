/** Resolves a list of paths, folders and globs to files. */
import { glob, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

const SKIP = new Set(['node_modules', '.git', '.runner'])

/** In the order given, each file once. A path that does not exist stays in the list: reading it reports the error. */
export async function findFiles(paths: readonly string[]): Promise<string[]> {
  const files = new Set<string>()
  for (const path of paths) {
    const info = await stat(path).catch(() => undefined)
    if (info?.isDirectory()) {
      const found = await inFolder(path)
      // An empty folder is a mistake in the command, not a success.
      for (const f of found.length > 0 ? found : [path]) files.add(f)
    } else if (info || !/[*?[{]/.test(path)) files.add(path)
    else {
      const found: string[] = []
      for await (const f of glob(path, { exclude: name => SKIP.has(name) })) found.push(f)
      for (const f of found.length > 0 ? found.sort() : [path]) files.add(f)
    }
  }
  return [...files]
}

async function inFolder(folder: string): Promise<string[]> {
  const out: string[] = []
  const entries = await readdir(folder, { withFileTypes: true })
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (SKIP.has(entry.name)) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) out.push(...(await inFolder(path)))
    // Data of a plugin: checked with the pipeline that names it.
    else if (/\.ya?ml$/.test(entry.name) && !/\.format\.ya?ml$/.test(entry.name)) out.push(path)
  }
  return out
}

export const isCatalogText = (text: string): boolean => /^topics[ \t]*:/m.test(text) && !/^(name|sources|sinks)[ \t]*:/m.test(text)
