/** Processors of Benthos. */
import { addMapping, attempt, type Draft } from './draft.ts'
import { COMMON, short, type Part } from './foreign.ts'
import { bloblang, condition } from './mapping.ts'
import { render } from './render.ts'
import { isTemplate, onlyPart } from './template.ts'
import { type Tree, Untranslatable, walk } from './tree.ts'

/** What a branch of a switch has changed: the conditions of later branches must not read it. */
type Changed = Set<string> | 'all'

interface Scope {
  readonly when: string | undefined
  readonly reads: readonly string[]
  changed: Changed
}

export function processors(parts: readonly Part[], draft: Draft, scope: Scope = { when: undefined, reads: [], changed: new Set() }): void {
  for (const part of parts) {
    const type = part.keys().find(key => !COMMON.has(key))
    if (type === undefined) continue
    const what = short(type, (part.value as Record<string, unknown>)[type])
    attempt(draft.transforms, { line: part.lineOf(type), what }, () => {
      if (scope.when !== undefined && overlaps(scope.changed, scope.reads))
        throw new Untranslatable('the condition of its branch would read a field that a step before it has changed')
      if (!Object.hasOwn(PROCESSORS, type)) throw new Untranslatable(`there is no step for ${type}`)
      PROCESSORS[type](part, draft, scope, type)
    })
  }
}

const overlaps = (changed: Changed, reads: readonly string[]): boolean =>
  changed === 'all' ? reads.length > 0 : reads.some(r => [...changed].some(c => r === c || r.startsWith(`${c}.`) || c.startsWith(`${r}.`)))

type Process = (part: Part, draft: Draft, scope: Scope, type: string) => void

const mapping =
  (mutates: boolean): Process =>
  (part, draft, scope, type) => {
    const text = part.text(type) ?? ''
    const mapped = bloblang(text, mutates)
    addMapping(draft, mapped, part.textLine(type), `${type}: ${text}`, scope.when)
    if (!mapped.keeps) scope.changed = 'all'
    else if (scope.changed !== 'all') for (const name of mapped.made) scope.changed.add(name)
  }

const push = (draft: Draft, config: Readonly<Record<string, unknown>>, { when }: Scope, notes: Draft['notes'] = []): void =>
  void draft.transforms.push({ config: { ...config, ...(when !== undefined && { when }) }, notes })

const inline: Process = (part, draft, scope, type) => processors(part.part(type).elements(), draft, scope)

const PROCESSORS: Readonly<Record<string, Process>> = {
  mapping: mapping(false),
  bloblang: mapping(false),
  mutation: mapping(true),
  noop: () => {},
  log: () => {
    throw new Untranslatable('records are not logged; runner run --dry-run prints them')
  },
  metric: () => {
    throw new Untranslatable('there are no metrics of your own: /metrics has the counts of each step')
  },
  try: inline,
  for_each: inline,
  processors: inline,
  catch: () => {
    throw new Untranslatable('a record that fails leaves the steps at once and goes to the dlq, with the reason')
  },
  rate_limit: () => {
    throw new Untranslatable('a step that waits is not needed: a slow sink slows the sources. The step throttle drops records')
  },
  dedupe(part, draft, scope, type) {
    const settings = part.part(type)
    const key = settings.text('key') ?? ''
    if (!isTemplate(key, 'benthos')) throw new Untranslatable('the key is a constant')
    const tree = onlyPart(key, 'benthos')
    if (tree.kind === 'field') draft.sample.set(tree.path, 1)
    else draft.sample.read(nodes(tree))
    const cache = settings.text('cache') ?? ''
    settings.take('drop_on_err')
    settings.take('strategy')
    push(draft, { dedupe: { key: render(tree), ttl: '1h' } }, scope, [
      { line: settings.line, what: `cache: ${cache}`, reason: 'keys are kept in the checkpoint; ttl is how long, and 1h is a guess' },
      ...settings.rest(),
    ])
  },
  unarchive(part, _draft, _scope, type) {
    const format = part.part(type).text('format')
    if (format === 'lines') throw new Untranslatable('sources read a record per line already')
    throw new Untranslatable(
      format === 'json_array'
        ? 'the source http splits arrays by itself; unnest splits a list in a field'
        : `the format ${format} has no translation`,
    )
  },
  json_schema(part, draft, scope, type) {
    const settings = part.part(type)
    const schema = settings.text('schema')
    const path = settings.text('schema_path')
    if (schema !== undefined) {
      let parsed: unknown
      try {
        parsed = JSON.parse(schema)
      } catch {
        throw new Untranslatable('the schema is not JSON')
      }
      if (typeof parsed !== 'object' || parsed === null) throw new Untranslatable('the schema is not an object')
      const { properties } = parsed as { properties?: Record<string, { type?: unknown } | null> }
      for (const [name, declared] of Object.entries(properties ?? {})) {
        const of = declared ?? {}
        draft.sample.set(
          [name],
          of.type === 'number' || of.type === 'integer'
            ? 2
            : of.type === 'boolean'
              ? true
              : of.type === 'array'
                ? []
                : of.type === 'object'
                  ? {}
                  : 'text',
        )
      }
      return push(draft, { validate: { schema: parsed } }, scope)
    }
    throw new Untranslatable(`write: validate: { schema_file: ${path?.replace(/^file:\/\//, '') ?? 'schema.json'} }`)
  },
  jmespath: () => {
    throw new Untranslatable('JMESPath has no translation; write a map')
  },
  jq: () => {
    throw new Untranslatable('jq has no translation; write a map')
  },
  sync_response: () => {
    throw new Untranslatable('the source http answers after the record is written')
  },
  switch(part, draft, scope, type) {
    const earlier: string[] = []
    const known: string[] = [...scope.reads]
    for (const each of part.part(type).elements()) {
      const check = each.text('check') ?? ''
      attempt(draft.transforms, { line: each.line, what: `check: ${check}` }, () => {
        if (each.take('fallthrough') === true) throw new Untranslatable('fallthrough has no translation')
        const own = check === '' ? undefined : condition(check, 'bloblang')
        const reads = own ? nodes(own.tree).flatMap(n => (n.kind === 'field' ? [n.path.join('.')] : [])) : []
        if (own) draft.sample.condition(own.tree)
        // A branch before this one may have changed what its condition reads, or that of an earlier one.
        known.push(...reads)
        if (overlaps(scope.changed, known))
          throw new Untranslatable('a branch before it changes a field that the conditions read: write one map with ? :')
        const conditions = [
          ...(scope.when === undefined ? [] : [scope.when]),
          ...earlier.map(text => `!(${text})`),
          ...(own ? [own.text] : []),
        ]
        const when =
          conditions.length === 0
            ? undefined
            : conditions.length === 1
              ? conditions[0]
              : conditions.map(c => (c.startsWith('!(') ? c : `(${c})`)).join(' && ')
        const inner: Scope = { when, reads: [...known], changed: scope.changed }
        processors(each.parts('processors'), draft, inner)
        scope.changed = inner.changed
      })
      if (check !== '') {
        try {
          earlier.push(condition(check, 'bloblang').text)
        } catch (error) {
          if (!(error instanceof Untranslatable)) throw error
          // Without its condition, the other branches would take its records.
          throw new Untranslatable(`the condition ${check} has no translation, so neither have the branches after it`)
        }
      }
    }
  },
}

const nodes = (tree: Tree): Tree[] => {
  const all: Tree[] = []
  walk(tree, t => void all.push(t))
  return all
}
