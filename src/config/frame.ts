/** The parts of a pipeline file outside the plugins: keys, variables and sections. */
import frame from '../../schemas/frame.schema.json' with { type: 'json' }
import { useQuick } from './ajv.ts'
import { convert } from './convert.ts'
import { type Env, resolveTree } from './env.ts'
import { checkExpressions } from './expressions.ts'
import { fill, fromJson } from './fill.ts'
import { diagnose } from './diagnose.ts'
import { Problems } from './problems.ts'
import { loadQuick } from './built-ins.ts'
import { checkNumber } from './numbers.ts'
import type { Kind } from './registry.ts'
import { type Locate, report } from './report.ts'
import type { Schema } from './schema.ts'
import { find, type MapNode, type Path, type Span, type TreeNode } from './tree.ts'

export const FRAME = frame as unknown as Schema

/** `metrics` without `enabled` is enabled; without the key, the environment decides. */
export function withMetrics(root: MapNode): MapNode {
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

/** Lists of steps (dlq: one step), in the order of the file. */
export const SECTIONS: readonly (readonly [string, Kind])[] = [
  ['sources', 'source'],
  ['transforms', 'transform'],
  ['sinks', 'sink'],
  ['dlq', 'sink'],
]

/** Keys of a step that are not a plugin. */
export const COMMON_KEYS: Readonly<Record<Kind | 'dlq', readonly string[]>> = {
  source: ['name', 'enabled', 'keyed_by', 'samples'],
  transform: ['name', 'enabled', 'when'],
  sink: ['name', 'enabled', 'when', 'from'],
  dlq: ['name', 'enabled', 'when_off'],
}

/** Replaces variables; in a disabled step, missing variables are allowed. */
export function resolveFrame(root: MapNode, env: Env, base: string, problems: Problems): MapNode {
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

export function isEnabled(node: TreeNode, env: Env, base: string): boolean {
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

/** Checks everything outside the plugins with the frame schema. */
export async function checkFrame(
  root: MapNode,
  env: Env,
  base: string,
  problems: Problems,
): Promise<{ value: any; defaults: ReadonlySet<string> }> {
  const defaults = new Set<string>()
  const unresolved = new Set<string>()
  const filled = fill(root, FRAME, [], {
    root: FRAME,
    env,
    base,
    problems,
    at: topOf(root),
    unresolved,
    defaults,
    lenient: false,
    // Numbers of steps are checked with the schemas of their plugins.
    onNumber: (node, schemas, path) => void (SECTIONS.some(([name]) => name === path[0]) || checkNumber(node, schemas, path, problems)),
  })
  const place: Locate = path => {
    const found = find(root, path)
    return { path, find: { ...found, key: found.key ?? topOf(root) } }
  }
  const { value, expressions } = convert(filled, FRAME, FRAME, base)
  const made = await loadQuick('frame')
  if (made) useQuick(FRAME, made)
  const diagnoses = await diagnose(filled, FRAME)
  // For a step that is not a map, the problem with the list of plugins is reported instead.
  const isStep = (path: Path): boolean => SECTIONS.some(([name]) => name === path[0]) && path.length === (path[0] === 'dlq' ? 1 : 2)
  report(
    diagnoses.filter(j => !(j.code === 'CONFIG_TYPE' && isStep(j.path))),
    place,
    unresolved,
    problems,
  )
  await checkExpressions(expressions, place, unresolved, problems)
  // Its default depends on delivery.
  if ((value as any)?.commit_interval === undefined) defaults.add('commit_interval')
  return { value, defaults }
}

/** The position of a problem of the whole file: its first key. */
function topOf(root: MapNode): Span {
  const first = root.entries.values().next().value
  return first?.key ?? { source: root.span.source, start: root.span.start, end: root.span.start + 1 }
}
