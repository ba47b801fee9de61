/** A pipeline file from text to a checked `Pipeline`. Needs no network; reports everything it finds, each at its place. */
import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import frame from '../../../schemas/frame.schema.json' with { type: 'json' }
import type { SinkPlugin, SourcePlugin, TransformPlugin } from '../../plugin.ts'
import { useQuick } from './ajv.ts'
import { convert } from './convert.ts'
import { obstacles } from './delivery.ts'
import { type Env, resolveTree } from './env.ts'
import { checkExpressions } from './expressions.ts'
import { fill, fromJson } from './fill.ts'
import { pipelineHash } from './hash.ts'
import { judge } from './judge.ts'
import type { Pipeline, Problem, SinkStep, Step } from './model.ts'
import { MAX_BYTES, parseText } from './parse.ts'
import { Problems } from './problems.ts'
import { type Kind, loadQuick, Registry } from './registry.ts'
import type { Schema } from './schema.ts'
import { applySet } from './set.ts'
import { checkStep, type CheckedStep, report } from './steps.ts'
import { find, type MapNode, type Path, SourceText, type TreeNode, valueSpan } from './tree.ts'
import { nameSteps, wire } from './wiring.ts'

const FRAME = frame as unknown as Schema

export interface LoadOptions {
  /** Default: the process's environment. */
  readonly env?: Env
  /** Overrides, each `path=value`. */
  readonly set?: readonly string[]
}

export interface Loaded {
  /** Present exactly when no problem is an error. */
  readonly pipeline?: Pipeline
  readonly problems: readonly Problem[]
}

/** Never throws for what is in the file, nor for a file that cannot be read: then the only problem is CONFIG_READ. */
export async function loadPipeline(file: string, options: LoadOptions = {}): Promise<Loaded> {
  const problems = new Problems()
  const text = await read(file, problems)
  return text === undefined ? { problems: problems.list() } : load(new SourceText(file, text), problems, options)
}

/** As `loadPipeline`, of a text at hand; `file` is what problems and relative paths refer to. */
export function loadText(file: string, text: string, options: LoadOptions = {}): Promise<Loaded> {
  return load(new SourceText(file, text.replace(/^\uFEFF/, '')), new Problems(), options)
}

/** Only the plugins that a file can use: the built-in ones and its own. */
export async function loadPlugins(file: string): Promise<{ registry: Registry; problems: readonly Problem[] }> {
  const problems = new Problems()
  const registry = new Registry()
  const text = await read(file, problems)
  const parsed = text === undefined ? undefined : parseText(new SourceText(file, text), problems)
  const own = parsed?.kind === 'map' ? parsed.entries.get('plugins')?.value : undefined
  if (own?.kind === 'seq') {
    const list = resolveTree(own, ['plugins'], process.env, dirname(file), problems)
    if (list.kind === 'seq') await registry.addFiles(list, dirname(file), problems)
  }
  return { registry, problems: problems.list() }
}

async function read(file: string, problems: Problems): Promise<string | undefined> {
  const nowhere = { source: new SourceText(file, ''), start: 0, end: 0 }
  let bytes: Buffer
  try {
    const info = await stat(file)
    if (!info.isFile()) throw Object.assign(new Error(), { code: 'EISDIR' })
    if (info.size > 4 * MAX_BYTES) {
      problems.add('CONFIG_LIMIT', nowhere, [], `the file has ${info.size} bytes, allowed are ${MAX_BYTES}`)
      return undefined
    }
    bytes = await readFile(file)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why =
      code === 'ENOENT'
        ? 'does not exist'
        : code === 'EISDIR'
          ? 'is not a file'
          : code === 'EACCES'
            ? 'may not be read'
            : `cannot be read (${code})`
    problems.add('CONFIG_READ', nowhere, [], `${file} ${why}`)
    return undefined
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    problems.add(
      'CONFIG_ENCODING',
      { source: new SourceText(file, bytes.toString('latin1')), start: firstBad(bytes), end: firstBad(bytes) + 1 },
      [],
      'this byte is not UTF-8',
    )
    return undefined
  }
}

/** Offset of the first byte that is not UTF-8: the longest valid prefix ends there. */
function firstBad(bytes: Buffer): number {
  const valid = (n: number): boolean => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, n), { stream: true })
      return true
    } catch {
      return false
    }
  }
  let low = 0
  let high = bytes.length
  while (low < high) {
    const mid = (low + high + 1) >> 1
    if (valid(mid)) low = mid
    else high = mid - 1
  }
  return Math.min(low, bytes.length - 1)
}

