/** Reports fields that cannot be in the records that a step reads, at their place. */
import { isPlainPath } from '../../expressions/plain-path.ts'
import { isOnly, type Read, readPath, type RecordType, typeText } from '../../expressions/record-type.ts'
import { distance, suggest } from '../../kit/text/suggest.ts'
import type { Problems } from '../problems.ts'
import { spanInScalar } from '../scalar.ts'
import { COMMON_KEYS } from '../frame.ts'
import { branchOf, isRoute, withoutSteps } from '../route.ts'
import type { CheckedStep } from '../steps.ts'
import { find, type MapNode, nearby, type Path, type Span, valueSpan } from '../tree.ts'
import type { From } from '../wiring.ts'
import { type Flow, flowOf, type FlowStep, type FlowUse } from './flow.ts'

/** Names listed in a message. */
const LISTED = 12

export interface FlowInput {
  readonly steps: readonly CheckedStep[]
  readonly names: ReadonlyMap<CheckedStep, string>
  readonly froms: ReadonlyMap<CheckedStep, From | undefined>
  readonly root: MapNode
  /** The file as checked by the frame schema. */
  readonly value: any
  readonly foreign: ReadonlySet<unknown>
  /** Base of relative paths. Undefined: the files of `samples` are not read. */
  readonly base: string | undefined
  /** The header lines of CSV files are read. */
  readonly headers: boolean
}

/** Checks the fields that the steps read. @returns what flows where */
export async function checkTypes(input: FlowInput, problems: Problems): Promise<Flow> {
  const stepOf = new Map<FlowStep, CheckedStep>()
  const all: FlowStep[] = []
  for (const [section, kind] of [
    ['sources', 'source'],
    ['transforms', 'transform'],
    ['sinks', 'sink'],
  ] as const) {
    const node = input.root.entries.get(section)?.value
    const items = node?.kind === 'seq' ? node.items : []
    // Steps without a plugin are in the file only; the steps of branches follow their route.
    const found = [...items.keys()].flatMap(i => {
      const own = input.steps.filter(s => s.path[0] === section && s.path[1] === i)
      return (own.length === 0 ? [undefined] : own).map(step => [i, step] as const)
    })
    for (const [i, step] of found) {
      if (step && (!step.enabled || (step.within && !isSound(step.within.route, problems)))) continue
      const frame = step?.within?.frame ?? input.value?.[section]?.[i]
      const from = step && input.froms.get(step)
      const flow: FlowStep = {
        kind,
        type: step?.type ?? '',
        name: (step && input.names.get(step)) ?? `${section}[${i}]`,
        plugin: step?.plugin ?? {},
        // A misspelled `when` makes a step unconditional: nothing is known behind it.
        config: step && isSound(step, problems) ? (isRoute(step) ? withoutSteps(step.config) : step.config) : undefined,
        ...(step?.within && { branch: branchOf(step.within, input.names) }),
        foreign: step === undefined || input.foreign.has(step.plugin),
        ...(typeof frame?.when === 'string' && { when: frame.when }),
        ...(typeof frame?.keyed_by === 'string' && { keyedBy: frame.keyed_by }),
        ...(from && { from }),
        ...(input.headers &&
          step?.type === 'file' &&
          kind === 'source' && { samples: (await import('./header.ts')).headerType(step.config) }),
        ...(input.base !== undefined &&
          step?.node.entries.has('samples') && { samples: (await import('./samples.ts')).sampleType(step, input.base, problems) }),
      }
      if (step) stepOf.set(flow, step)
      all.push(flow)
    }
  }
  const flow = await flowOf(all)
  checkFlow(flow, stepOf, problems)
  return flow
}

/** The settings of the step can be read. The steps in its branches may have problems of their own. */
function isSound(step: CheckedStep, problems: Problems): boolean {
  if (!step.valid) return false
  if (!isRoute(step)) return !problems.hasBelow(step.path)
  return [...step.node.entries.keys()].every(
    key => key === step.type || (COMMON_KEYS.transform.includes(key) && !problems.hasBelow([...step.path, key])),
  )
}

