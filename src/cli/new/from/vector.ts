/** Configs of Vector. */
import { addMapping, attempt, type Draft, type Step } from './draft.ts'
import { short, type Note, type Part } from './foreign.ts'
import { condition, isParsedMessage, vrl } from './mapping.ts'
import { Parser } from './parse.ts'
import { render } from './render.ts'
import { type Tree, Untranslatable } from './tree.ts'
import { sinks, sources } from './vector-ends.ts'

export const isVector = (root: Part): boolean =>
  root.has('sources') &&
  root.has('sinks') &&
  typeof root.value === 'object' &&
  !Array.isArray((root.value as { sources?: unknown }).sources)

/** The records that a component passes on. */
interface Stream {
  /** Sources that it comes from. */
  readonly sources: ReadonlySet<string>
  /** Branches of `exclusive_route`, by their step. */
  readonly branches: ReadonlyMap<string, string>
  /** A condition for it; undefined: all records. */
  readonly when: string | undefined
  /** Transforms that it has passed. */
  readonly after: readonly string[]
}

const LIMITS = 'has no translation: write the records to a topic, and read it with a second pipeline'

export function fromVector(root: Part, draft: Draft): void {
  const streams = new Map<string, Stream>()
  const [from, through, to] = ['sources', 'transforms', 'sinks'].map(key => root.part(key))
  const ids = from.keys()
  const first = through.keys().map(id => through.part(id))
  draft.isText = !ids.some(id => isJson(from.part(id))) && !first.some(part => parsesMessage(part.text('source')))
  for (const id of ids) {
    const part = from.part(id)
    const type = part.text('type') ?? ''
    streams.set(id, {
      sources: new Set([id]),
      branches: new Map(),
      when: ids.length > 1 ? `meta.source == ${JSON.stringify(stepName(id))}` : undefined,
      after: [],
    })
    if (!Object.hasOwn(sources, type)) {
      draft.sources.push({ notes: [{ line: part.line, what: `${id}: ${type}`, reason: 'there is no such source' }] })
      continue
    }
    const notes: Note[] = []
    part.take('acknowledgements')
    notes.push(...codecNotes(part, 'decoding', 'codec', DECODED, 'sources read JSON or text'))
    notes.push(...codecNotes(part, 'framing', 'method', FRAMED, 'a record is a line'))
    const config = sources[type](part, draft, notes)
    draft.sources.push({ config: config && { name: stepName(id), ...config }, notes: [...notes, ...part.rest()] })
  }
  // In Vector, text is in a field of the record.
  if (draft.isText && draft.sources.some(s => s.config)) {
    draft.transforms.push({ config: { map: { fields: { message: 'value' } } }, notes: [] })
  }
  const done: Done[] = []
  for (const id of sorted(through)) transform(id, through.part(id), streams, done, draft, ids.length)
  for (const id of to.keys()) sink(id, to.part(id), streams, done, draft, ids.length)
  for (const key of ['data_dir', 'api', 'acknowledgements', 'schema']) root.take(key)
  draft.notes.push(
    ...root.rest({
      enrichment_tables: 'has no translation: see the step lookup',
      tests: 'tests of Vector have no translation: see the test that is created beside the file',
      secret: 'has no translation: secrets come from variables and files',
    }),
  )
}

export const stepName = (id: string): string => id.replaceAll(/[^A-Za-z0-9_-]/g, '_')

const DECODED = ['json', 'native_json', 'bytes']
const ENCODED = ['json', 'native_json', 'text', 'raw_message']
const FRAMED = ['newline_delimited', 'bytes']

/** What a codec does beside those that the runner has anyway. */
function codecNotes(part: Part, key: string, name: string, same: readonly string[], reason: string): Note[] {
  const inner = part.part(key)
  const value = inner.text(name)
  return [
    ...(value !== undefined && !same.includes(value) ? [{ line: part.lineOf(key), what: `${name}: ${value}`, reason }] : []),
    ...inner.rest(),
  ]
}

const isJson = (part: Part): boolean =>
  ['json', 'native_json'].includes(String(part.part('decoding').take('codec'))) ||
  part.take('type') === 'demo_logs' ||
  part.take('encoding') === 'json'

/** `. = parse_json!(.message)`. */
function parsesMessage(text: string | undefined): boolean {
  const found = /^\s*\.\s*(?:\|?=)\s*(.+)$/m.exec(text ?? '')?.[1]
  try {
    return found !== undefined && isParsedMessage(new Parser(found, 'vrl').expression())
  } catch {
    return false
  }
}

