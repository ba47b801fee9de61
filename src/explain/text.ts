/** The explanation as text: the graph as a tree, the guarantees with reasons, and the config of each step. */
import { type ScalarTag, stringify } from 'yaml'
import { displayWidth, fit, padEnd, wrap } from '../kit/text/columns.ts'
import { ExactNumber } from '../contract/plugin.ts'
import type { Guarantee } from '../contract/plugin.ts'
import { formatPath, type Path } from '../config/tree.ts'
import { isRecord } from '../kit/values/records.ts'
import type { Explanation } from './describe.ts'
import type { Edge, StepInfo } from './outline.ts'
import type { Pair } from './guarantees.ts'

export type Style = 'bold' | 'dim' | 'source' | 'sink' | 'dead' | Guarantee
export type Paint = (style: Style, text: string) => string

/**
 * @param width columns of the terminal, to truncate and wrap text
 * @param all include the settings that have their default
 */
export function toText(e: Explanation, paint: Paint, width?: number, all = false): string {
  return [
    `${paint('bold', e.name)}${e.description ? `  ${e.description}` : ''}`,
    paint('dim', `${e.file}  delivery: ${e.delivery}  version: ${e.version}`),
    '',
    ...graph(e, paint, width),
    '',
    ...promises(e, paint, width),
    '',
    ...section('State', e.state, paint, width),
    ...section('Missing records', e.gaps, paint, width),
    ...section('Proxies', e.proxies, paint, width),
    ...numbers(e, paint),
    ...configs(e, paint, all),
    '',
  ].join('\n')
}

function graph(e: Explanation, paint: Paint, columns?: number): string[] {
  const of = (kind: StepInfo['kind']): StepInfo[] => e.steps.filter(s => s.kind === kind)
  const deep = ({ branch }: StepInfo): number => (branch === undefined ? 0 : branch.split('/').length)
  const branches = e.steps.flatMap(s => (s.branches ?? []).map(b => b.name.length + deep(s) + 2))
  const width = Math.max(...e.steps.map(s => s.name.length + deep(s)), ...branches) + 2
  const edges = e.edges.some(edge => edge.guarantee)
  const room = columns === undefined ? undefined : Math.max(20, columns - width - 6 - (edges ? 18 : 0) - 'line 1234'.length - 2)
  const text = (step: StepInfo): string => (room === undefined ? summary(step) : fit(summary(step), room))
  const what = Math.min(62, Math.max(...e.steps.map(s => displayWidth(text(s)))) + 2)
  const line = (mark: string, step: StepInfo, style: Style | undefined, edge?: Edge): string => {
    const name = step.name.padEnd(width + 4 - mark.length)
    const place = paint('dim', `line ${step.at.line}`)
    const promised = edge ? paint(edge.guarantee!, words(edge.guarantee!).padEnd(18)) : ' '.repeat(edges ? 18 : 0)
    return `  ${mark} ${style ? paint(style, name) : name}${padEnd(`${text(step)}  `, what)}${promised}${place}`.trimEnd()
  }
  const targets = [...of('sink'), ...of('dlq')]
  return [
    ...of('source').map(s => line('●   ', s, 'source')),
    '  │',
    ...inBranches(of('transform'), (s, depth) => line(`│   ${'│ '.repeat(depth)}`, s, undefined), width),
    ...(of('transform').length > 0 ? ['  │'] : []),
    ...targets.map((s, i) => {
      const edge = e.edges.find(o => o.to === s.name && o.guarantee)
      return line(`${i === targets.length - 1 ? '└' : '├'}${s.kind === 'dlq' ? '┄┄' : '──'}▶`, s, s.kind === 'dlq' ? 'dead' : 'sink', edge)
    }),
  ]
}

/** The lines of the transforms, with a line for each branch in front of its steps. */
function inBranches(steps: readonly StepInfo[], line: (step: StepInfo, depth: number) => string, width: number): string[] {
  const lines: string[] = []
  const show = (branch: string | undefined, depth: number): void => {
    for (const step of steps.filter(s => s.branch === branch)) {
      lines.push(line(step, depth))
      for (const { name, when, to } of step.branches ?? []) {
        const what = [when === undefined ? 'all other messages' : `when ${when}`, to === undefined ? '' : `to ${[to].flat().join(', ')}`]
        const mark = `  │   ${'│ '.repeat(depth)}├─ `
        lines.push(`${mark}${name.padEnd(width - 2 - 2 * depth)}${what.filter(w => w !== '').join('  ')}`.trimEnd())
        show(`${step.name}/${name}`, depth + 1)
      }
    }
  }
  show(undefined, 0)
  return lines
}

/** Type (unless the name shows it), headline and condition. */
function summary(step: StepInfo): string {
  const { name, type, headline, from, when, stateful, group, through } = step
  const parts = [
    name === type || name.startsWith(`${type}_`) ? '' : type,
    headline,
    group ? `group ${group}` : '',
    from ? `from ${from}` : '',
    when ? `when ${when}` : '',
    through ? `through ${through}` : stateful ? '(state)' : '',
  ]
  return parts
    .filter(p => p !== '')
    .join('  ')
    .replaceAll(/\s*\n\s*/g, ' ')
}

