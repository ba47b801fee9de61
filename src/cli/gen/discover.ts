/** Finds the built-in plugins on disk: a schema file next to the module of the plugin, which exports the schema including shared keys. */
import { existsSync, globSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Plugin } from '../../contract/plugin.ts'
import type { DescribedPlugin } from '../../config/compose.ts'
import type { Kind } from '../../config/registry.ts'
import type { Schema } from '../../config/schema.ts'

export interface FoundPlugin extends DescribedPlugin {
  /** Relative to `src/`, with forward slashes. */
  readonly module: string
}

const ORDER: readonly Kind[] = ['source', 'transform', 'sink']

/** @param root folder of the project. Sorted by kind, then name. */
export async function discover(root: string): Promise<FoundPlugin[]> {
  const src = join(root, 'src')
  const found: FoundPlugin[] = []
  for (const path of globSync(['connectors/**/{source,sink}.schema.json', '{transforms,connectors/*/transforms}/*.schema.json'], {
    cwd: src,
  })) {
    const file = path.replaceAll('\\', '/')
    const module = file.replace(/\.schema\.json$/, '.ts')
    // A schema without a plugin is work in progress.
    if (!existsSync(join(src, module))) continue
    const parts = file.split('/')
    const name = parts.at(-1)!.replace(/\.schema\.json$/, '')
    const kind: Kind = parts.at(-2) === 'transforms' ? 'transform' : (name as 'source' | 'sink')
    // `connectors/postgres/outbox/source` is `postgres_outbox`.
    const type = kind === 'transform' ? name : parts.slice(1, -1).join('_')
    const { default: plugin } = (await import(pathToFileURL(join(src, module)).href)) as { default: Plugin }
    found.push({ kind, type, module, schema: plugin.schema as Schema })
  }
  return found.sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind) || (a.type < b.type ? -1 : 1))
}
