/** Follows the types of records from the sources through the transforms to the sinks (docs/adr/0049-typed-flow.md). */
import type { SourcePlugin, TransformPlugin } from '../../contract/plugin.ts'
import { loadLanguage } from '../../expressions/on-demand.ts'
import { isPlainPath } from '../../expressions/plain-path.ts'
import { ANY, both, type Inferred, inferPath, objectOf, type RecordType, unionOf, union, withField } from '../../expressions/record-type.ts'
import { sinksOf, walk } from '../route.ts'
import type { Schema } from '../schema.ts'
import { schemaOfType, typeOfSchema } from './json-schema.ts'
import { sourceType, transformType } from './rules.ts'
import { type Use, usesOf } from './uses.ts'

export interface FlowStep {
  readonly kind: 'source' | 'transform' | 'sink'
  readonly type: string
  readonly name: string
  readonly plugin: any
  /** Undefined: the step has problems, so its settings are not read. */
  readonly config: any
  /** The plugin is not built in. */
  readonly foreign: boolean
  /** The branch that has the step, as in `Step`. */
  readonly branch?: string
  readonly when?: string
  readonly keyedBy?: string
  readonly from?: { readonly step: string; readonly port?: string }
  /** Type of the values in the file of `samples`. */
  readonly samples?: RecordType
}

/** A field that a step reads, or a condition. */
export interface FlowUse extends Use {
  readonly step: FlowStep
  /** Key of the frame that has the text, instead of a setting of the plugin. */
  readonly key?: 'when' | 'keyed_by'
  readonly record: RecordType
  /** Name of the step that emits the records. */
  readonly by: string
  /** The step receives only some records: a field that may be missing is not reported. */
  readonly selective: boolean
  readonly inferred: Inferred
}

export interface Edge {
  readonly from: string
  readonly to: string
  readonly type: RecordType
}

export interface Flow {
  readonly uses: readonly FlowUse[]
  readonly edges: readonly Edge[]
}

/** Records of one source, at a place of the chain. */
type Variants = ReadonlyMap<string, RecordType>

const merged = (variants: Variants): RecordType => unionOf([...variants.values()])

/** Transforms that emit the records that they receive. */
const PASSES = new Set(['filter', 'dedupe', 'throttle', 'rekey', 'repartition', 'validate', 'route'])