function checkFlow({ uses }: Flow, stepOf: ReadonlyMap<FlowStep, CheckedStep>, problems: Problems): void {
  /** A field that may be missing is reported once. */
  const reported = new Set<string>()
  // What is written in a place with another problem is not checked.
  const sound = uses.flatMap(use => {
    const step = stepOf.get(use.step)
    const place = step && placeOf(use, step)
    return place && !problems.hasBelow(place.path) ? [{ use, place }] : []
  })
  for (const { use, place } of sound) {
    // Only the warning about a field as a condition is there already. A field that is not there is an error of its own.
    const absent = use.inferred.reads.some(r => !['known', 'unknown'].includes(readPath(r.root, r.names).how))
    if (use.condition && isPlainPath(use.text) && (absent || use.inferred.type.kind !== 'any'))
      problems.withdraw('CONFIG_EXPRESSION_TYPE', place.span(0, use.text.length))
    for (const read of use.inferred.reads) checkRead(read, use, place, reported, problems)
    for (const p of use.inferred.problems)
      problems.add('CONFIG_EXPRESSION_TYPE', place.span(p.start, p.end), place.path, p.message, p.suggestion)
    const { type } = use.inferred
    if (use.condition && isNever(type))
      problems.add(
        'CONFIG_EXPRESSION_TYPE',
        place.span(0, use.text.length),
        place.path,
        `a condition must be true or false; ${use.text} is ${typeText(type)}`,
        example(use.text, type),
      )
  }
}

const isNever = (type: RecordType): boolean =>
  type.kind === 'list' || type.kind === 'object' || (type.kind === 'scalar' && !type.of.includes('boolean'))

function example(text: string, type: RecordType): string | undefined {
  if (!isPlainPath(text)) return undefined
  return isOnly(type, 'number') ? `${text} > 0.0` : isOnly(type, 'string') ? `${text} == "…"` : undefined
}

interface UseLocation {
  readonly path: Path
  /** Position of a part of the text. */
  span(start: number, end: number): Span
  /** Another setting of the map has this text as a plain scalar. */
  unquoted(text: string): boolean
}

function placeOf({ key, path: setting, offset = 0 }: FlowUse, step: CheckedStep): UseLocation {
  const found = key === undefined ? find(step.tree, setting) : find(step.node, [key])
  const node = found.node.kind === 'scalar' && !found.partial ? found.node : undefined
  const whole = nearby(found.partial ? step.key : valueSpan(found))
  return {
    path: [...step.path, ...(key === undefined ? [step.type, ...setting] : [key])],
    span: (start, end) => (node && spanInScalar(node, offset + start, offset + end)) ?? whole,
    unquoted(text) {
      const map = find(step.tree, setting.slice(0, -1)).node
      return (
        map.kind === 'map' &&
        [...map.entries.values()].some(({ value }) => value.kind === 'scalar' && value.value === text && value.style === 'plain')
      )
    },
  }
}

