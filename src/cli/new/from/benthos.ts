/** Configs of Benthos, Bento and Redpanda Connect. */
import { type Draft, attempt } from './draft.ts'
import { COMMON, short, type Note, type Part } from './foreign.ts'
import { condition } from './mapping.ts'
import { processors } from './benthos-processors.ts'
import { inputs, outputs } from './benthos-ends.ts'
import { Untranslatable } from './tree.ts'

export const isBenthos = (root: Part): boolean => root.has('input') || root.has('output') || (root.has('pipeline') && !root.has('sources'))

export function fromBenthos(root: Part, draft: Draft): void {
  const input = root.part('input')
  addInput(input, draft)
  const pipeline = root.part('pipeline')
  pipeline.take('threads')
  processors(pipeline.parts('processors'), draft)
  draft.notes.push(...pipeline.rest())
  addOutput(root.part('output'), draft, undefined)
  for (const key of ['logger', 'metrics', 'http', 'shutdown_timeout', 'tracer']) root.take(key)
  draft.notes.push(
    ...root.rest({
      buffer: 'is not needed: positions are committed after the sinks have written',
      cache_resources: 'has no translation: dedupe keeps its keys in the checkpoint',
      rate_limit_resources: 'has no translation',
      input_resources: 'has no translation: insert the resource where it is used',
      output_resources: 'has no translation: insert the resource where it is used',
      processor_resources: 'has no translation: insert the resource where it is used',
      tests: 'tests of Benthos have no translation: see the test that is created beside the file',
    }),
  )
}

/** The type of a component and its settings. */
export function component(part: Part): { type: string; settings: Part } | undefined {
  const type = part.keys().find(key => !COMMON.has(key))
  return type === undefined ? undefined : { type, settings: part.part(type) }
}

const labelOf = (part: Part): string | undefined => {
  const label = part.text('label')
  return label !== undefined && /^[a-z][a-z0-9_]*$/.test(label) ? label : undefined
}

function addInput(part: Part, draft: Draft): void {
  const found = component(part)
  if (!found) return
  const { type, settings } = found
  if (type === 'broker' || type === 'sequence') {
    for (const inner of settings.parts('inputs')) addInput(inner, draft)
    draft.sources.push({ notes: settings.rest() })
  } else if (Object.hasOwn(inputs, type)) {
    const name = labelOf(part)
    const notes: Note[] = []
    const config = inputs[type](settings, draft, notes)
    draft.sources.push({
      config: config && { ...(name !== undefined && { name }), ...config },
      notes: [...notes, ...settings.rest(), ...part.rest().filter(n => n.what.startsWith('batching'))],
      line: part.lineOf(type),
    })
  } else draft.sources.push({ notes: [{ line: part.lineOf(type), what: short(type, settings.value), reason: 'there is no such source' }] })
  processors(part.parts('processors'), draft)
}

/** @param when a condition of the branch */
function addOutput(part: Part, draft: Draft, when: string | undefined): void {
  const found = component(part)
  const scalar = part.keys()[0]
  if (!found) return
  const { type, settings } = found
  const own = part.parts('processors')
  if (own.length > 0)
    draft.sinks.push({
      notes: [
        { line: part.lineOf('processors'), what: 'processors: …', reason: 'a sink has no steps of its own; move them to the transforms' },
      ],
    })
  if (type === 'broker') {
    const pattern = settings.text('pattern') ?? 'fan_out'
    if (pattern.startsWith('fan_out')) {
      for (const inner of settings.parts('outputs')) addOutput(inner, draft, when)
      draft.sinks.push({ notes: settings.rest() })
    } else
      draft.sinks.push({
        notes: [
          {
            line: part.lineOf(type),
            what: short(type, settings.value),
            reason: `the pattern ${pattern} has no translation: each sink gets all records`,
          },
        ],
      })
  } else if (type === 'switch') outputSwitch(settings, draft, when)
  else if (type === 'fallback') outputFallback(part, type, draft, when)
  else if (type === 'retry') {
    addOutput(settings.part('output'), draft, when)
    draft.sinks.push({ notes: settings.rest() })
  } else if (type === 'reject_errored') addOutput(settings, draft, when)
  else if (type === 'reject' || (type === 'drop' && scalar !== undefined))
    draft.sinks.push({
      notes: [
        {
          line: part.lineOf(type),
          what: short(type, settings.value),
          reason:
            type === 'drop'
              ? 'no sink is needed for what is dropped'
              : 'there is no such sink; a step that fails sends a record to the dlq',
        },
      ],
    })
  else if (Object.hasOwn(outputs, type)) {
    const name = labelOf(part)
    const notes: Note[] = []
    const config = outputs[type](settings, draft, notes)
    draft.sinks.push({
      config: config && { ...(name !== undefined && { name }), ...config, ...(when !== undefined && { when }) },
      notes: [...notes, ...settings.rest(REST)],
      line: part.lineOf(type),
    })
  } else draft.sinks.push({ notes: [{ line: part.lineOf(type), what: short(type, settings.value), reason: 'there is no such sink' }] })
}

