/** Loads a pipeline file to a checked `Pipeline`. Needs no network; reports all problems with positions. */
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin, SinkPlugin, SourcePlugin, TransformPlugin } from '../contract/plugin.ts'
import type { Flow } from './flow/flow.ts'
import { checkEndpoints, checkListeners } from './endpoints.ts'
import { type Env, resolveTree } from './env.ts'
import { checkFrame, FRAME, resolveFrame, withMetrics } from './frame.ts'
import { pipelineHash } from './hash.ts'
import { laneKeyFindings, loadLanguageForFindings, plainYaml, repartitionBy } from './lane-keys.ts'
import type { Link, Pipeline, Problem, SinkStep, Step } from './model.ts'
import { parseObject } from './object.ts'
import { parseText } from './parse.ts'
import { partsOf } from './parts.ts'
import { Problems } from './problems.ts'
import { readText } from './read.ts'
import { Registry } from './registry.ts'
import { branchOf, checkRoutes, isRoute, withoutSteps } from './route.ts'
import { applySet } from './set.ts'
import { checkSteps, type CheckedStep, isTyped } from './steps.ts'
import { type MapNode, SourceText, type TreeNode, valueSpan } from './tree.ts'
import { consumerGroupOf, isOneShot } from './traits.ts'
import { bindVariables } from './variables.ts'
import { checkPorts, checkSourceNames, nameSteps, wire } from './wiring.ts'

export interface LoadOptions {
  /** Default: the environment of the process. */
  readonly env?: Env
  /** Overrides, each `path=value`. */
  readonly set?: readonly string[]
  /** For commands that read the dlq: a disabled dlq is also used, and all sources may be disabled. */
  readonly forDlq?: boolean
  /** Base folder of relative paths in the pipeline. Default: that of the file. */
  readonly base?: string
  /** Plugins under `plugins:` are not loaded: the file is untrusted. */
  readonly noPlugins?: boolean
  /** Custom plugins, in addition to those under `plugins:`. */
  readonly plugins?: readonly Plugin[]
  /** Reads the sample records of sources (`samples:`) to check the fields that steps read. */
  readonly samples?: boolean
  /** Receives the types of the records at each step, also those of steps whose types are unknown. */
  readonly onFlow?: (flow: Flow) => void
  /** Receives the steps of the file, valid or not, with their positions. */
  readonly onSteps?: (found: FoundSteps) => void
  /** The text of a file that an editor has not saved, by absolute path; undefined: it is read. Not for code of plugins. */
  readonly unsaved?: (path: string) => string | undefined
}

export interface FoundSteps {
  /** The file with everything that it uses in place. */
  readonly root: MapNode
  readonly names: ReadonlyMap<CheckedStep, string>
  readonly registry: Registry
}

/** A pipeline from code: the path or `file:` URL of a file, YAML text (it has a line break, or begins with `{`), or the parsed file as plain data. */
export type PipelineInput = string | URL | object

export interface Loaded {
  /** Present if and only if no problem is an error. */
  readonly pipeline?: Pipeline
  readonly problems: readonly Problem[]
}

/** Does not throw for invalid contents or an unreadable file, whose only problem is CONFIG_READ. */
export async function loadPipeline(file: string, options: LoadOptions = {}): Promise<Loaded> {
  const problems = new Problems()
  const text = options.unsaved?.(resolve(file)) ?? (await readText(file, problems))
  return text === undefined ? { problems: problems.list() } : load(new SourceText(file, text), problems, options)
}

/** As `loadPipeline`, for a file, text or object. `base` of a text or an object is the working directory by default. */
export async function loadInput(input: PipelineInput, options: LoadOptions = {}): Promise<Loaded> {
  const base = options.base ?? process.cwd()
  if (input instanceof URL) return loadPipeline(fileURLToPath(input), options)
  if (typeof input === 'object') {
    const problems = new Problems()
    const { data, plugins } = apart(input)
    const parsed = parseObject(data, problems)
    const own = { ...options, base, plugins: [...(options.plugins ?? []), ...plugins] }
    return parsed ? loadTree(parsed.source, parsed.root, problems, own) : { problems: problems.list() }
  }
  return isText(input) ? loadText('(text)', input, { ...options, base }) : loadPipeline(input, options)
}