async function load(source: SourceText, problems: Problems, options: LoadOptions): Promise<Loaded> {
  const env = options.env ?? process.env
  const base = dirname(source.file)
  const parsed = parseText(source, problems)
  if (!parsed) return { problems: problems.list() }
  if (parsed.kind !== 'map') {
    problems.add(
      'CONFIG_TYPE',
      valueSpan({ node: parsed, key: undefined, partial: false }),
      [],
      'a pipeline file is a map with the keys name, sources, sinks, …',
    )
    return { problems: problems.list() }
  }
  for (const argument of options.set ?? []) applySet(parsed, argument, problems)
  const root = resolveFrame(withMetrics(parsed), env, base, problems)
  const registry = new Registry()
  const own = root.entries.get('plugins')?.value
  if (own?.kind === 'seq') await registry.addFiles(own, base, problems)
  const { value } = await checkFrame(root, env, base, problems)
  const steps = await checkSteps(root, { registry, env, base, problems })
  const names = nameSteps(steps, problems)
  const froms = new Map(steps.filter(s => s.kind === 'sink').map(s => [s, wire(s, names, problems)]))
  const pipeline = problems.empty ? assemble(source.file, value, steps, names, froms) : undefined
  if (pipeline) checkWhole(pipeline, root, problems)
  return problems.empty ? { pipeline, problems: [] } : { problems: problems.list() }
}

/** `metrics` decides by itself whether it is on: written without `enabled` it is, absent it depends on the environment. */
function withMetrics(root: MapNode): MapNode {
  const entry = root.entries.get('metrics')
  const at = { source: root.span.source, start: root.span.start, end: root.span.start }
  if (!entry) {
    const value = fromJson({ enabled: '${KAFKA_METRICS_ENABLED:-false}' }, at)
    return { ...root, entries: new Map([...root.entries, ['metrics', { key: at, value }]]) }
  }
  if (entry.value.kind !== 'map' || entry.value.entries.has('enabled')) return root
  const enabled = { key: entry.key, value: fromJson(true, entry.key) }
  const value: MapNode = { ...entry.value, entries: new Map([...entry.value.entries, ['enabled', enabled]]) }
  return { ...root, entries: new Map([...root.entries, ['metrics', { key: entry.key, value }]]) }
}

const SECTIONS: readonly (readonly [string, Kind])[] = [
  ['sources', 'source'],
  ['transforms', 'transform'],
  ['sinks', 'sink'],
  ['dlq', 'sink'],
]

/** Variables are put in; in a step that is switched off, missing ones are no problem. */
function resolveFrame(root: MapNode, env: Env, base: string, problems: Problems): MapNode {
  const step = (node: TreeNode, path: Path): TreeNode => resolveTree(node, path, env, base, problems, !isEnabled(node, env, base))
  const entries = new Map(
    [...root.entries].map(([key, entry]) => {
      const { value } = entry
      const section = SECTIONS.some(([name]) => name === key)
      if (section && value.kind === 'seq')
        return [key, { ...entry, value: { ...value, items: value.items.map((item, i) => step(item, [key, i])) } }]
      return [key, { ...entry, value: key === 'dlq' ? step(value, [key]) : resolveTree(value, [key], env, base, problems) }]
    }),
  )
  return { ...root, entries }
}

function isEnabled(node: TreeNode, env: Env, base: string): boolean {
  const entry = node.kind === 'map' ? node.entries.get('enabled') : undefined
  if (!entry) return true
  const resolved = resolveTree(entry.value, [], env, base, new Problems())
  const schema: Schema = { type: 'boolean' }
  const value = fill(resolved, schema, [], {
    root: schema,
    env,
    base,
    problems: new Problems(),
    at: entry.key,
    unresolved: new Set(),
    lenient: true,
  })
  return value !== false
}

