/** Finds plugins by section and name: built-in plugins by the generated map, others by the files under `plugins:`. Loads a plugin only when it is used. */
import type { Plugin } from '../contract/plugin.ts'
import { useQuick, validator } from './ajv.ts'
import { builtIns, loadQuick } from './built-ins.ts'
import { importPlugins } from './plugin-modules.ts'
import type { Problems } from './problems.ts'
import type { Schema } from './schema.ts'
import type { Path, SeqNode, Span } from './tree.ts'

export type Kind = Plugin['kind']
export const KINDS: readonly Kind[] = ['source', 'transform', 'sink']

export class Registry {
  private readonly own = new Map<string, Plugin>()
  /** A plugin under `plugins:` could not be loaded: an unknown name may belong to it. */
  incomplete = false

  async load(kind: Kind, type: string): Promise<Plugin | undefined> {
    const own = this.own.get(`${kind} ${type}`)
    if (own) return own
    const loaders = builtIns().plugins[kind]
    if (!Object.hasOwn(loaders, type)) return undefined
    const [{ default: plugin }, made] = await Promise.all([loaders[type](), loadQuick(`${kind}.${type}`)])
    if (made) useQuick(plugin.schema as Schema, made)
    return plugin
  }

  has(kind: Kind, type: string): boolean {
    return this.own.has(`${kind} ${type}`) || Object.hasOwn(builtIns().plugins[kind], type)
  }

  names(kind: Kind): string[] {
    const own = [...this.own.values()].filter(p => p.kind === kind).map(p => p.type)
    return [...Object.keys(builtIns().plugins[kind]), ...own].sort()
  }

  /** Kinds in which the name exists. */
  kindsOf(type: string): Kind[] {
    return KINDS.filter(kind => this.has(kind, type))
  }

  get loaded(): readonly Plugin[] {
    return [...this.own.values()]
  }

  /** Loads the files and packages under `plugins:`; `base` is the folder of the pipeline file. */
  async addListed(list: SeqNode, base: string, problems: Problems): Promise<void> {
    for (const [i, item] of list.items.entries()) {
      if (item.kind !== 'scalar' || typeof item.value !== 'string' || item.value === '' || item.substitution?.unresolved) {
        this.incomplete = true // reported by the frame schema or the substitution
        continue
      }
      const plugins = await importPlugins(item.value, base).catch((error: Error) => error)
      if (plugins instanceof Error) this.fail(item.span, ['plugins', i], `${item.value} ${plugins.message}`, problems)
      else for (const plugin of plugins) await this.add(plugin, item.span, ['plugins', i], problems)
    }
  }

  /** Adds a plugin that the program passes in, without a position in the file. */
  async addGiven(plugin: Plugin, span: Span, problems: Problems): Promise<void> {
    await this.add(plugin, { ...span, end: span.start }, [], problems)
  }

  private fail(span: Span, path: Path, message: string, problems: Problems): void {
    this.incomplete = true
    problems.add('CONFIG_PLUGIN_FILE', span, path, message)
  }

  private async add(plugin: Plugin, span: Span, path: Path, problems: Problems): Promise<void> {
    const wrong = shapeOf(plugin)
    if (wrong) {
      this.fail(span, path, wrong, problems)
      return
    }
    const id = `${plugin.kind} ${plugin.type}`
    if (this.has(plugin.kind, plugin.type)) {
      const owner = this.own.has(id) ? 'another plugin of this list' : 'built in'
      problems.add(
        'CONFIG_PLUGIN_CLASH',
        span,
        path,
        `the ${plugin.kind} ${plugin.type} already exists (${owner}): rename the type of this plugin`,
      )
      return
    }
    try {
      await validator(plugin.schema as Schema)
    } catch (error) {
      const { schemaProblem } = await import('./schema-problem.ts')
      const problem = schemaProblem(plugin.schema, error as Error)
      this.fail(span, path, `the schema of ${plugin.kind} ${plugin.type} does not compile: ${problem}`, problems)
      return
    }
    this.own.set(id, plugin)
  }
}

/** The reason why a value is not a plugin; undefined: it is one. */
function shapeOf(p: any): string | undefined {
  if (typeof p !== 'object' || p === null) return 'the default export is not a plugin: use defineSource, defineTransform or defineSink'
  if (p[Symbol.toStringTag] === 'Module') return 'a module is not a plugin: pass its default export'
  if (!KINDS.includes(p.kind)) return `kind must be ${KINDS.join(', ')}`
  if (typeof p.type !== 'string' || !/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(p.type)) return 'type must be a name such as sma_crossover'
  if (['name', 'when', 'enabled', 'from', 'when_off', 'keyed_by', 'samples'].includes(p.type))
    return `type ${p.type} is reserved: every step has a key with this name`
  if (typeof p.schema !== 'object' || p.schema === null) return `${p.type} has no schema`
  if (typeof p.create !== 'function') return `${p.type} has no create function`
  return undefined
}