/** Separates plugins in `plugins` of an object from files and packages. */
function apart(input: object): { data: object; plugins: readonly Plugin[] } {
  const { plugins } = input as { plugins?: unknown }
  const isPlugin = (item: unknown): item is Plugin => typeof item === 'object' && item !== null
  if (!Array.isArray(plugins) || !plugins.some(isPlugin)) return { data: input, plugins: [] }
  return { data: { ...input, plugins: plugins.filter(item => !isPlugin(item)) }, plugins: plugins.filter(isPlugin) }
}

export const isText = (input: string): boolean => /[\r\n]|^\s*\{/.test(input)

/** As `loadPipeline`, for a text; problems and relative paths refer to `file`. */
export function loadText(file: string, text: string, options: LoadOptions = {}): Promise<Loaded> {
  return load(new SourceText(file, text.replace(/^\uFEFF/, '')), new Problems(), options)
}

/** The built-in plugins and those of a command line, relative to the working directory. @param label name of the file in problems */
export async function loadPluginList(
  items: readonly string[],
  label: string,
): Promise<{ registry: Registry; problems: readonly Problem[] }> {
  const problems = new Problems()
  const registry = new Registry()
  for (const item of items) {
    const span = { source: new SourceText(label, item), start: 0, end: item.length }
    await registry.addListed({ kind: 'seq', span, items: [{ kind: 'scalar', span, value: item, style: 'plain' }] }, process.cwd(), problems)
  }
  return { registry, problems: problems.list() }
}

/** Only the plugins that a file can use: the built-in ones and those under its `plugins:`. */
export async function loadPlugins(file: string): Promise<{ registry: Registry; problems: readonly Problem[] }> {
  const problems = new Problems()
  const registry = new Registry()
  const text = await readText(file, problems)
  const parsed = text === undefined ? undefined : parseText(new SourceText(file, text), problems)
  const own = parsed?.kind === 'map' ? parsed.entries.get('plugins')?.value : undefined
  if (own?.kind === 'seq') {
    const list = resolveTree(own, ['plugins'], process.env, dirname(file), problems)
    if (list.kind === 'seq') await registry.addListed(list, dirname(file), problems)
  }
  return { registry, problems: problems.list() }
}

async function load(source: SourceText, problems: Problems, options: LoadOptions): Promise<Loaded> {
  const parsed = parseText(source, problems)
  return parsed ? loadTree(source, parsed, problems, options) : { problems: problems.list() }
}

async function loadTree(source: SourceText, written: TreeNode, problems: Problems, options: LoadOptions): Promise<Loaded> {
  const env = options.env ?? process.env
  const base = options.base ?? dirname(source.file)
  if (written.kind !== 'map') {
    problems.add(
      'CONFIG_TYPE',
      valueSpan({ node: written, key: undefined, partial: false }),
      [],
      'a pipeline file is a map with the keys name, sources, sinks, …',
    )
    return { problems: problems.list() }
  }
  // Most files use nothing, and need not load the module.
  const shares = /\buse\b|^x-/m.test(source.text)
  const parsed = shares
    ? await (await import('./use.ts')).expandUses(written, {
        base,
        confined: options.noPlugins === true,
        unsaved: options.unsaved,
        problems,
      })
    : written
  for (const argument of options.set ?? []) applySet(parsed, argument, problems)
  if (options.forDlq && parsed.entries.get('dlq')?.value.kind === 'map') applySet(parsed, 'dlq.enabled=true', problems)
  const resolved = resolveFrame(withMetrics(parsed), env, base, problems)
  const root = bindVariables(resolved, FRAME, [], { root: FRAME, env, problems, lenient: false }) as MapNode
  const registry = new Registry()
  for (const plugin of options.plugins ?? []) await registry.addGiven(plugin, root.span, problems)
  const own = root.entries.get('plugins')?.value
  if (own?.kind === 'seq' && own.items.length > 0 && options.noPlugins) {
    registry.incomplete = true
    problems.warn(
      'CONFIG_PLUGIN_FILE',
      own.span,
      ['plugins'],
      'these plugins are not loaded with --no-plugins, and their steps are not checked',
    )
  } else if (own?.kind === 'seq') await registry.addListed(own, base, problems)
  else if (own) registry.incomplete = true
  const { value, defaults } = await checkFrame(root, env, base, problems)
  const { steps, known } = await checkSteps(root, { registry, env, base, problems })
  const names = nameSteps(steps, problems)
  options.onSteps?.({ root, names, registry })
  // A step whose plugin could not be loaded has no name; only the problem of the plugin is reported.
  const wiring = registry.incomplete ? new Problems() : problems
  const froms = new Map(steps.filter(s => s.kind === 'sink').map(s => [s, wire(s, names, wiring)]))
  // Invalid steps and steps with unknown plugins have no name, so references to them cannot be checked.
  const complete = !registry.incomplete && known
  checkRoutes(steps, names, froms, complete, problems)
  if (complete) for (const step of steps) checkSourceNames(step, names, problems)
  checkPorts(steps, names, froms, problems)
  await checkEndpoints(root, [...names.values()], problems)
  checkListeners(root, value, problems)
  const foreign = new Set<Plugin>(registry.loaded)
  if (options.onFlow || steps.some(isTyped)) {
    const { checkTypes } = await import('./flow/check.ts')
    const flow = await checkTypes(
      {
        steps,
        names,
        froms,
        root,
        value,
        foreign,
        base: options.samples ? base : undefined,
        headers: options.samples === true && options.noPlugins !== true,
      },
      problems,
    )
    options.onFlow?.(flow)
  }
  const pipeline = problems.empty ? { ...assemble(source.file, value, steps, names, froms, foreign), defaults, tree: parsed } : undefined
  if (complete && options.forDlq !== true) checkSources(steps, root, problems)
  if (value?.delivery === 'exactly_once') {
    const { checkDelivery, soundParts } = await import('./check-delivery.ts')
    checkDelivery(pipeline ? partsOf(pipeline) : soundParts(steps, names), root, problems)
  }
  if (pipeline) {
    await checkLaneKeys(pipeline, names, problems)
    checkLinks(pipeline, names, problems)
  }
  return problems.empty ? { pipeline, problems: problems.list() } : { problems: problems.list() }
}

function assemble(
  file: string,
  value: any,
  steps: readonly CheckedStep[],
  names: ReadonlyMap<CheckedStep, string>,
  froms: ReadonlyMap<CheckedStep, SinkStep['from']>,
  foreign: ReadonlySet<Plugin>,
): Pipeline {
  const step = (s: CheckedStep): Step<any> => {
    const { source, start } = s.key
    const frameStep = s.within?.frame ?? (s.path.length === 1 ? value.dlq : value[s.path[0]][s.path[1]])
    return {
      type: s.type,
      name: names.get(s)!,
      plugin: s.plugin,
      config: isRoute(s) ? withoutSteps(s.config) : s.config,
      ...(s.within && { branch: branchOf(s.within, names) }),
      ...(frameStep.when === undefined ? {} : { when: frameStep.when, ...shownWhen(s.node) }),
      ...(frameStep.keyed_by === undefined ? {} : { keyedBy: frameStep.keyed_by }),
      at: { file: source.file, ...source.position(start) },
      ...(foreign.has(s.plugin) ? { foreign: true } : {}),
      secrets: s.secrets,
      hidden: s.hidden,
      defaults: s.defaults,
    }
  }
  const section = (name: string): CheckedStep[] => steps.filter(s => s.path[0] === name && s.enabled)
  const dlq = section('dlq')[0]
  const sources = section('sources').map(s => step(s) as Step<SourcePlugin>)
  const transforms = section('transforms').map(s => step(s) as Step<TransformPlugin>)
  const pipeline: Omit<Pipeline, 'hash'> = {
    file,
    name: value.name,
    version: value.version,
    ...(value.description === undefined ? {} : { description: value.description }),
    sources,
    transforms,
    ...linksOf(sources, transforms, value),
    sinks: section('sinks').map(s => ({ ...step(s), ...(froms.get(s) ? { from: froms.get(s)! } : {}) }) as SinkStep),
    ...(dlq ? { dlq: step(dlq) as Step<SinkPlugin> } : {}),
    ...(!dlq && value.dlq?.when_off === 'drop' ? { drops_dead: true } : {}),
    delivery: value.delivery,
    commit_interval: value.commit_interval ?? (value.delivery === 'exactly_once' ? 100 : 1000),
    max_in_flight: value.max_in_flight,
    shutdown_timeout: value.shutdown_timeout,
    retry: value.retry,
    ...(value.limits === undefined ? {} : { limits: value.limits }),
    metrics: value.metrics,
    endpoints: value.endpoints,
  }
  return { ...pipeline, hash: pipelineHash(pipeline) }
}

/** The condition as written in the file, if it contains variables. */
function shownWhen(node: MapNode): Pick<Step, 'shownWhen'> {
  const when = node.entries.get('when')?.value
  return when?.kind === 'scalar' && when.substitution?.outside === true ? { shownWhen: when.substitution.template } : {}
}

function linksOf(
  sources: readonly Step<SourcePlugin>[],
  transforms: readonly Step<TransformPlugin>[],
  { name: pipeline, version }: { name: string; version: number },
): { links?: Link[] } {
  const group = sources.map(consumerGroupOf).find(g => g !== undefined)
  const links = transforms.flatMap((step, index): Link[] => {
    const ends = step.plugin.link?.ends(step.config, { pipeline, version, step: step.name, group })
    if (!ends) return []
    const end = (kind: string, of: { plugin: Plugin; config: unknown }): Step<any> => ({
      type: of.plugin.type,
      // Names in a file cannot contain a dot.
      name: `${step.name}.${kind}`,
      plugin: of.plugin,
      config: of.config,
      at: step.at,
      secrets: step.secrets,
      hidden: step.hidden,
    })
    return [{ index, sink: end('write', ends.sink), source: end('read', ends.source) }]
  })
  return links.length > 0 ? { links } : {}
}

const stepNamed = (wanted: string, names: ReadonlyMap<CheckedStep, string>): CheckedStep =>
  [...names].find(([, name]) => name === wanted)![0]

/** Steps whose records may be spread over lanes. */
async function checkLaneKeys(pipeline: Pipeline, names: ReadonlyMap<CheckedStep, string>, problems: Problems): Promise<void> {
  await loadLanguageForFindings(pipeline)
  for (const { step, by, verdict, reason } of laneKeyFindings(pipeline)) {
    const at = stepNamed(step, names)
    const way = repartitionBy(by)
    const what = `${step} groups records by \`${by}\`, and its state is kept by lane: ${reason}`
    if (verdict === 'spread') problems.add('CONFIG_LANE_KEY', at.key, [...at.path, at.type], `${what}. Put \`${way}\` before ${step}`)
    else
      problems.warn(
        'CONFIG_LANE_KEY',
        at.key,
        [...at.path, at.type],
        `${what}. If records of one key are on one lane, write \`keyed_by: ${plainYaml(by)}\` in the source; otherwise put \`${way}\` before ${step}`,
      )
  }
}

/** Requirements of a `repartition` step. */
function checkLinks({ sources, transforms, links = [] }: Pipeline, names: ReadonlyMap<CheckedStep, string>, problems: Problems): void {
  links.forEach(({ index }, n) => {
    const link = transforms[index]
    const at = stepNamed(link.name, names)
    const add = (message: string, suggestion?: string): void =>
      problems.add('CONFIG_CHECK', at.key, [...at.path, at.type], message, suggestion)
    const oneShot = n === 0 && sources.find(isOneShot)
    if (oneShot)
      add(
        `${oneShot.name} reads everything again in each run, and ${link.name} would write it again each time: use a source that stores its position`,
      )
    if (link.when !== undefined) add(`${link.name} cannot have \`when\`: records that skip the step would not be on the lane of their key`)
    if ((link.config as { time?: string }).time !== undefined) return
    const timed = transforms.slice(index + 1, links[n + 1]?.index).find(t => eventTimeOf(t) !== undefined)
    if (timed)
      add(
        `${timed.name} takes its time from the field ${eventTimeOf(timed)}, and ${link.name} needs the same time to compare the lanes that it merges: add it to ${link.name}`,
        `time: ${eventTimeOf(timed)}`,
      )
  })
}

/** The event time field of a stateful step. */
function eventTimeOf({ type, config, foreign }: Step): string | undefined {
  if (foreign) return undefined
  const { time, fields } = (config ?? {}) as { time?: string; fields?: { ts?: string } }
  return type === 'bars' ? fields?.ts : ['window', 'dedupe', 'throttle', 'join'].includes(type) ? time : undefined
}

/** Requires a source; an invalid one counts. */
function checkSources(steps: readonly CheckedStep[], root: MapNode, problems: Problems): void {
  const sources = steps.filter(s => s.kind === 'source')
  if (sources.length > 0 && sources.every(s => !s.enabled))
    problems.add(
      'CONFIG_DISABLED',
      root.entries.get('sources')!.key,
      ['sources'],
      'every source is disabled: set enabled: true on at least one',
    )
}