async function checkFrame(root: MapNode, env: Env, base: string, problems: Problems): Promise<{ value: any }> {
  const unresolved = new Set<string>()
  const filled = fill(root, FRAME, [], { root: FRAME, env, base, problems, at: topOf(root), unresolved, lenient: false })
  const place = (path: Path): { path: Path; find: ReturnType<typeof find> } => {
    const found = find(root, path)
    return { path, find: { ...found, key: found.key ?? topOf(root) } }
  }
  const { value, expressions } = convert(filled, FRAME, FRAME)
  const made = await loadQuick('frame')
  if (made) useQuick(FRAME, made)
  const judgements = await judge(filled, FRAME)
  // A step that is no map at all is explained better beside its plugins.
  const isStep = (path: Path): boolean => SECTIONS.some(([name]) => name === path[0]) && path.length === (path[0] === 'dlq' ? 1 : 2)
  report(
    judgements.filter(j => !(j.code === 'CONFIG_TYPE' && isStep(j.path))),
    place,
    unresolved,
    problems,
  )
  await checkExpressions(
    expressions.filter(e => e.schema.returns === 'bool'),
    place,
    unresolved,
    problems,
  )
  return { value }
}

/** What concerns the file as a whole is said at its first key. */
function topOf(root: MapNode): CheckedStep['key'] {
  const first = root.entries.values().next().value
  return first?.key ?? { source: root.span.source, start: root.span.start, end: root.span.start + 1 }
}

async function checkSteps(root: MapNode, context: Parameters<typeof checkStep>[4]): Promise<CheckedStep[]> {
  const steps: CheckedStep[] = []
  for (const [section, kind] of SECTIONS) {
    const node = root.entries.get(section)?.value
    const items: [TreeNode, Path][] =
      section === 'dlq' ? (node ? [[node, [section]]] : []) : node?.kind === 'seq' ? node.items.map((n, i) => [n, [section, i]]) : []
    for (const [item, path] of items) {
      const step = await checkStep(item, kind, path, isEnabled(item, context.env, context.base), context)
      if (step) steps.push(step)
    }
  }
  return steps
}

function assemble(
  file: string,
  value: any,
  steps: readonly CheckedStep[],
  names: ReadonlyMap<CheckedStep, string>,
  froms: ReadonlyMap<CheckedStep, SinkStep['from']>,
): Pipeline {
  const step = (s: CheckedStep): Step<any> => {
    const { source, start } = s.key
    const frameStep = s.path.length === 1 ? value.dlq : value[s.path[0]][s.path[1]]
    return {
      type: s.type,
      name: names.get(s)!,
      plugin: s.plugin,
      config: s.config,
      ...(frameStep.when === undefined ? {} : { when: frameStep.when }),
      at: { file: source.file, ...source.position(start) },
      secrets: s.secrets,
    }
  }
  const section = (name: string): CheckedStep[] => steps.filter(s => s.path[0] === name && s.enabled)
  const dlq = section('dlq')[0]
  const pipeline: Omit<Pipeline, 'hash'> = {
    file,
    name: value.name,
    version: value.version,
    ...(value.description === undefined ? {} : { description: value.description }),
    sources: section('sources').map(s => step(s) as Step<SourcePlugin>),
    transforms: section('transforms').map(s => step(s) as Step<TransformPlugin>),
    sinks: section('sinks').map(s => ({ ...step(s), ...(froms.get(s) ? { from: froms.get(s)! } : {}) }) as SinkStep),
    ...(dlq ? { dlq: step(dlq) as Step<SinkPlugin> } : {}),
    delivery: value.delivery,
    commit_interval: value.commit_interval ?? (value.delivery === 'exactly_once' ? 100 : 1000),
    max_in_flight: value.max_in_flight,
    shutdown_timeout: value.shutdown_timeout,
    retry: value.retry,
    metrics: value.metrics,
  }
  return { ...pipeline, hash: pipelineHash(pipeline) }
}

/** What only the whole pipeline shows. */
function checkWhole(pipeline: Pipeline, root: MapNode, problems: Problems): void {
  if (pipeline.sources.length === 0)
    problems.add('CONFIG_DISABLED', root.entries.get('sources')!.key, ['sources'], 'every source is switched off: there is nothing to read')
  if (pipeline.delivery !== 'exactly_once') return
  for (const { from, to, reason } of obstacles(pipeline.sources, pipeline.sinks, pipeline.dlq)) {
    const entry = root.entries.get('delivery')!
    problems.add(
      'CONFIG_DELIVERY',
      valueSpan({ node: entry.value, key: entry.key, partial: false }),
      ['delivery'],
      `exactly_once cannot hold on ${to ? `${from} -> ${to}` : from}: ${reason}`,
      'at_least_once',
    )
  }
}
