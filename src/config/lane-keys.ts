/**
 * Checks whether all records that a step groups are on one lane. State is per lane: if records of one key are spread over several
 * lanes, each lane computes its own windows, duplicates and rates. `validate` rejects files that spread keys, and warns if the file
 * does not show it; `explain` prints the condition; the runtime monitors it (`runtime/spread.ts`).
 */
import { loadedLanguage, loadLanguage } from '../expressions/on-demand.ts'
import { isPlainPath } from '../expressions/plain-path.ts'
import type { Pipeline, Step } from './model.ts'
import { walk } from './route.ts'
import { groupingOf, lanesOf } from './traits.ts'

/** A step whose records may be spread over lanes. */
export interface LaneKeyFinding {
  /** Name of the step. */
  readonly step: string
  /** Grouping expression of the step, on its input. */
  readonly by: string
  /** `spread`: the file shows it. `unknown`: the file does not show it. */
  readonly verdict: 'spread' | 'unknown'
  /** A clause with the reason. */
  readonly reason: string
}

type Parts = readonly string[] | undefined

/** How the records at a point of the chain derive from the records of the source. */
interface Place {
  /** Origin of a path of the value, or of `$meta.…`. */
  readonly origin: (path: string) => Parts
  /** Origin of the message key. */
  readonly key: Parts
}

const MESSAGE_KEY = 'meta.key'

/** A `repartition` step as YAML. */
export const repartitionBy = (by: string): string => `- repartition: { by: ${plainYaml(by)} }`
/** An expression as a value in a flow map. */
export const plainYaml = (text: string): string => (/^[\w.]+( [\w.+*/-]+)*$/.test(text) ? text : JSON.stringify(text))

type Wiring = Pick<Pipeline, 'sources' | 'transforms'>

export function laneKeyFindings({ sources, transforms }: Wiring): LaneKeyFinding[] {
  const findings: LaneKeyFinding[] = []
  /** The last `repartition` step, which is in no branch. */
  let together: { readonly step: Step; readonly parts: Parts } | undefined
  walk(transforms, READ, {
    step(step, place) {
      if (step.plugin.link) {
        // After it, origins refer to the records that it writes.
        const parts = partsAt((step.config as { by: string }).by, READ)
        together = { step, parts }
        return { origin: READ.origin, key: parts }
      }
      const by = groupingOf(step)
      if (by !== undefined) {
        const check = (grouping: Parts): ReturnType<typeof judge> =>
          together ? judgeBehind(together.step, together.parts, grouping) : judge(sources, step, grouping)
        const found = check(partsAt(by, place))
        if (found) findings.push({ step: step.name, by, ...found })
        const right = rightKeyOf(step)
        const spread = found || right === undefined ? undefined : check(partsAt(right, place))
        // The runtime monitors one expression for all records, which this is not.
        if (spread?.verdict === 'spread') findings.push({ step: step.name, by: right!, ...spread })
      }
      return behind(step, place)
    },
    join: arrivals => (arrivals.length === 0 ? READ : arrivals.reduce(either)),
  })
  return findings
}

/** The key of the records of the right side of a join, if it is another one. */
const rightKeyOf = ({ type, foreign, config }: Step): string | undefined =>
  type === 'join' && !foreign ? (config as { right_key?: string }).right_key : undefined

/** Steps whose expressions show how their results derive from their input. */
const MADE_BY_EXPRESSIONS = ['map', 'rekey', 'group', 'repartition']

/** Loads the language if `laneKeyFindings` needs it: for expressions that are not plain paths. */
export async function loadLanguageForFindings({ sources, transforms }: Wiring): Promise<void> {
  const texts = [...sources.map(s => s.keyedBy), ...transforms.flatMap(step => [groupingOf(step), rightKeyOf(step)])]
  if (transforms.some(step => MADE_BY_EXPRESSIONS.includes(step.type)) || texts.some(text => text !== undefined && !isPlainPath(text)))
    await loadLanguage()
}

/** Also loads the language if `build` needs it: for conditions, and for the runtime check of lane keys. */
export async function loadLanguageFor(pipeline: Wiring & Pick<Pipeline, 'sinks'>): Promise<void> {
  await loadLanguageForFindings(pipeline)
  const { transforms, sinks } = pipeline
  if ([...transforms, ...sinks].some(step => step.when !== undefined) || laneKeyFindings(pipeline).length > 0) await loadLanguage()
}

