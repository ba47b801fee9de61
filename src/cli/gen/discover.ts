/** Finds the built-in plugins on disk: a schema file with the plugin's module beside it. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DescribedPlugin } from '../../runtime/config/compose.ts'
import type { Kind } from '../../runtime/config/registry.ts'
import type { Schema } from '../../runtime/config/schema.ts'

export interface FoundPlugin extends DescribedPlugin {
  /** Relative to `src/`, with forward slashes. */
  readonly module: string
}

const ORDER: readonly Kind[] = ['source', 'transform', 'sink']

/** @param root the project's folder. Sorted by kind, then name. */
export function discover(root: string): FoundPlugin[] {
  const src = join(root, 'src')
  const found: FoundPlugin[] = []
  for (const path of globSync(['connectors/*/{source,sink}.schema.json', 'transforms/*.schema.json'], { cwd: src })) {
    const file = path.replaceAll('\\', '/')
    const module = file.replace(/\.schema\.json$/, '.ts')
    // A schema without a plugin is work in progress of somebody.
    if (!existsSync(join(src, module))) continue
    const parts = file.split('/')
    const kind: Kind = parts[0] === 'transforms' ? 'transform' : parts[2].startsWith('source') ? 'source' : 'sink'
    const type = kind === 'transform' ? parts[1].replace(/\.schema\.json$/, '') : parts[1]
    found.push({ kind, type, module, schema: JSON.parse(readFileSync(join(src, file), 'utf8')) as Schema })
  }
  return found.sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind) || (a.type < b.type ? -1 : 1))
}
