/** A pipeline in the making: its steps, and comments where something has no translation. */
import { stringify } from 'yaml'
import { formatYaml } from '../../fmt/format.ts'
import type { Note } from './foreign.ts'
import type { Mapped } from './mapping.ts'
import type { Sample } from './sample.ts'
import { Untranslatable } from './tree.ts'

export interface Step {
  /** As in the file; undefined: comments only. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly notes: readonly Note[]
  /** In the file of the other tool. */
  readonly line?: number
}

export interface Draft {
  readonly tool: string
  readonly sources: Step[]
  readonly transforms: Step[]
  readonly sinks: Step[]
  dlq?: Step
  /** Of the whole file. */
  readonly notes: Note[]
  readonly sample: Sample
  /** The sources read text, not JSON. */
  isText?: boolean
  /** Variables of the old file that have no default. */
  readonly variables: Set<string>
}

/** Variables: `${NAME:default}` and `${NAME:-default}` as here; a text that is not a variable stays as it is. */
export function variablesIn(value: unknown, draft: Draft): unknown {
  if (Array.isArray(value)) return value.map(v => variablesIn(v, draft))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, variablesIn(v, draft)]))
  if (typeof value !== 'string') return value
  return value.replaceAll(/\$\{(\w+)(?::-|:(?!\?)|-)?([^}]*)\}/g, (all, name: string, fallback: string) => {
    const hasDefault = /^\$\{\w+(?::-|:(?!\?)|-)/.test(all)
    if (!hasDefault) draft.variables.add(name)
    return hasDefault ? `\${${name}:-${fallback}}` : `\${${name}}`
  })
}

/** The notes of a mapping, at the lines of its file. @param line of its first line */
export function mappingNotes(mapped: Mapped, line: number): Note[] {
  return mapped.left.map(left => ({ line: line + left.line, what: left.text, reason: left.reason }))
}

/** Adds the steps of a mapping. @param when a condition for all of them */
export function addMapping(draft: Draft, mapped: Mapped, line: number, what: string, when?: string): void {
  for (const tree of mapped.filters) draft.sample.require(tree)
  draft.sample.read(mapped.reads)
  draft.sample.make(mapped.made, mapped.keeps)
  const notes = mappingNotes(mapped, line)
  if (mapped.steps.length === 0 && notes.length === 0) notes.push({ line, what, reason: 'changes nothing' })
  for (const [i, config] of mapped.steps.entries())
    draft.transforms.push({
      config: { ...config, ...(when !== undefined && { when }) },
      notes: i === mapped.steps.length - 1 ? notes : [],
      line,
    })
  if (mapped.steps.length === 0) draft.transforms.push({ notes })
}

/** Runs `make`; what it cannot translate becomes a note. */
export function attempt(draft: Step[], note: Omit<Note, 'reason'>, make: () => void): void {
  try {
    make()
  } catch (error) {
    if (!(error instanceof Untranslatable)) throw error
    draft.push({ notes: [{ ...note, reason: error.message }] })
  }
}

/** Makes a comment of the step that a problem of the new file is in. @param path of the problem @returns false if it is in no step */
export function withdraw(draft: Draft, path: string, reason: string): boolean {
  if (/^dlq\b/.test(path) && draft.dlq?.config) {
    draft.dlq = { notes: invalid(draft.dlq, 'the settings', reason) }
    return true
  }
  const [, key, index] = /^(sources|transforms|sinks)\[(\d+)\]/.exec(path) ?? []
  if (key === undefined) return false
  const list = draft[key as 'sources' | 'transforms' | 'sinks']
  const at = list.flatMap((step, i) => (step.config ? [i] : []))[Number(index)]
  if (at === undefined) return false
  list[at] = { notes: invalid(list[at], key === 'transforms' ? 'the step' : 'the settings', reason) }
  return true
}

const invalid = ({ config, notes, line = notes[0]?.line ?? 0 }: Step, what: string, reason: string): Note[] => [
  ...notes,
  { line, what: stringify(config).trimEnd(), reason: `${what} would be invalid: ${reason}` },
]

export const allNotes = (draft: Draft): Note[] =>
  [
    ...draft.notes,
    ...[...draft.sources, ...draft.transforms, ...draft.sinks, ...(draft.dlq ? [draft.dlq] : [])].flatMap(s => s.notes),
  ].sort((a, b) => a.line - b.line)

/** @param file of the other tool, for the comments */
export function draftText(draft: Draft, name: string, file: string): string {
  const lines = [
    `# From ${oneLine(file)} (${draft.tool}). A record without a field that a step reads goes to the dlq; ${draft.tool} goes on with null or with the record as it was.`,
    ...draft.notes.flatMap(note => comment(note, '')),
    `name: ${name}`,
    'sources:',
    ...(draft.sources.some(s => s.config) ? [] : ['  # The input has no translation: this one reads standard input.']),
    ...block(draft.sources, { stdin: {} }),
    ...(draft.transforms.some(s => s.config) ? ['transforms:'] : []),
    ...block(draft.transforms),
    'sinks:',
    ...(draft.sinks.some(s => s.config) ? [] : ['  # The output has no translation: this one prints.']),
    ...block(draft.sinks, { stdout: {} }),
    ...(draft.dlq?.notes.flatMap(note => comment(note, '')) ?? []),
    ...(draft.dlq?.config ? [] : ['# Records that cannot be processed, with the reason.']),
    stringify({ dlq: draft.dlq?.config ?? { file: { path: `${name}.dead.jsonl`, envelope: true } } }).trimEnd(),
  ]
  return formatYaml(`${lines.join('\n')}\n`)
}

function block(steps: readonly Step[], fallback?: Readonly<Record<string, unknown>>): string[] {
  const lines = steps.flatMap(({ config, notes }) => [
    ...notes.flatMap(note => comment(note, '  ')),
    ...(config
      ? stringify([config], { lineWidth: 0 })
          .trimEnd()
          .split('\n')
          .map(line => `  ${line}`)
      : []),
  ])
  const isEmpty = !steps.some(s => s.config)
  return isEmpty && fallback
    ? [
        ...lines,
        ...stringify([fallback])
          .trimEnd()
          .split('\n')
          .map(line => `  ${line}`),
      ]
    : lines
}

/** One line of comment per line of the original. A reason may quote several lines, which would end the comment. */
const comment = ({ line, what, reason }: Note, indent: string): string[] => [
  `${indent}# NOT TRANSLATED${line > 0 ? ` (line ${line})` : ''}: ${oneLine(reason)}`,
  ...what.split(/\r\n?|\n/).map(text => `${indent}#   ${text.trimEnd()}`),
]

const oneLine = (text: string): string => text.trim().replaceAll(/\s*[\r\n]+\s*/g, ' ')
