/**
 * Branches of `route` steps. Their steps are steps of the pipeline as all others, in one list in the order of the file, with the branch that
 * has them (`Step.branch`). So the parts of the project that read steps need no second kind of list.
 */
import { COMMON_KEYS } from './frame.ts'
import type { Problems } from './problems.ts'
import type { CheckedStep } from './steps.ts'
import { suggest } from '../kit/text/suggest.ts'
import type { TransformPlugin } from '../contract/plugin.ts'
import type { Step } from './model.ts'
import { find, formatPath, type MapEntry, type MapNode, type Path, type TreeNode, valueSpan } from './tree.ts'
import type { From } from './wiring.ts'

/** The place of a step in a branch. */
export interface Within {
  readonly route: CheckedStep
  /** Path of the branch in the file. */
  readonly path: Path
  /** Name of the branch. */
  readonly branch: string
  /** The keys of the step beside its plugin. */
  readonly frame: { readonly when?: string }
}

/** A branch as the config of a checked `route` step has it. */
export interface Branch {
  readonly name: string
  readonly when?: string
  readonly to?: string | readonly string[]
}

export const isRoute = ({ kind, type }: { readonly kind: string; readonly type: string }): boolean =>
  kind === 'transform' && type === 'route'

/** The path of a branch, which its steps have in front of their names. */
export const branchOf = ({ route, branch }: Within, names: ReadonlyMap<CheckedStep, string>): string => `${names.get(route)}/${branch}`

/** The branches of a step of the pipeline; undefined: it is not a route. */
export function branchesOf({ type, foreign, config }: { type: string; foreign?: boolean; config: any }): readonly Branch[] | undefined {
  return type === 'route' && foreign !== true ? config?.branches : undefined
}

/** The sinks that a branch ends in; empty: it joins the others. */
export const sinksOf = ({ to = [] }: Branch): readonly string[] => (typeof to === 'string' ? [to] : to)

/** Whether messages can skip all branches. */
export function canPass({ config, when }: { readonly config: any; readonly when?: string }): boolean {
  const { branches, on_unmatched } = config as { branches: readonly Branch[]; on_unmatched: string }
  return when !== undefined || (on_unmatched === 'pass' && branches.every(b => b.when !== undefined))
}

/** The config without the steps, which are steps of their own. */
export const withoutSteps = (config: any): any => ({
  ...config,
  branches: config.branches.map(
    ({ name, when, to }: Branch): Branch => ({ name, ...(when !== undefined && { when }), ...(to !== undefined && { to }) }),
  ),
})

/** The entry with only the common keys of the steps: their plugins are checked with the schemas of these. */
export function bareRoute(entry: MapEntry): MapEntry {
  const bareStep = (node: TreeNode): TreeNode =>
    node.kind === 'map'
      ? { ...node, entries: new Map([...node.entries].filter(([key]) => COMMON_KEYS.transform.includes(key))) }
      : { kind: 'map', span: node.span, entries: new Map() }
  const bare = (node: TreeNode): TreeNode => {
    if (node.kind !== 'map') return node
    const steps = node.entries.get('steps')
    if (steps?.value.kind !== 'seq') return node
    const value: TreeNode = { ...steps.value, items: steps.value.items.map(bareStep) }
    return { ...node, entries: new Map([...node.entries, ['steps', { ...steps, value }]]) }
  }
  const list = (node: TreeNode): TreeNode => (node.kind === 'seq' ? { ...node, items: node.items.map(bare) } : node)
  const { value } = entry
  const branches = value.kind === 'map' ? value.entries.get('branches') : undefined
  if (value.kind !== 'map' || !branches) return { ...entry, value: list(value) }
  return { ...entry, value: { ...value, entries: new Map([...value.entries, ['branches', { ...branches, value: list(branches.value) }]]) } }
}

