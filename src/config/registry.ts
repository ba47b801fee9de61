/** Finds plugins by section and name: built-in ones by the generated map, a user's own by the files under `plugins:`. Nothing is loaded before it is used. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Loader, PLUGINS, VALIDATORS } from '../generated/plugins.ts'
import type { Plugin } from '../contract/plugin.ts'
import { type Quick, useQuick, validator } from './ajv.ts'
import type { Problems } from './problems.ts'
import type { Schema } from './schema.ts'
import type { SeqNode, Span } from './tree.ts'

export type Kind = Plugin['kind']
export const KINDS: readonly Kind[] = ['source', 'transform', 'sink']

export class Registry {
  private readonly own = new Map<string, Plugin>()

  async load(kind: Kind, type: string): Promise<Plugin | undefined> {
    const own = this.own.get(`${kind} ${type}`)
    if (own) return own
    const loaders: Record<string, Loader> = PLUGINS[kind]
    if (!Object.hasOwn(loaders, type)) return undefined
    const [{ default: plugin }, made] = await Promise.all([loaders[type](), loadQuick(`${kind}.${type}`)])
    if (made) useQuick(plugin.schema as Schema, made)
    return plugin
  }

  has(kind: Kind, type: string): boolean {
    return this.own.has(`${kind} ${type}`) || Object.hasOwn(PLUGINS[kind], type)
  }

  names(kind: Kind): string[] {
    const own = [...this.own.values()].filter(p => p.kind === kind).map(p => p.type)
    return [...Object.keys(PLUGINS[kind]), ...own].sort()
  }

  /** Kinds in which the name exists. */
  kindsOf(type: string): Kind[] {
    return KINDS.filter(kind => this.has(kind, type))
  }

  get loaded(): readonly Plugin[] {
    return [...this.own.values()]
  }

  /** Loads the files of `plugins:`; paths are relative to `base`. */
  async addFiles(list: SeqNode, base: string, problems: Problems): Promise<void> {
    for (const [i, item] of list.items.entries()) {
      if (item.kind !== 'scalar' || typeof item.value !== 'string') continue // the frame's schema says so already
      if (item.substitution?.unresolved) continue
      const fail = (message: string): void => problems.add('CONFIG_PLUGIN_FILE', item.span, ['plugins', i], message)
      if (!/\.[mc]?[jt]s$/.test(item.value)) {
        fail(`${item.value} is not a .ts or .js file`)
        continue
      }
      const plugins = await importPlugins(resolve(base, item.value)).catch((error: Error) => error)
      if (plugins instanceof Error) fail(`${item.value} ${plugins.message}`)
      else for (const plugin of plugins) await this.add(plugin, item.span, i, problems)
    }
  }

  private async add(plugin: Plugin, span: Span, index: number, problems: Problems): Promise<void> {
    const wrong = shapeOf(plugin)
    if (wrong) {
      problems.add('CONFIG_PLUGIN_FILE', span, ['plugins', index], wrong)
      return
    }
    const id = `${plugin.kind} ${plugin.type}`
    if (this.has(plugin.kind, plugin.type)) {
      const owner = this.own.has(id) ? 'another plugin of this list' : 'built in'
      problems.add('CONFIG_PLUGIN_CLASH', span, ['plugins', index], `the ${plugin.kind} ${plugin.type} exists already (${owner})`)
      return
    }
    try {
      await validator(plugin.schema as Schema)
    } catch (error) {
      problems.add(
        'CONFIG_PLUGIN_FILE',
        span,
        ['plugins', index],
        `the schema of ${plugin.kind} ${plugin.type} is not valid: ${(error as Error).message}`,
      )
      return
    }
    this.own.set(id, plugin)
  }
}

/** The validator made ahead for a schema: `source.kafka`, or `frame`. */
export async function loadQuick(id: string): Promise<Quick | undefined> {
  const loaders: Record<string, () => Promise<Quick>> = VALIDATORS
  return Object.hasOwn(loaders, id) ? loaders[id]() : undefined
}

async function importPlugins(file: string): Promise<Plugin[]> {
  if (!existsSync(file)) throw new Error('does not exist')
  const module: { default?: unknown } = await import(pathToFileURL(file).href).catch((error: unknown) => {
    throw new Error(`does not load: ${error instanceof Error ? error.message : String(error)}`.split('\n')[0], { cause: error })
  })
  const exported = module.default
  if (exported === undefined) throw new Error('has no default export: export a plugin, or a list of plugins')
  return (Array.isArray(exported) ? exported : [exported]) as Plugin[]
}

/** What is wrong with the shape of something that should be a plugin. */
function shapeOf(p: any): string | undefined {
  if (typeof p !== 'object' || p === null) return 'the default export is not a plugin: use defineSource, defineTransform or defineSink'
  if (!KINDS.includes(p.kind)) return `kind must be ${KINDS.join(', ')}`
  if (typeof p.type !== 'string' || !/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(p.type)) return 'type must be a name such as sma_crossover'
  if (['name', 'when', 'enabled', 'from', 'when_off'].includes(p.type)) return `type ${p.type} is the name of a key that every step has`
  if (typeof p.schema !== 'object' || p.schema === null) return `${p.type} has no schema`
  if (typeof p.create !== 'function') return `${p.type} has no create function`
  return undefined
}