/** @param steps the enabled steps in order; a step without `plugin` could not be loaded */
export async function flowOf(steps: readonly FlowStep[]): Promise<Flow> {
  const inferred = await inference(steps)
  const typeOf = (text: string, record: RecordType): RecordType => inferred(text, record).type
  const uses: FlowUse[] = []
  const edges: Edge[] = []
  const read = (
    step: FlowStep,
    record: RecordType,
    by: string,
    selective: boolean,
    more: Omit<Use, 'path'> & { path?: Use['path']; key?: FlowUse['key'] },
  ): void => {
    const root = more.of ?? record
    const found = more.kind === 'field' ? inferPath(more.text, root) : inferred(more.text, root)
    uses.push({ path: [], ...more, step, record: root, by, selective, inferred: found })
  }
  const settings = (step: FlowStep, record: RecordType, by: string, selective: boolean): void => {
    if (step.when !== undefined) read(step, record, by, true, { text: step.when, kind: 'expression', key: 'when', condition: true })
    if (step.foreign || step.config === undefined) return
    for (const use of usesOf(step.kind, step.type, step.config, step.plugin.schema as Schema, record))
      read(step, record, by, selective || step.when !== undefined, use)
  }

  const first = new Map<string, RecordType>()
  const sources = steps.filter(s => s.kind === 'source')
  for (const step of sources) {
    const emitted = emits(step, typeOf)
    first.set(step.name, emitted)
    if (step.keyedBy !== undefined) read(step, emitted, step.name, false, { text: step.keyedBy, kind: 'expression', key: 'keyed_by' })
    if (step.type === 'generate' && typeof step.config?.key === 'string' && !step.foreign)
      read(step, emitted, step.name, false, { text: step.config.key, kind: 'field', path: ['key'], safe: true })
  }
  const ports = new Map<string, { readonly type: RecordType; readonly by: string; readonly from: string }>()
  const arrive = (step: FlowStep, { last, variants }: At): void => {
    const type = merged(variants)
    for (const [from, own] of last.length > 1 ? last : last.map(([name]) => [name, type] as const))
      edges.push({ from, to: step.name, type: own })
  }
  const end = walk<FlowStep, At>(
    steps.filter(s => s.kind === 'transform'),
    { variants: first, by: sources.map(s => s.name).join(' and '), selective: false, last: [...first] },
    {
      step(step, at) {
        const record = merged(at.variants)
        arrive(step, at)
        settings(step, record, at.by, at.selective)
        for (const port of portsOf(step)) {
          const id = `${step.name}.${port}`
          ports.set(id, { type: step.type === 'validate' && !step.foreign ? record : ANY, by: at.by, from: id })
        }
        const variants = through(step, at.variants, typeOf)
        const changed = [...variants].some(([name, type]) => type !== at.variants.get(name)) || variants.size !== at.variants.size
        return {
          variants,
          by: changed && !(PASSES.has(step.type) && !step.foreign) ? step.name : at.by,
          selective: at.selective || step.type === 'filter',
          last: [[step.name, merged(variants)]],
        }
      },
      // A branch has some of the messages.
      enter: (_route, _branch, at) => ({ ...at, selective: true }),
      end(route, branch, { variants, by, last }) {
        for (const sink of sinksOf(branch)) {
          const id = `${route.name}.${sink}`
          const [from, before] = [last.map(([name]) => name).join(' and '), ports.get(id)]
          const mine = { type: merged(variants), by, from }
          const isFirst = before === undefined || before.from === id
          ports.set(
            id,
            isFirst ? mine : { type: union(before.type, mine.type), by: listed(before.by, by), from: listed(before.from, from) },
          )
        }
      },
      join: joinBranches,
    },
  )
  for (const step of steps.filter(s => s.kind === 'sink')) {
    if (step.from === undefined) {
      arrive(step, end)
      settings(step, merged(end.variants), end.by, end.selective)
      continue
    }
    const from = `${step.from.step}.${step.from.port}`
    const port = ports.get(from) ?? { type: ANY, by: end.by, from }
    edges.push({ from: port.from, to: step.name, type: port.type })
    settings(step, port.type, port.by, true)
  }
  return { uses, edges }
}

/** What is known at a place of the chain. */
interface At {
  readonly variants: Variants
  /** Name of the step that made the records. */
  readonly by: string
  /** Only some records arrive. */
  readonly selective: boolean
  /** The last steps, with what they emit. */
  readonly last: readonly (readonly [name: string, type: RecordType])[]
}

const listed = (one: string, other: string): string => (one.split(' and ').includes(other) ? one : `${one} and ${other}`)

/** The records of any branch. A field that only some of them have may be missing. */
function joinBranches(arrivals: readonly At[], { selective: before }: At, { config }: FlowStep): At {
  const selective = before || config.on_unmatched !== 'pass'
  const [one, ...others] = arrivals
  if (one === undefined) return { variants: new Map(), by: '', selective, last: [] }
  const all = others.reduce((a, b): At => {
    const variants = new Map(a.variants)
    for (const [name, type] of b.variants) variants.set(name, variants.has(name) ? union(variants.get(name)!, type, 'maybe') : type)
    const known = new Set(a.last.map(([name]) => name))
    return { variants, by: listed(a.by, b.by), selective, last: [...a.last, ...b.last.filter(([name]) => !known.has(name))] }
  }, one)
  return { ...all, selective }
}

/** Loads the language only for expressions that are not plain paths. */
async function inference(steps: readonly FlowStep[]): Promise<typeof inferPath> {
  const texts = steps.flatMap(s => [s.when, s.keyedBy, ...(s.config === undefined || s.foreign ? [] : expressionsOf(s))])
  return texts.some(text => text !== undefined && !isPlainPath(text)) ? (await loadLanguage()).inferExpression : inferPath
}