/** The steps in the branches of a route; none for other steps. */
export function branchSteps(route: CheckedStep): { node: TreeNode; path: Path; within: Within }[] {
  if (!isRoute(route)) return []
  const written = route.node.entries.get(route.type)!.value
  const inner: Path = written.kind === 'seq' ? [] : ['branches']
  const branches = find(written, inner)
  if (branches.partial || branches.node.kind !== 'seq') return []
  return branches.node.items.flatMap((branch, b) => {
    const steps = branch.kind === 'map' ? branch.entries.get('steps')?.value : undefined
    if (steps?.kind !== 'seq') return []
    const path: Path = [...route.path, route.type, ...inner, b]
    const name: unknown = route.config?.branches?.[b]?.name
    return steps.items.map((node, i) => ({
      // The common keys are those that were checked, with the variables of `when` inserted.
      node: node.kind === 'map' ? withKeysOf(node, find(route.tree, ['branches', b, 'steps', i]).node) : node,
      path: [...path, 'steps', i],
      within: {
        route,
        path,
        branch: typeof name === 'string' ? name : `branches[${b}]`,
        frame: route.config?.branches?.[b]?.steps?.[i] ?? {},
      },
    }))
  })
}

function withKeysOf(node: MapNode, checked: TreeNode): MapNode {
  if (checked.kind !== 'map') return node
  return { ...node, entries: new Map([...node.entries].map(([key, entry]) => [key, checked.entries.get(key) ?? entry])) }
}

/** Checks where branches lead, and adds what their sinks read to `froms`. @param complete every step of the file has a name */
export function checkRoutes(
  steps: readonly CheckedStep[],
  names: ReadonlyMap<CheckedStep, string>,
  froms: Map<CheckedStep, From | undefined>,
  complete: boolean,
  problems: Problems,
): void {
  for (const step of steps) {
    if (step.within && step.valid && (step.plugin as TransformPlugin).link !== undefined)
      problems.add(
        'CONFIG_BRANCH',
        step.key,
        [...step.path, step.type],
        `${step.type} cannot be in a branch: the messages of other branches would not be on the lane of their key. Put it before or after ${names.get(step.within.route)}`,
      )
    if (isRoute(step) && step.valid && step.enabled) connect(step, names, froms, complete, problems)
  }
  for (const step of steps) if (isRoute(step) && step.valid && !step.enabled) checkDisabled(step, names, froms, problems)
  if (complete) for (const step of steps) if (isRoute(step) && step.valid && step.enabled) checkRest(step, steps, names, froms, problems)
}

/** Connects the sinks that the branches of a route end in. */
function connect(
  route: CheckedStep,
  names: ReadonlyMap<CheckedStep, string>,
  froms: Map<CheckedStep, From | undefined>,
  complete: boolean,
  problems: Problems,
): void {
  const own = names.get(route)!
  const sinks = new Map([...names].filter(([s]) => s.kind === 'sink' && s.path[0] === 'sinks').map(([s, name]) => [name, s]))
  const branches = route.config.branches as Branch[]
  branches.forEach((branch, b) => {
    sinksOf(branch).forEach((name, i) => {
      const inTree: Path = typeof branch.to === 'string' ? ['branches', b, 'to'] : ['branches', b, 'to', i]
      const at = valueSpan(find(route.tree, inTree))
      const path = [...route.path, route.type, ...inTree]
      const sink = sinks.get(name)
      if (!sink) {
        if (!complete) return
        const all = [...sinks.keys()]
        problems.add('CONFIG_BRANCH', at, path, `there is no sink ${name}; the sinks are ${all.join(', ')}`, suggest(name, all))
        return
      }
      const from = froms.get(sink)
      if (sink.node.entries.has('from'))
        problems.add(
          'CONFIG_BRANCH',
          at,
          path,
          `the sink ${name} has from, and a sink that a branch names receives its branches only: remove from`,
        )
      else if (from !== undefined && from.step !== own)
        problems.add(
          'CONFIG_BRANCH',
          at,
          path,
          `the sink ${name} receives branches of ${from.step} already: add another sink for those of ${own}`,
        )
      else froms.set(sink, { step: own, port: name })
      if (!sink.enabled)
        problems.warn(
          'CONFIG_BRANCH',
          at,
          path,
          `the sink ${name} is disabled: the messages of the branch ${branch.name} are not written to it`,
        )
    })
  })
}