function keyParts(text: string, origin: (path: string) => Parts): Parts {
  return isPlainPath(text) ? origin(text) : loadedLanguage().keyParts(text, origin)
}

const isWithin = (parts: readonly string[], of: readonly string[]): boolean => parts.every(p => of.includes(p))

function judge(sources: Wiring['sources'], step: Step, grouping: Parts): Pick<LaneKeyFinding, 'verdict' | 'reason'> | undefined {
  const { left, right } = (step.type === 'join' && !step.foreign ? step.config : {}) as { left?: string; right?: string }
  // They may be kept together by key, but each is on lanes of its own.
  if (left !== undefined)
    return { verdict: 'spread', reason: `the records of ${left} and ${right} are on separate lanes, and would never meet` }
  // A condition may select the records of one source.
  if (sources.length > 1 && step.when === undefined && step.branch === undefined) {
    if (grouping?.length === 0)
      return { verdict: 'spread', reason: `the records of ${list(sources)} are on separate lanes, and all of them belong to one group` }
    if (!sources.every(s => s.keyedBy !== undefined && holds(s, grouping) !== 'spread'))
      return {
        verdict: 'unknown',
        reason: `the sources ${list(sources)} have separate lanes, and a key may be in several of them`,
      }
  }
  for (const source of sources) {
    if ((lanesOf(source) ?? 'one') === 'one') continue
    const held = holds(source, grouping)
    if (held === 'together') continue
    if (held === 'spread') return { verdict: 'spread', reason: `${source.name} keeps records together by ${source.keyedBy} (keyed_by)` }
    return { verdict: 'unknown', reason: unknown(source) }
  }
  return undefined
}

function judgeBehind(link: Step, key: Parts, grouping: Parts): Pick<LaneKeyFinding, 'verdict' | 'reason'> | undefined {
  const by = (link.config as { by: string }).by
  if (key === undefined || grouping === undefined)
    return {
      verdict: 'unknown',
      reason: `${link.name} keeps records together by ${by}, and the file does not show how the two keys are related`,
    }
  return isWithin(key, grouping) ? undefined : { verdict: 'spread', reason: `${link.name} keeps records together by ${by}` }
}

/** Whether records with the same `grouping` are on one lane of the source. */
function holds(source: Step, grouping: Parts): 'together' | 'spread' | 'unknown' {
  if (source.keyedBy !== undefined) {
    const declared = keyParts(source.keyedBy, READ.origin)
    // Changes made by a plugin are unknown: the declaration is trusted.
    if (grouping === undefined || declared === undefined) return 'together'
    if (isWithin(declared, grouping)) return 'together'
  } else if (grouping === undefined) return 'unknown'
  if (grouping.includes('meta.partition') && grouping.includes('meta.topic')) return 'together'
  if (lanesOf(source) === 'by_key' && grouping.includes(MESSAGE_KEY) && (topicsOf(source).length < 2 || grouping.includes('meta.topic')))
    return 'together'
  return source.keyedBy === undefined ? 'unknown' : 'spread'
}

function unknown(source: Step): string {
  const topics = topicsOf(source)
  if (lanesOf(source) !== 'by_key') return `${source.name} can have several lanes, and a key may be on several of them`
  if (topics.length > 1) return `${source.name} reads several topics (${topics.join(', ')}), and a key may be in several of them`
  return `${source.name} keeps records with the same record key on one lane (a partition), and the file does not show what the record key is`
}

const topicsOf = ({ config }: Step): readonly string[] => ((config ?? {}) as { topics?: readonly string[] }).topics ?? []
const list = (sources: readonly Step[]): string => sources.map(s => s.name).join(', ')

const READ: Place = {
  origin: path => [path.startsWith('$meta') ? path.slice(1) : path === '' ? 'value' : `value.${path}`],
  key: [MESSAGE_KEY],
}
/** Origin of values that a plugin computed: unknown. */
const NOTHING = (): Parts => undefined

function partsAt(text: string, { origin, key }: Place): Parts {
  return keyParts(text, path => (path === '$meta.key' ? key : origin(path)))
}

/** The origins after a step. */
function behind(step: Step, before: Place): Place {
  const after = made(step, before)
  // Messages for which `when` is false pass unchanged.
  return step.when === undefined ? after : either(after, before)
}