const words = (guarantee: Guarantee): string => guarantee.replaceAll('_', ' ')

function promises(e: Explanation, paint: Paint, columns?: number): string[] {
  const width = Math.max(0, ...e.guarantees.map(p => `${p.source} → ${p.sink}`.length))
  const below = (text: string): string[] => lines(text, columns, width + 4).map(line => `${' '.repeat(width + 4)}${line}`)
  const one = (p: Pair): string[] => [
    `  ${`${p.source} → ${p.sink}`.padEnd(width)}  ${paint(p.guarantee, words(p.guarantee))}`,
    ...below(p.reason),
    ...(p.fence ? below(p.fence).map(line => paint('dim', line)) : []),
    ...(p.late ? below(p.late).map(line => paint('dim', line)) : []),
    ...(p.hint ? below(p.hint).map(line => paint('dim', line)) : []),
  ]
  const { weakest } = e
  return [
    paint('bold', 'Delivery'),
    ...e.guarantees.flatMap(one),
    ...(weakest
      ? [`  ${paint('bold', 'Weakest link:')} ${weakest.source} → ${weakest.sink}, ${paint(weakest.guarantee, words(weakest.guarantee))}`]
      : []),
  ]
}

/** Wraps text to the columns after `indent`, unless fewer than 20 remain. */
const lines = (text: string, columns: number | undefined, indent: number): string[] =>
  columns === undefined || columns - indent < 20 ? [text] : wrap(text, columns - indent)

function section(title: string, entries: Readonly<Record<string, string>>, paint: Paint, columns?: number): string[] {
  const all = Object.entries(entries)
  const width = Math.max(0, ...all.map(([name]) => name.length))
  const one = ([name, text]: [string, string]): string[] =>
    lines(text, columns, width + 4).map((line, i) => `  ${(i === 0 ? name : '').padEnd(width)}  ${line}`)
  return all.length === 0 ? [] : [paint('bold', title), ...all.flatMap(one), '']
}

/** Sinks without known numbers are omitted. */
function numbers(e: Explanation, paint: Paint): string[] {
  const width = Math.max(0, ...e.numbers.map(n => n.sink.length))
  const lines = e.numbers.flatMap(({ sink, fields, others }) => {
    const kinds = Object.groupBy(Object.entries(fields), ([, kind]) => kind)
    const parts = Object.entries(kinds).map(([kind, list]) => `${list!.map(([name]) => name).join(', ')}: ${kind}`)
    if (others) parts.push(`${parts.length > 0 ? 'other fields' : 'all fields'}: ${others}`)
    return parts.length === 0 ? [] : parts.map((part, i) => `  ${(i === 0 ? sink : '').padEnd(width)}  ${part}`)
  })
  if (lines.length === 0) return []
  const binary = e.numbers.some(n => n.others === 'binary' || Object.values(n.fields).includes('binary'))
  const hint = binary ? [paint('dim', '  binary: a double, from / or double(). div(a, b, places) is decimal.')] : []
  return [paint('bold', 'Numbers'), ...lines, ...hint, '']
}

function configs(e: Explanation, paint: Paint, all: boolean): string[] {
  const place = (s: StepInfo): string => paint('dim', `${s.at.file}:${s.at.line}:${s.at.column}`)
  const set = (config: unknown, defaults: readonly string[]): unknown => (all ? config : without(config, new Set(defaults), []))
  const runtime = set(e.runtime, e.defaults)
  return [
    paint('bold', 'Steps'),
    ...e.steps.flatMap(s => {
      const config = set(s.config, s.defaults)
      return [
        `  ${s.name}  ${paint('dim', s.name === s.type || s.name === s.kind ? s.kind : `${s.kind} ${s.type}`)}  ${place(s)}`,
        ...(isEmpty(config) ? [] : block(config)),
      ]
    }),
    '',
    ...(isEmpty(runtime) ? [] : [paint('bold', 'Runtime'), ...block(runtime), '']),
    ...(all ? [] : [paint('dim', 'Settings with their default are omitted; --all prints them.')]),
  ]
}

/** The config without the settings at these paths, and without maps that have no other settings. */
function without(config: unknown, defaults: ReadonlySet<string>, path: Path): unknown {
  if (path.length > 0 && defaults.has(formatPath(path))) return undefined
  if (Array.isArray(config)) return config.map((item, i) => without(item, defaults, [...path, i]))
  if (!isRecord(config)) return config
  const entries = Object.entries(config).map(([key, value]) => [key, without(value, defaults, [...path, key]), value] as const)
  return Object.fromEntries(entries.filter(([, rest, whole]) => rest !== undefined && (!isEmpty(rest) || isEmpty(whole))))
}

const isEmpty = (config: unknown): boolean => config === undefined || (isRecord(config) && Object.keys(config).length === 0)

/** A number that no double can represent, as written. */
const EXACT: ScalarTag = {
  tag: 'tag:yaml.org,2002:float',
  default: true,
  identify: value => value instanceof ExactNumber,
  resolve: text => text,
  stringify: ({ value }) => String(value),
}

const block = (value: unknown): string[] =>
  stringify(value, { lineWidth: 0, customTags: tags => [EXACT, ...tags] })
    .trimEnd()
    .split('\n')
    .map(l => `    ${l}`)