const expressionsOf = ({ kind, type, config, plugin }: FlowStep): string[] =>
  usesOf(kind, type, config, plugin.schema as Schema, ANY).flatMap(use => (use.kind === 'expression' ? [use.text] : []))

function emits(step: FlowStep, typeOf: (text: string, record: RecordType) => RecordType): RecordType {
  if (step.config === undefined) return step.samples ?? ANY
  const own = step.foreign ? ANY : sourceType(step.type, step.config, typeOf)
  const declared = declaredType(step, undefined)
  return [own, declared ?? ANY, step.samples ?? ANY].reduce(both)
}

/** The type that the plugin declares; undefined: none. */
function declaredType({ plugin, config }: FlowStep, input: RecordType | undefined): RecordType | undefined {
  const { outputSchema } = plugin as SourcePlugin | TransformPlugin
  if (outputSchema === undefined) return undefined
  const schema: unknown = typeof outputSchema === 'function' ? outputSchema(config, (input && schemaOfType(input)) as object) : outputSchema
  return schema === undefined ? ANY : typeOfSchema(schema)
}

function portsOf({ plugin, config }: FlowStep): readonly string[] {
  return config === undefined ? [] : ((plugin as TransformPlugin).ports?.(config) ?? [])
}

/** The records after a step. */
function through(step: FlowStep, before: Variants, typeOf: (text: string, record: RecordType) => RecordType): Variants {
  const each = (change: (type: RecordType) => RecordType): Variants => new Map([...before].map(([name, type]) => [name, change(type)]))
  if (step.config === undefined) return PASSES.has(step.type) && !step.foreign ? before : each(() => ANY)
  // Records for which the condition is false pass unchanged.
  const orBefore = (made: RecordType, type: RecordType): RecordType => (step.when === undefined || made === type ? made : union(made, type))
  if (step.type === 'join' && !step.foreign) return paired(step, before, orBefore)
  if (step.type === 'join_latest' && !step.foreign) return joined(step, before, typeOf, orBefore)
  return each(type => {
    const declared = declaredType(step, type)
    const made = declared ?? (step.foreign ? ANY : (transformType(step.type, step.config, type, typeOf) ?? type))
    return orBefore(made, type)
  })
}

/** Pairs of records of two sources; records of others pass. */
function paired(
  { config: { left, right, type } }: FlowStep,
  before: Variants,
  orBefore: (made: RecordType, type: RecordType) => RecordType,
): Variants {
  const one = (side: string, names: readonly string[]): RecordType => {
    const own = (left === undefined ? merged(before) : before.get(side)) ?? ANY
    return names.includes(type) ? union(own, { kind: 'scalar', of: ['null'] }) : own
  }
  const pair = objectOf([
    ['left', one(left, ['right', 'outer'])],
    ['right', one(right, ['left', 'outer'])],
  ])
  return new Map(
    [...before].map(([name, own]) => [name, left === undefined || name === left || name === right ? orBefore(pair, own) : own]),
  )
}

/** The records of the table end here; the others get a field with one of them. */
function joined(
  { config }: FlowStep,
  before: Variants,
  typeOf: (text: string, record: RecordType) => RecordType,
  orBefore: (made: RecordType, type: RecordType) => RecordType,
): Variants {
  const table = (config.source === undefined ? undefined : before.get(config.source as string)) ?? ANY
  const kept = config.value === undefined ? table : typeOf(config.value as string, table)
  const row = config.on_missing === 'pass' ? union(kept, { kind: 'scalar', of: ['null'] }) : kept
  const others = [...before].filter(([name]) => name !== config.source)
  return new Map(
    others.map(([name, type]) => [
      name,
      orBefore(withField(type.kind === 'object' ? type : objectOf([], true), [config.as], { type: row, presence: 'always' }), type),
    ]),
  )
}