/** Only origins that are the same in both cases are known. */
function either(one: Place, other: Place): Place {
  if (one === other) return one
  const both = (a: Parts, b: Parts): Parts => (a !== undefined && b !== undefined && a.join() === b.join() ? a : undefined)
  return { origin: path => both(one.origin(path), other.origin(path)), key: both(one.key, other.key) }
}

function made(step: Step, before: Place): Place {
  const c = (step.config ?? {}) as Record<string, any>
  const of = (text: string): Parts => partsAt(text, before)
  const values = (origin: (path: string) => Parts, key: Parts = before.key): Place => ({
    key,
    // Only the value of the message changes.
    origin: path => (path.startsWith('$meta') ? before.origin(path) : origin(path)),
  })
  if (step.foreign) return { origin: NOTHING, key: undefined }
  switch (step.type) {
    case 'filter':
    case 'dedupe':
    case 'validate':
    case 'throttle':
    case 'revive':
    case 'route':
      return before
    case 'rekey':
      return { ...before, key: of(c.key as string) }
    case 'lookup':
    case 'lookup_file':
    case 'lookup_http':
    case 'lookup_redis':
    case 'sql':
    case 'join_latest':
      if (c.as === undefined) return values(NOTHING)
      return values(path => (isBelow(path, c.as as string) || path === '' ? undefined : before.origin(path)))
    case 'map':
      return values(mapped(c, before))
    case 'envelope': {
      const { data } = c.names as Record<string, string>
      if (c.unwrap) return values(path => before.origin(path === '' ? data : `${data}.${path}`))
      return values(path =>
        path === data ? before.origin('') : path.startsWith(`${data}.`) ? before.origin(path.slice(data.length + 1)) : undefined,
      )
    }
    case 'unnest':
      return values(kept(c.keep as string[] | undefined, before))
    case 'group': {
      const keep = kept(c.keep as string[] | undefined, before)
      const key = c.field === undefined ? of(c.key as string) : undefined
      return { ...values(path => (path === c.key_as ? key : keep(path))), key }
    }
    case 'join':
      return { origin: NOTHING, key: of((c.key as string | undefined) ?? MESSAGE_KEY) }
    case 'window': {
      const key = c.by === undefined ? before.key : of(c.by as string)
      return { origin: path => (path === 'key' ? key : undefined), key }
    }
    case 'bars': {
      const key = before.origin((c.fields as { symbol: string } | undefined)?.symbol ?? 'symbol')
      return { origin: path => (path === 'symbol' ? key : undefined), key }
    }
    default:
      return { origin: NOTHING, key: undefined }
  }
}

const isBelow = (path: string, of: string): boolean => path === of || path.startsWith(`${of}.`)

function kept(paths: readonly string[] = [], before: Place): (path: string) => Parts {
  const names = new Map(paths.map(p => [p.slice(p.lastIndexOf('.') + 1), p]))
  return path => {
    const name = [...names.keys()].find(n => isBelow(path, n))
    return name === undefined ? undefined : before.origin(names.get(name)! + path.slice(name.length))
  }
}

type Shape = { readonly [name: string]: string | Shape }

function mapped(c: Record<string, any>, before: Place): (path: string) => Parts {
  if (c.value !== undefined) {
    // An expression that is a path defines all paths below it.
    return path => (path === '' ? partsAt(c.value as string, before) : below(c.value as string, path, before))
  }
  const find = (fields: Shape, path: string): Parts | 'none' => {
    const names = path.split('.')
    const of = fields[names[0]]
    if (of === undefined || path === '') return 'none'
    if (typeof of !== 'string') return names.length === 1 ? undefined : find(of, names.slice(1).join('.'))
    return names.length === 1 ? partsAt(of, before) : below(of, names.slice(1).join('.'), before)
  }
  const dropped = (c.drop as string[] | undefined) ?? []
  return path => {
    const found = find((c.fields ?? {}) as Shape, path)
    if (found !== 'none') return found
    return c.keep && path !== '' && !dropped.some(d => isBelow(path, d)) ? before.origin(path) : undefined
  }
}

/** The origin of a path below an expression, if that is a plain path. */
const below = (text: string, path: string, before: Place): Parts =>
  /^[\w.]+$/.test(text) ? partsAt(`value.${text.replace(/^value\./, '')}.${path}`, before) : undefined