function checkRead({ root, names, ranges, safe }: Read, use: FlowUse, place: UseLocation, reported: Set<string>, problems: Problems): void {
  const found = readPath(root, names)
  if (found.how === 'known') return
  if (found.how === 'unknown' && !found.near && textMeant(use, place)) return warnText(use, place, problems)
  const at = found.how === 'unknown' ? (found.near?.at ?? -1) : found.at
  if (at < 0) return
  const name = names[at]
  const span = place.span(ranges[at].start, ranges[at].end)
  const path = names.slice(0, at + 1).join('.')
  // A setting is replaced as a whole.
  const fixed = (near: string | undefined): string | undefined =>
    near && (use.kind === 'field' ? [...names.slice(0, at), near, ...names.slice(at + 1)].join('.') : near)
  const whole = use.kind === 'field' ? place.span(0, use.text.length) : span
  if (found.how === 'maybe') {
    const id = `${use.by} ${path}`
    if (safe || use.safe || use.selective || reported.has(id)) return
    reported.add(id)
    return problems.warn(
      'CONFIG_NO_FIELD',
      whole,
      place.path,
      `${path} may be missing from the records of ${use.by}, and a record without it is dead-lettered`,
      use.kind === 'expression' ? `value.?${path.replaceAll('.', '.?')}.orValue(…)` : undefined,
    )
  }
  if (found.how === 'unknown') {
    const near = close(name, found.near!.owner.fields.keys())
    if (near === undefined) return textMeant(use, place) ? warnText(use, place, problems) : undefined
    return problems.warn(
      'CONFIG_NO_FIELD',
      whole,
      place.path,
      `${path} is not declared for the records of ${use.by}, but ${near} is`,
      fixed(near),
    )
  }
  const { owner } = found
  const above = names.slice(0, at).join('.')
  const subject = above === '' ? (root === use.record && !use.of ? `the records of ${use.by}` : 'these elements') : above
  if (owner.kind !== 'object') {
    const message = `${subject} ${above === '' ? 'are' : 'is'} ${typeText(owner)}, which has no field ${name}`
    return problems.add('CONFIG_NO_FIELD', whole, place.path, message)
  }
  const all = [...owner.fields.keys()]
  const gone = owner.removed?.has(name) === true
  const list = all.length === 0 ? 'no fields' : all.slice(0, LISTED).join(', ') + (all.length > LISTED ? ', …' : '')
  const message = `${subject} ${above === '' ? 'have' : 'has'} no field ${name}; ${gone ? 'an earlier step removes it' : `${above === '' ? 'they have' : 'it has'} ${list}`}${quoted(use, span)}`
  const suggestion = gone ? undefined : fixed(suggest(name, all))
  // A test for a field is always false; a sink writes NULL.
  if (safe && use.kind === 'expression')
    problems.warn('CONFIG_NO_FIELD', whole, place.path, `${message}; the test never succeeds`, suggestion)
  else problems.add('CONFIG_NO_FIELD', whole, place.path, message, suggestion)
}

/** A quoted name among unquoted expressions: `{ price: p, venue: "binance" }`. In a map with one field, it is unclear. */
function textMeant(use: FlowUse, place: UseLocation): boolean {
  const setting = use.path.at(-1)
  if (use.step.type !== 'map' || use.step.foreign || use.path[0] !== 'fields' || typeof setting !== 'string') return false
  if (!/^[A-Za-z]\w*$/.test(use.text) || use.text === setting || quoted(use, place.span(0, use.text.length)) === '') return false
  const others = Object.values((use.step.config?.fields ?? {}) as object).filter(v => v !== use.text && typeof v === 'string')
  return others.length === 0 || others.some(text => place.unquoted(text as string))
}

function warnText(use: FlowUse, place: UseLocation, problems: Problems): void {
  const message = `this reads the field ${use.text}: YAML removes the quotes. If the field is meant, write it without quotes`
  problems.warn('CONFIG_NO_FIELD', place.span(0, use.text.length), place.path, message, `'"${use.text}"' for the text`)
}

/** `venue: "binance"`: YAML removes the quotes. */
function quoted(use: FlowUse, { source, start, end }: Span): string {
  const around = source.text.slice(start - 1, end + 1)
  if (use.kind !== 'expression' || !/^(["']).*\1$/s.test(around) || !isPlainPath(use.text)) return ''
  return `. YAML removes these quotes: for a text, write '"${use.text}"'`
}

/** A declared name that the written one misspells; `prices` is not `price` misspelled, and `data` is not `date`. */
function close(name: string, declared: Iterable<string>): string | undefined {
  const letters = (s: string): string => s.split('').sort().join('')
  return [...declared].find(d => {
    if (d.length < 4 || name.length < 3 || d === name || d.includes(name) || name.includes(d)) return false
    const changed = distance(d, name)
    return d.length >= 8 ? changed <= 2 : changed === 1 && (d.length >= 6 || d.length !== name.length || letters(d) === letters(name))
  })
}
