/**
 * Sends messages into branches. The steps of a branch are steps of the chain that only its messages enter; the runtime sets that up, so
 * this step only marks each message with its branch.
 */
import type { RouteConfig } from '../generated/config-types.ts'
import { compile } from '../expressions/index.ts'
import { type ConfigProblem, DataError, defineTransform, type Message, type Output } from '../contract/plugin.ts'
import schema from './route.schema.json' with { type: 'json' }
import { failOn } from '../kit/fail.ts'
import { show } from '../kit/values/fields.ts'

export default defineTransform<RouteConfig>({
  type: 'route',
  schema,
  validateConfig,
  ports: ({ branches }) => [...new Set(branches.flatMap(({ to = [] }) => to))],
  create({ branches, match, on_unmatched }, ctx) {
    const labels = { pipeline: ctx.pipeline, step: ctx.step }
    const ways = branches.map(({ name, when }) => ({
      name,
      mark: `${ctx.step}/${name}`,
      text: when ?? '',
      when: when === undefined ? undefined : compile(when),
      count: ctx.metrics.counter('runner_route_messages_total', 'Messages that entered a branch', { ...labels, branch: name }),
    }))
    type Way = (typeof ways)[number]
    const unmatched = ctx.metrics.counter(
      'runner_route_unmatched_total',
      'Messages that matched no branch',
      { ...labels, action: on_unmatched },
      on_unmatched === 'drop' ? 'unmatched' : undefined,
    )

    const matches = ({ when, text, name }: Way, m: Message): boolean => {
      if (!when) return true
      const result = when.evaluate(m)
      if (typeof result === 'boolean') return result
      throw new DataError(`when of the branch ${name}: '${text}' gave ${show(result)}, not true or false`)
    }
    const enter = (way: Way, m: Message, out: Output): void => {
      way.count.inc()
      m.branch = way.mark
      out.emit(m)
    }
    const leave = (m: Message, out: Output): void => {
      unmatched.inc()
      if (on_unmatched === 'pass') out.emit(m)
      else if (on_unmatched === 'dlq')
        out.fail(m, new DataError(`the record matches none of the branches ${ways.map(w => w.name).join(', ')}`))
    }
    const first = (m: Message, out: Output): void => {
      const way = ways.find(w => matches(w, m))
      if (way) enter(way, m, out)
      else leave(m, out)
    }
    const all = (m: Message, out: Output): void => {
      const found = ways.filter(w => matches(w, m))
      if (found.length === 0) return leave(m, out)
      // The part distinguishes the copies where a sink identifies a message by its record.
      const part = (way: Way): string => (m.part === undefined ? `@${way.name}` : `${m.part}@${way.name}`)
      const copies = found.map(way => m.duplicate(part(way)))
      found.forEach((way, i) => enter(way, copies[i], out))
    }
    const pass = match === 'all' ? all : first
    return {
      process(messages, out) {
        for (const m of messages) {
          try {
            pass(m, out)
          } catch (error) {
            failOn(m, error, out)
          }
        }
      },
    }
  },
})

function validateConfig({ branches, match, on_unmatched }: RouteConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const open = branches.findIndex(b => b.when === undefined)
  branches.forEach(({ name }, i) => {
    const before = branches.findIndex(b => b.name === name)
    if (before < i) problems.push({ path: ['branches', i, 'name'], message: `the name ${name} is used by branches[${before}] already` })
  })
  if (open >= 0 && match === 'first' && open < branches.length - 1)
    problems.push({
      path: ['branches', open, 'name'],
      message: `${branches[open].name} has no when, so it receives every message, and ${branches[open + 1].name} after it receives none: add a when to it, or make it the last branch`,
    })
  if (open >= 0 && on_unmatched !== 'pass')
    problems.push({
      path: ['on_unmatched'],
      message: `every message matches ${branches[open].name}, which has no when: remove on_unmatched, or add a when to the branch`,
    })
  return problems
}
