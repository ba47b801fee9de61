/** Names of steps and references to them. */
import type { TransformPlugin } from '../contract/plugin.ts'
import type { Problems } from './problems.ts'
import { branchOf, isRoute } from './route.ts'
import type { Schema } from './schema.ts'
import type { CheckedStep } from './steps.ts'
import { suggest } from '../kit/text/suggest.ts'
import { formatPath, type TreeNode } from './tree.ts'

const scalar = (node: TreeNode | undefined): string | undefined =>
  node?.kind === 'scalar' && typeof node.value === 'string' ? node.value : undefined

/** Names are unique in the pipeline. A step in a branch has the name of the branch in front, and its own name is unique there. */
export function nameSteps(steps: readonly CheckedStep[], problems: Problems): Map<CheckedStep, string> {
  const names = new Map<CheckedStep, string>()
  // A route is in front of the steps of its branches.
  for (const scope of Map.groupBy(steps, s => (s.within ? formatPath(s.within.path) : '')).values())
    for (const [step, name] of namesIn(scope, problems)) names.set(step, step.within ? `${branchOf(step.within, names)}/${name}` : name)
  return names
}

/** Assigns explicit names first, so that a numbered name never replaces one. */
function namesIn(steps: readonly CheckedStep[], problems: Problems): Map<CheckedStep, string> {
  const names = new Map<CheckedStep, string>()
  const taken = new Map<string, CheckedStep>()
  for (const step of steps) {
    const entry = step.node.entries.get('name')
    const name = scalar(entry?.value)
    if (name === undefined) continue
    const first = taken.get(name)
    if (first)
      problems.add(
        'CONFIG_DUPLICATE_NAME',
        entry!.value.span,
        [...step.path, 'name'],
        `the name ${name} is used by ${formatPath(first.path)} already`,
      )
    else taken.set(name, step)
    names.set(step, name)
  }
  for (const step of steps) {
    if (names.has(step)) continue
    const base = step.path[0] === 'dlq' ? 'dlq' : step.type
    let name = base
    for (let n = 2; taken.has(name); n++) name = `${base}_${n}`
    taken.set(name, step)
    names.set(step, name)
  }
  return names
}

export interface From {
  readonly step: string
  readonly port: string
}

/** Resolves `from: step.port` of a sink; undefined if missing or invalid. */
export function wire(sink: CheckedStep, names: ReadonlyMap<CheckedStep, string>, problems: Problems): From | undefined {
  const entry = sink.node.entries.get('from')
  const text = scalar(entry?.value)
  if (text === undefined || !/^[a-z][a-z0-9_/-]*\.[a-z][a-z0-9_-]*$/.test(text)) return undefined // reported by the frame schema
  const at = entry!.value.span
  const path = [...sink.path, 'from']
  const [stepName, port] = text.split('.')
  const byName = new Map([...names].map(([step, name]) => [name, step]))
  const all = [...names].filter(([s]) => s.enabled && s.valid && !isRoute(s)).flatMap(([s, name]) => portsOf(s).map(p => `${name}.${p}`))
  const target = byName.get(stepName)
  const listed = all.length > 0 ? `; the ports are ${all.join(', ')}` : '; no step of this pipeline has ports'
  if (!target) {
    const near = suggest(
      stepName,
      [...names].filter(([s]) => s.kind === 'transform').map(([, n]) => n),
    )
    problems.add('CONFIG_FROM', at, path, `there is no step ${stepName}${listed}`, near ? `${near}.${port}` : suggest(text, all))
  } else if (target.kind !== 'transform') {
    problems.add('CONFIG_FROM', at, path, `${stepName} is a ${target.kind}, and only transforms have ports${listed}`, suggest(text, all))
  } else if (!target.enabled) {
    problems.add('CONFIG_FROM', at, path, `the step ${stepName} is disabled`)
  } else if (isRoute(target)) {
    const own = names.get(sink)!
    problems.add('CONFIG_FROM', at, path, `a branch names its sinks: remove from, and write to: ${own} in the branch of ${stepName}`)
  } else if (target.valid && !portsOf(target).includes(port)) {
    const ports = portsOf(target)
    const way = target.type === 'validate' && port === 'invalid' ? '; to add one, set on_invalid: port' : ''
    const has = ports.length > 0 ? `it has ${ports.join(', ')}` : `it has no ports${way}`
    const near = suggest(port, ports)
    problems.add('CONFIG_PORT', at, path, `${stepName} has no port ${port}; ${has}`, near && `${stepName}.${near}`)
  }
  return { step: stepName, port }
}

/** Checks settings of a transform that name a source: it must exist and be enabled. */
export function checkSourceNames(step: CheckedStep, names: ReadonlyMap<CheckedStep, string>, problems: Problems): void {
  if (step.kind !== 'transform' || !step.enabled || !step.valid) return
  const config = step.node.entries.get(step.type)?.value
  const { properties = {} } = step.plugin.schema as Schema
  for (const [property, schema] of Object.entries(properties)) {
    const wanted = schema.format === 'source_step' ? step.config?.[property] : undefined
    const entry = config?.kind === 'map' ? config.entries.get(property) : undefined
    if (typeof wanted !== 'string' || !entry) continue
    const sources = [...names].filter(([s]) => s.kind === 'source')
    if (sources.length === 0) return
    if (sources.some(([s, name]) => name === wanted && s.enabled)) continue
    const off = sources.some(([, name]) => name === wanted)
    const there = sources.filter(([s]) => s.enabled).map(([, name]) => name)
    problems.add(
      'CONFIG_SOURCE',
      entry.value.span,
      [...step.path, step.type, property],
      off ? `the source ${wanted} is disabled` : `there is no source ${wanted}; the file has ${there.join(', ')}`,
      suggest(wanted, there),
    )
  }
}

/** Warns of a port that no sink reads: its messages are dropped, which is rarely intended. */
export function checkPorts(
  steps: readonly CheckedStep[],
  names: ReadonlyMap<CheckedStep, string>,
  froms: ReadonlyMap<CheckedStep, From | undefined>,
  problems: Problems,
): void {
  const taken = new Set([...froms].flatMap(([sink, from]) => (from && sink.enabled ? [`${from.step}.${from.port}`] : [])))
  for (const step of steps) {
    if (!step.enabled || !step.valid || isRoute(step)) continue
    const ports = portsOf(step)
    // A sink with an unknown port of this step has an error already.
    if ([...froms.values()].some(from => from !== undefined && from.step === names.get(step) && !ports.includes(from.port))) continue
    for (const port of ports) {
      const id = `${names.get(step)}.${port}`
      if (!taken.has(id))
        problems.warn(
          'CONFIG_PORT',
          step.key,
          [...step.path, step.type],
          `no sink reads ${id}: its messages are dropped. Add a sink with from: ${id}`,
        )
    }
  }
}

export function portsOf(step: CheckedStep): string[] {
  return step.kind === 'transform' ? ((step.plugin as TransformPlugin).ports?.(step.config) ?? []) : []
}