/** Each after what it reads. */
function sorted(part: Part): string[] {
  const all = part.keys()
  const done: string[] = []
  const visit = (id: string, path: readonly string[]): void => {
    if (done.includes(id) || path.includes(id)) return
    for (const input of part.part(id).texts('inputs')) {
      const owner = all.find(other => input === other || input.startsWith(`${other}.`))
      if (owner !== undefined) visit(owner, [...path, id])
    }
    done.push(id)
  }
  for (const id of all) visit(id, [])
  return done
}

interface Done extends Stream {
  readonly id: string
}

/** The stream that a component reads. @throws {Untranslatable} where the steps before it do not form one chain */
function inputOf(part: Part, streams: ReadonlyMap<string, Stream>, done: readonly Done[], all: number): Stream {
  const names = part
    .texts('inputs')
    .flatMap(name => (name.includes('*') ? [...streams.keys()].filter(id => id.startsWith(name.split('*')[0])) : [name]))
  const inputs = names.map(name => {
    const found = streams.get(name)
    if (!found) throw new Untranslatable(`its input ${name} has no translation`)
    return found
  })
  if (inputs.length === 0) throw new Untranslatable('it has no inputs')
  const merged: Stream =
    inputs.length === 1
      ? inputs[0]
      : {
          sources: new Set(inputs.flatMap(i => [...i.sources])),
          branches: inputs.every(i => i.branches.size === 0)
            ? new Map()
            : new Map([...inputs[0].branches].filter(([step, branch]) => inputs.every(i => i.branches.get(step) === branch))),
          when:
            inputs.some(i => i.when === undefined) ||
            (inputs.every(i => i.after.length === 0 && i.branches.size === 0) && inputs.length === all)
              ? undefined
              : inputs.map(i => `(${i.when})`).join(' || '),
          after: [...new Set(inputs.flatMap(i => i.after))],
        }
  for (const other of done)
    if (!merged.after.includes(other.id) && !apart(other, merged))
      throw new Untranslatable(`it reads the records before the step ${other.id}, and steps form one chain here; ${LIMITS}`)
  return merged
}

/** No record is in both. */
const apart = (a: Stream, b: Stream): boolean =>
  ![...a.sources].some(s => b.sources.has(s)) ||
  [...a.branches].some(([step, branch]) => b.branches.has(step) && b.branches.get(step) !== branch)

function transform(id: string, part: Part, streams: Map<string, Stream>, done: Done[], draft: Draft, all: number): void {
  const type = part.text('type') ?? ''
  attempt(draft.transforms, { line: part.line, what: `${id}: ${type}` }, () => {
    const input = inputOf(part, streams, done, all)
    if (type === 'route' || type === 'exclusive_route') return route(id, type, part, input, streams, draft)
    if (!Object.hasOwn(TRANSFORMS, type)) {
      // What comes after it reads its input.
      streams.set(id, input)
      throw new Untranslatable(`there is no step for ${type}`)
    }
    const output = { ...input, after: [...input.after, id] }
    streams.set(id, output)
    const at = draft.transforms.length
    try {
      TRANSFORMS[type](part, draft, input.when)
    } finally {
      if (draft.transforms.length > at) done.push({ ...output, id })
    }
    const rest = part.rest()
    if (rest.length > 0) draft.transforms.push({ notes: rest })
  })
}

function route(id: string, type: string, part: Part, input: Stream, streams: Map<string, Stream>, draft: Draft): void {
  const routes =
    type === 'route'
      ? part
          .part('route')
          .keys()
          .map(name => [name, conditionOf(part.part('route'), name)] as const)
      : part.parts('routes').map(each => [each.text('name') ?? '', conditionOf(each, 'condition')] as const)
  const earlier: string[] = []
  const add = (name: string, own: string | undefined, exclusive: boolean): void => {
    const parts = [
      ...(input.when === undefined ? [] : [input.when]),
      ...(exclusive ? earlier.map(e => `!(${e})`) : []),
      ...(own === undefined ? [] : [own]),
    ]
    streams.set(`${id}.${name}`, {
      ...input,
      // Records of a `route` may be in several branches.
      branches: exclusive ? new Map([...input.branches, [id, name]]) : input.branches,
      when: parts.length === 1 ? parts[0] : parts.map(p => (p.startsWith('!(') ? p : `(${p})`)).join(' && '),
    })
  }
  for (const [name, found] of routes) {
    draft.sample.condition(found.tree)
    add(name, found.text, type === 'exclusive_route')
    earlier.push(found.text)
  }
  add('_unmatched', undefined, true)
  if (type === 'route') streams.set(`${id}._unmatched`, { ...streams.get(`${id}._unmatched`)!, branches: input.branches })
  part.take('reroute_unmatched')
}

