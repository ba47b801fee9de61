/** The stages of `route` steps: which messages enter a stage of a branch, and where the branches end. */
import type { Transform, TransformPlugin } from '../contract/plugin.ts'
import type { Step } from '../config/model.ts'
import { branchesOf, reaches, sinksOf } from '../config/route.ts'
import type { Stage } from './chain.ts'
import type { StepMeter } from './telemetry/meters.ts'

/**
 * Adds to the stages of a part what its routes need. Without a route, the stages are unchanged.
 * @param stages one for each step
 */
export function withBranches(steps: readonly Step<TransformPlugin>[], stages: Stage[]): Stage[] {
  if (!steps.some(s => branchesOf(s) !== undefined)) return stages
  const out: Stage[] = []
  const open: Step<TransformPlugin>[] = []
  /** Branches of the stages that receive the event time of merged lanes. */
  const clocked: (string | undefined)[] = []
  const close = (before: string | undefined): void => {
    while (open.length > 0 && before?.startsWith(`${open.at(-1)!.name}/`) !== true) out.push(join(open.pop()!, stages))
  }
  steps.forEach((step, i) => {
    close(step.branch)
    const forks = branchesOf(step) !== undefined
    const ownClock = stages[i].transform.onClock !== undefined && !clocked.some(before => reaches(steps, before, step.branch))
    if (ownClock) clocked.push(step.branch)
    out.push({
      ...stages[i],
      ...(step.branch !== undefined && inBranch(step.branch)),
      ...(forks && { forks: true }),
      ...(ownClock && { ownClock }),
    })
    if (forks) open.push(step)
  })
  close(undefined)
  return out
}

const inBranch = (branch: string): Pick<Stage, 'branch' | 'enters'> => ({ branch, enters: m => m.branch === branch })

/** The end of a route: its branches join, or end in their sinks. It has the name of the route, from whose ports the sinks read. */
function join(route: Step<TransformPlugin>, stages: readonly Stage[]): Stage {
  const { meter } = stages.find(s => s.name === route.name)!
  const ends = new Map(branchesOf(route)!.map(b => [`${route.name}/${b.name}`, sinksOf(b)]))
  const transform: Transform = {
    process(messages, out) {
      for (const m of messages) {
        const sinks = m.branch === undefined ? undefined : ends.get(m.branch)
        if (sinks) m.branch = route.branch
        if (!sinks || sinks.length === 0) out.emit(m)
        else for (const sink of sinks) out.emitTo(sink, m)
      }
    },
  }
  return { name: route.name, at: route.at, transform, meter: uncounted(meter), forks: true, joins: true }
}

/** The messages of a route are counted where they enter it. */
const uncounted = ({ step, kind }: StepMeter): StepMeter => ({ step, kind, in: 0, out: 0, dead: 0, seconds: 0, retries: 0 })