/** Without the branches that name it, a sink would receive the end of the chain. */
function checkDisabled(
  route: CheckedStep,
  names: ReadonlyMap<CheckedStep, string>,
  froms: ReadonlyMap<CheckedStep, From | undefined>,
  problems: Problems,
): void {
  const named = (route.config.branches as Branch[]).flatMap(sinksOf)
  for (const [sink, name] of names) {
    if (sink.path[0] !== 'sinks' || !sink.enabled || !named.includes(name) || froms.get(sink) || sink.node.entries.has('from')) continue
    problems.add(
      'CONFIG_BRANCH',
      route.key,
      [...route.path, route.type],
      `${names.get(route)} is disabled, and without its branches the sink ${name} would receive the end of the chain: disable the sink too`,
    )
  }
}

/** Reports steps and sinks after a route that no message leaves. */
function checkRest(
  route: CheckedStep,
  steps: readonly CheckedStep[],
  names: ReadonlyMap<CheckedStep, string>,
  froms: ReadonlyMap<CheckedStep, From | undefined>,
  problems: Problems,
): void {
  const branches = route.config.branches as Branch[]
  const when = route.node.entries.has('when') ? '' : undefined
  if (canPass({ config: route.config, when }) || branches.some(b => sinksOf(b).length === 0)) return
  const place = (s: CheckedStep): string => (s.within ? formatPath(s.within.path) : '')
  const after = steps.slice(steps.indexOf(route) + 1).filter(s => s.enabled && s.kind === 'transform' && place(s) === place(route))
  const idle = route.within ? [] : steps.filter(s => s.enabled && s.path[0] === 'sinks' && !froms.get(s))
  const nothing = after.length > 0 ? after.slice(0, 1) : idle
  if (nothing.length === 0) return
  const list = nothing.map(s => names.get(s)).join(', ')
  problems.add(
    'CONFIG_BRANCH',
    route.key,
    [...route.path, route.type],
    `no message leaves ${names.get(route)}, because every branch ends in its own sinks: ${list} would receive nothing. Remove ${nothing.length === 1 ? 'it' : 'them'}, or remove \`to\` from a branch`,
  )
}

/** How a value follows the messages through the steps of a pipeline and their branches. */
export interface Walk<S, T> {
  step(step: S, before: T): T
  /** At the start of a branch. Default: unchanged. */
  enter?(route: S, branch: Branch, value: T): T
  /** A branch has ended in its own sinks. */
  end?(route: S, branch: Branch, value: T): void
  /**
   * After a route.
   * @param arrivals of the branches that join, and of messages that skip the route; empty: no message leaves it
   * @param inside the value at the start of the branches
   */
  join(arrivals: readonly T[], inside: T, route: S): T
}

/** Follows the messages from the first step to the end of the chain. */
export function walk<S extends { readonly type: string; readonly branch?: string; readonly name: string; readonly config: any }, T>(
  steps: readonly S[],
  start: T,
  { step, enter = (_r, _b, value) => value, end, join }: Walk<S, T>,
): T {
  let i = 0
  const run = (first: T, branch: string | undefined): T => {
    let value = first
    while (i < steps.length && steps[i].branch === branch) {
      const current = steps[i++]
      value = step(current, value)
      const branches = branchesOf(current)
      if (!branches) continue
      const inside = value
      const arrivals: T[] = []
      for (const b of branches) {
        const last = run(enter(current, b, inside), `${current.name}/${b.name}`)
        if (sinksOf(b).length === 0) arrivals.push(last)
        else end?.(current, b, last)
      }
      if (canPass(current)) arrivals.push(inside)
      value = join(arrivals, inside, current)
    }
    return value
  }
  return run(start, undefined)
}

/** Whether messages of one step can reach another one after it: not those of another branch, or of a branch that ends in its own sinks. */
export function reaches(
  steps: readonly Pick<Step, 'name' | 'type' | 'branch' | 'config'>[],
  from: string | undefined,
  to: string | undefined,
): boolean {
  if (from === undefined) return true
  const inside = (branch: string | undefined, of: string): boolean => branch === of || branch?.startsWith(`${of}/`) === true
  for (const route of steps) {
    const branches = branchesOf(route)
    const own = branches?.find(b => inside(from, `${route.name}/${b.name}`))
    if (!branches || !own || inside(to, `${route.name}/${own.name}`)) continue
    if (sinksOf(own).length > 0 || inside(to, route.name)) return false
  }
  return true
}