/** As text, or as `{type: vrl, source}`. */
function conditionOf(part: Part, key: string): { text: string; tree: Tree } {
  const inner = part.part(key)
  const text = typeof inner.value === 'string' ? inner.value : (inner.text('source') ?? '')
  const type = typeof inner.value === 'string' ? 'vrl' : (inner.text('type') ?? 'vrl')
  if (type !== 'vrl') throw new Untranslatable(`a condition of type ${type} has no translation`)
  return condition(text, 'vrl')
}

const push = (draft: Draft, config: Readonly<Record<string, unknown>>, when: string | undefined, notes: Note[] = []): void =>
  void draft.transforms.push({ config: { ...config, ...(when !== undefined && { when }) }, notes })

const TRANSFORMS: Readonly<Record<string, (part: Part, draft: Draft, when: string | undefined) => void>> = {
  remap(part, draft, when) {
    const text = part.text('source') ?? ''
    const file = part.text('file')
    if (file !== undefined) throw new Untranslatable(`the program in ${file} is in another file: insert it as source`)
    for (const key of ['drop_on_error', 'drop_on_abort', 'reroute_dropped']) part.take(key)
    addMapping(draft, vrl(text), part.textLine('source'), `source: ${text}`, when)
  },
  filter(part, draft, when) {
    const found = conditionOf(part, 'condition')
    draft.sample.condition(found.tree)
    push(draft, { filter: found.text }, when)
  },
  dedupe(part, draft, when) {
    const fields = part.part('fields').texts('match')
    if (fields.length === 0) throw new Untranslatable('without fields.match it compares whole records; name the fields')
    for (const field of fields) draft.sample.set(field.replace(/^\./, '').split('.'), 1)
    const events = Number(part.part('cache').take('num_events') ?? 5000)
    const keys = fields.map(field => render({ kind: 'field', path: field.replace(/^\./, '').split('.') }))
    push(draft, { dedupe: { key: keys.length === 1 ? keys[0] : `[${keys.join(', ')}]`, ttl: '1h', max_keys: events } }, when, [
      { line: part.line, what: 'cache', reason: 'keys are kept in the checkpoint; ttl is how long, and 1h is a guess' },
    ])
  },
  sample(part) {
    throw new Untranslatable(
      `a share of 1 in ${part.text('rate') ?? '?'} has no step: the same records must pass in a replay. With numbers as ids, write: filter: id % ${part.text('rate') ?? 10} == 0`,
    )
  },
  throttle(part, draft, when) {
    const seconds = Number(part.take('window_secs') ?? 1)
    const key = part.text('key_field')
    const field = key?.replace(/^\{\{\s*\.?|\s*\}\}$/g, '')
    if (field !== undefined) draft.sample.set(field.split('.'), 'key')
    push(
      draft,
      {
        throttle: {
          interval: `${seconds}s`,
          max: Number(part.take('threshold') ?? 1),
          ...(field !== undefined && { key: render({ kind: 'field', path: field.split('.') }) }),
        },
      },
      when,
      [
        {
          line: part.line,
          what: 'threshold',
          reason: 'intervals begin at multiples of the event time, and the key is that of the record unless key is set',
        },
      ],
    )
  },
}

const REST = {
  batch: 'has no translation: sinks form batches by themselves',
  buffer: 'is not needed: a slow sink slows the sources, and positions are committed after the sinks have written',
}

function sink(id: string, part: Part, streams: ReadonlyMap<string, Stream>, done: readonly Done[], draft: Draft, all: number): void {
  const type = part.text('type') ?? ''
  const dropped = part.texts('inputs').length > 0 && part.texts('inputs').every(i => i.endsWith('.dropped'))
  attempt(draft.sinks, { line: part.line, what: short(id, type).replaceAll('"', '') }, () => {
    if (!dropped)
      for (const name of part.texts('inputs'))
        if (name.endsWith('.dropped')) throw new Untranslatable('records that fail go to the dlq only')
    const stream = dropped ? undefined : inputOf(part, streams, done, all)
    if (!Object.hasOwn(sinks, type))
      throw new Untranslatable(type === 'blackhole' ? 'no sink is needed for what is dropped' : 'there is no such sink')
    const notes: Note[] = []
    for (const key of ['healthcheck', 'acknowledgements']) part.take(key)
    const config = sinks[type](part, draft, notes)
    notes.push(...codecNotes(part, 'encoding', 'codec', ENCODED, 'sinks write JSON'))
    notes.push(...codecNotes(part, 'framing', 'method', FRAMED, 'a record is a line'))
    notes.push(...part.part('request').rest({ headers: 'has no translation: write headers into the sink, and secrets into variables' }))
    const step: Step = {
      config: config && { ...(dropped ? {} : { name: stepName(id) }), ...config, ...(stream?.when !== undefined && { when: stream.when }) },
      notes: [...notes, ...part.rest(REST)],
    }
    if (dropped && config) draft.dlq = step
    else draft.sinks.push(step)
  })
}
