import { linkSteps } from '../../config/parts.ts'
import { EXIT } from '../../kit/exit-codes.ts'
import { connectionSettings } from '../../operations/connection.ts'
import { planLinkedReset } from '../../operations/reset-linked.ts'
import { planReset, type ResetPlan, type Target } from '../../operations/reset.ts'
import { storeOf } from '../../operations/position-status.ts'
import { print, printError, printJson, usageError } from '../output.ts'
import { table } from '../table.ts'
import { cell, COLUMNS as c } from '../lag/run.ts'
import { loadAll } from '../load.ts'
import type { ResetFlags } from '../offsets.ts'

/** @returns the exit code. */
export async function reset(file: string | undefined, flags: ResetFlags): Promise<number> {
  const target = targetOf(flags)
  if (typeof target === 'string') return usageError(target)
  const plan = file === undefined ? await ofGroup(flags, target) : await ofFile(file, flags, target)
  if (typeof plan === 'number') return plan
  try {
    const rejections = plan.moves.flatMap(m => (m.refused === undefined ? [] : [m.refused]))
    const live = plan.members.length > 0
    const go = flags.yes === true && !live && rejections.length === 0
    if (go) await plan.apply()
    if (flags.json) printJson({ applied: go, members: plan.members, lanes: plan.moves.map(plain) })
    else print(toTable(plan))
    const state = plan.moves.reduce((n, m) => n + m.state, 0)
    if (live) {
      const group = plan.moves[0].lane.group
      const members = plan.members.map(m => `\n  ${m.client} ${m.id} on ${m.host}`).join('')
      printError(`nothing was changed: group ${group} has members; stop them first:${members}`)
    } else if (rejections.length > 0) printError(`nothing was changed: ${rejections.join('; ')}`)
    else if (!flags.json)
      print(go ? done(state) : `nothing was changed; --yes does it${state > 0 ? ` and clears ${state} keys of state` : ''}\n`)
    return live || rejections.length > 0 ? EXIT.verdict : EXIT.ok
  } finally {
    await plan.close()
  }
}

const done = (state: number): string => `done${state > 0 ? `; ${state} keys of state were cleared, and windows start over` : ''}\n`

function targetOf({ toEarliest, toLatest, toTime, toOffset }: ResetFlags): Target | string {
  const targets: Target[] = [
    ...(toEarliest ? [{ at: 'earliest' as const }] : []),
    ...(toLatest ? [{ at: 'latest' as const }] : []),
    ...(toTime === undefined ? [] : [{ at: 'time' as const, time: toTime }]),
    ...(toOffset === undefined ? [] : [{ at: 'offset' as const, offset: toOffset }]),
  ]
  return targets.length === 1 ? targets[0] : 'write one of --to-earliest, --to-latest, --to-time and --to-offset'
}

async function ofGroup({ group, topic, partition, brokers }: ResetFlags, target: Target): Promise<ResetPlan | number> {
  if (group === undefined || topic === undefined) return usageError('write a pipeline file, or --group and --topic')
  return planReset(await connectionSettings(brokers), group, topic, target, partition, undefined)
}

async function ofFile(file: string, flags: ResetFlags, target: Target): Promise<ResetPlan | number> {
  if (flags.group !== undefined) return usageError('the file sets the group: leave out --group')
  const pipelines = await loadAll([file], flags.set, flags.brokers)
  if (typeof pipelines === 'number') return pipelines
  const [pipeline] = pipelines
  if (pipeline.links) {
    if (flags.source !== undefined || flags.topic !== undefined || flags.partition !== undefined) {
      const [{ name }] = linkSteps(pipeline)
      return usageError(
        `${file}: the lanes before and after ${name} can only be reset together: leave out --source, --topic and --partition`,
      )
    }
    return planLinkedReset(pipeline, target)
  }
  const steps = pipeline.sources.filter(s => (flags.source === undefined ? s.type === 'kafka' : s.name === flags.source))
  const names = pipeline.sources.map(s => s.name).join(', ')
  if (steps.length === 0)
    return usageError(
      flags.source === undefined ? `${file} has no kafka source` : `there is no source ${flags.source}; the file has ${names}`,
    )
  if (steps.length > 1)
    return usageError(`${file} has several kafka sources: select one with --source (${steps.map(s => s.name).join(', ')})`)
  const [step] = steps
  if (step.type !== 'kafka') return usageError(`source ${step.name} (${step.type}) has no offsets that can be set`)
  const topics = (step.config.topics as string[]).filter(t => flags.topic?.includes(t) ?? true)
  if (topics.length === 0) return usageError(`source ${step.name} reads ${step.config.topics.join(', ')}`)
  return planReset(step.config, step.config.group ?? pipeline.name, topics, target, flags.partition, storeOf(pipeline, step))
}

const plain = ({ lane, committed, checkpoint, state, to, refused }: ResetPlan['moves'][number]): object => ({
  lane: lane.id,
  group: lane.group ?? null,
  committed: committed ?? null,
  checkpoint: checkpoint ?? null,
  state_keys: state,
  to,
  ...(refused === undefined ? {} : { refused }),
})

const toTable = ({ moves }: ResetPlan): string =>
  table(
    [c.lane, c.group, c.committed, c.checkpoint, c.state, { head: 'TO', kind: 'position' }],
    moves.map(m => [m.lane.id, m.lane.group ?? '-', cell(m.committed), cell(m.checkpoint), m.state, m.to]),
  )