const REST = {
  max_in_flight: 'has no translation: the order of a lane is kept',
  batching: 'has no translation: sinks form batches by themselves',
}

/** A case that matches is the only one, unless it has `continue`. */
function outputSwitch(settings: Part, draft: Draft, outer: string | undefined): void {
  const earlier: string[] = []
  let lost = false
  settings.take('retry_until_success')
  if (settings.take('strict_mode') === true)
    draft.sinks.push({
      notes: [{ line: settings.lineOf('strict_mode'), what: 'strict_mode: true', reason: 'a record that matches no case is dropped' }],
    })
  for (const each of settings.parts('cases')) {
    const check = each.text('check') ?? ''
    const continues = each.take('continue') === true
    if (check === 'errored()') {
      setDlq(each.part('output'), draft)
      continue
    }
    attempt(draft.sinks, { line: each.line, what: `check: ${check}` }, () => {
      if (lost) throw new Untranslatable('a case before it has a condition without a translation, whose records would come here, too')
      lost = !continues
      const own = check === '' ? undefined : condition(check, 'bloblang')
      lost = false
      if (own) draft.sample.condition(own.tree)
      const parts = [...(outer === undefined ? [] : [outer]), ...earlier.map(text => `!(${text})`), ...(own ? [own.text] : [])]
      addOutput(
        each.part('output'),
        draft,
        parts.length === 0 ? undefined : parts.length === 1 ? parts[0] : parts.map(p => (p.startsWith('!(') ? p : `(${p})`)).join(' && '),
      )
      if (!continues) earlier.push(own ? own.text : 'true')
    })
  }
  draft.sinks.push({ notes: settings.rest() })
}

/** The second output gets what the first one rejects: here that is the dlq. */
function outputFallback(part: Part, type: string, draft: Draft, when: string | undefined): void {
  const [first, second, ...others] = part.parts(type)
  if (first) addOutput(first, draft, when)
  if (second) setDlq(second, draft)
  for (const other of others) draft.sinks.push({ notes: [{ line: other.line, what: other.keys().join(', '), reason: 'there is one dlq' }] })
}

function setDlq(part: Part, draft: Draft): void {
  const at = draft.sinks.length
  addOutput(part, draft, undefined)
  // Processors and brokers make several.
  const all = draft.sinks.splice(at)
  const made = draft.dlq?.config ? undefined : all.find(step => step.config)
  const notes = all.flatMap(({ config, notes: own, line = part.line }): readonly Note[] => {
    if (!config) return own
    const { name: _, when, ...sink } = config
    if (config !== made?.config) return [...own, { line, what: Object.keys(sink).join(', '), reason: 'there is one dlq' }]
    return when === undefined ? own : [...own, { line, what: `check: ${String(when)}`, reason: 'the dlq gets all records that fail' }]
  })
  if (!made) {
    draft.sinks.push({ notes })
    return
  }
  const { name: _, when: __, ...config } = made.config!
  const file = config.file as { path?: unknown } | undefined
  draft.dlq = { config: file ? { file: { path: file.path, envelope: true } } : config, notes, line: made.line }
}
