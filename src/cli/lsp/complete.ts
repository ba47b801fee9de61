/** Completion: keys, values, names of steps, ports, plugins, variables and parameters, and what an expression can contain. */
import { readdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { CompletionItem } from 'vscode-languageserver'
import { describeKey } from '../../config/describe.ts'
import type { Flow, FlowUse } from '../../config/flow/flow.ts'
import { COMMON_KEYS, FRAME } from '../../config/frame.ts'
import { type FoundSteps, loadText } from '../../config/load.ts'
import { parseText } from '../../config/parse.ts'
import { Problems } from '../../config/problems.ts'
import type { Kind, Registry } from '../../config/registry.ts'
import { deref, type Schema, typesOf } from '../../config/schema.ts'
import { type MapNode, SourceText, type TreeNode } from '../../config/tree.ts'
import { portsOf } from '../../config/wiring.ts'
import { loadLanguage } from '../../expressions/on-demand.ts'
import { ANY, type RecordType, typeAt, unionOf } from '../../expressions/record-type.ts'
import { expressionWords } from '../eval/completions.ts'
import { type Cursor, cursorAt, MARK, type Range } from './cursor.ts'
import { type FileKind, type Place, placeAt } from './schemas.ts'
import type { Workspace } from './workspace.ts'

/** An item before it has the positions of the client. */
export interface Candidate {
  readonly label: string
  readonly kind: NonNullable<CompletionItem['kind']>
  readonly range: Range
  readonly text: string
  readonly detail?: string
  /** Markdown. */
  readonly about?: string
  /** Earlier ones are more likely. */
  readonly rank?: number
}

// The numbers of the protocol: the package is loaded only by the server.
const KIND = {
  method: 2,
  function: 3,
  field: 5,
  variable: 6,
  module: 9,
  property: 10,
  value: 12,
  enum: 13,
  file: 17,
  reference: 18,
} as const

const CHOICES = 500

export async function complete(space: Workspace, path: string, text: string, offset: number): Promise<readonly Candidate[]> {
  const variable = variableAt(space, path, text, offset)
  if (variable) return variable
  const cursor = cursorAt(text, offset)
  if (!cursor) return []
  const kind = space.kindOf(path, text) ?? guess(cursor.root)
  if (!kind) return []
  // The plugins of an earlier text: a check would delay every keystroke.
  if (!space.checked.has(path)) await space.current(path)
  const registry = space.registry(path)
  const place = await placeAt(kind, cursor.root, cursor.path, registry)
  const found = cursor.position === 'key' ? await keys(space, path, text, cursor, kind, place, registry) : []
  if (cursor.position === 'value') found.push(...(await values(space, path, text, cursor, kind, place)))
  // On a line of its own, a single value could be meant as well.
  else if (cursor.alone && !cursor.colon && !cursor.flow)
    found.push(...(await values(space, path, text, cursor, kind, place)).map(item => ({ ...item, rank: 5 + (item.rank ?? 0) })))
  return found.slice(0, CHOICES)
}

/** A file with a few keys of a pipeline. */
const guess = (root: TreeNode): FileKind | undefined =>
  root.kind === 'map' && [...root.entries.keys()].every(key => key === MARK || Object.hasOwn(FRAME.properties!, key))
    ? 'pipeline'
    : undefined

/** `${VAR` and `${param.name`, in any text. Names only: values of variables are never shown. */
function variableAt(space: Workspace, path: string, text: string, offset: number): Candidate[] | undefined {
  const line = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset).slice(-500)
  const [, parameter, typed] = /(?<!\$)\$\{(param\.)?([\w-]*)$/.exec(line) ?? []
  if (typed === undefined) return undefined
  const range = { start: offset - typed.length, end: offset }
  const close = text[offset] === '}' ? '' : '}'
  const names = parameter === undefined ? variablesOf(space, text) : parametersOf(path, text, offset)
  return names.map(name => ({ label: name, kind: KIND.variable, range, text: `${name}${close}` }))
}

/** Of the process, and those that the file names. */
const variablesOf = (space: Workspace, text: string): string[] =>
  [...new Set([...Object.keys(space.env()), ...[...text.matchAll(/\$\{([A-Za-z_]\w*)/g)].map(m => m[1])])]
    .filter(name => name !== 'param' && name !== 'file')
    .sort()

/** Of the part of a shared file that the cursor is in. */
function parametersOf(path: string, text: string, offset: number): string[] {
  const root = parseText(new SourceText(path, text), new Problems(), true)
  if (root?.kind !== 'map') return []
  const entries = [...root.entries.values()]
  const part = entries.findLast(entry => entry.key.start <= offset)?.value
  const declared = part?.kind === 'map' ? part.entries.get('parameters')?.value : undefined
  return declared?.kind === 'map' ? [...declared.entries.keys()] : []
}

async function keys(
  space: Workspace,
  path: string,
  text: string,
  cursor: Cursor,
  kind: FileKind,
  place: Place,
  registry: Registry,
): Promise<Candidate[]> {
  const map = nodeAt(cursor.root, cursor)
  const written = new Set(map?.entries.keys() ?? [])
  const found = new Map<string, Candidate>()
  const add = (label: string, more: Partial<Candidate> & { readonly opens?: boolean }): void => {
    if (written.has(label) || found.has(label)) return
    const { opens, ...rest } = more
    const after = cursor.colon ? '' : opens && !cursor.flow ? ':' : ': '
    found.set(label, { label, kind: KIND.property, range: cursor.word, text: `${label}${after}`, ...rest })
  }
  if (place.step && ![...written].some(key => place.step!.kinds.some(k => registry.has(k, key))))
    for (const k of place.step.kinds)
      for (const type of registry.names(k)) {
        const schema = (await registry.load(k, type))?.schema as Schema | undefined
        add(type, { kind: KIND.module, detail: k, about: schema?.description, opens: true, rank: 0 })
      }
  if (place.step) {
    const common = place.step.kinds.flatMap(k => COMMON_KEYS[cursor.path[0] === 'dlq' ? 'dlq' : k])
    for (const key of common) add(key, { rank: 1, ...about(place.options.map(o => o.properties?.[key]).find(Boolean), place.root) })
  }
  for (const option of place.step ? [] : place.options)
    for (const [key, property] of Object.entries(option.properties ?? {})) {
      const needed = option.required?.includes(key) === true
      add(key, { rank: needed ? 0 : 2, ...about(property, place.root, needed) })
    }
  const used = place.step ?? place.plugin
  if (used && kind !== 'test') {
    add('use', { rank: 3, detail: 'string', about: 'Settings or steps of a shared file, such as `./shared.yaml#name`.' })
    if (written.has('use')) add('with', { rank: 3, detail: 'map', about: 'Values of the parameters of what is used.' })
  }
  for (const name of await namesForKeys(space, path, text, cursor, kind)) add(name, { kind: KIND.reference, rank: 0 })
  return [...found.values()]
}

function about(property: Schema | undefined, root: Schema, needed = false): Partial<Candidate> & { readonly opens?: boolean } {
  if (!property) return {}
  const types = typesOf(deref(property, root))
  const { type, text, fallback } = describeKey(property, root)
  const more = needed ? ', required' : fallback === undefined ? '' : `, default ${fallback}`
  return {
    detail: `${type}${more}`.replaceAll('`', ''),
    about: text,
    opens: types.length === 1 && (types[0] === 'object' || types[0] === 'array'),
  }
}

function nodeAt(root: TreeNode, { path }: Cursor): MapNode | undefined {
  let node: TreeNode | undefined = root
  for (const part of path)
    node = node?.kind === 'map' ? node.entries.get(String(part))?.value : node?.kind === 'seq' ? node.items[part as number] : undefined
  return node?.kind === 'map' ? node : undefined
}

/** Maps of a test file have names of steps as keys; `env` has variables. */
async function namesForKeys(space: Workspace, path: string, text: string, { path: at }: Cursor, kind: FileKind): Promise<string[]> {
  if (kind === 'pipeline' && at.at(-1) === 'with') return parametersUsed(space, path, text, at)
  if (kind !== 'test') return []
  const kinds: Record<string, readonly Kind[]> = {
    input: ['source'],
    outputs: ['sink'],
    stubs: ['transform'],
    metrics: ['source', 'transform', 'sink'],
  }
  const last = String(at.at(-1))
  if (last === 'env') {
    const pipeline = space.pipelineOf(path, text)
    return variablesOf(space, (await space.text(pipeline, path)) ?? '').filter(name => !(name in process.env))
  }
  if (!Object.hasOwn(kinds, last)) return []
  return stepNames(await space.stepsOf(path), kinds[last])
}

async function parametersUsed(space: Workspace, path: string, text: string, at: Cursor['path']): Promise<string[]> {
  const { usedAt } = await import('./navigate.ts')
  const target = await usedAt(space, path, text, at.slice(0, -1))
  const declared = target?.node.kind === 'map' ? target.node.entries.get('parameters')?.value : undefined
  return declared?.kind === 'map' ? [...declared.entries.keys()] : []
}

const stepNames = (steps: FoundSteps | undefined, kinds: readonly Kind[]): string[] =>
  steps ? [...steps.names].filter(([s]) => kinds.includes(s.kind)).map(([, name]) => name) : []

async function values(space: Workspace, path: string, text: string, cursor: Cursor, kind: FileKind, place: Place): Promise<Candidate[]> {
  const found = new Map<string, Candidate>()
  const whole = cursor.position === 'value' ? cursor.scalar : cursor.word
  const add = (label: string, k: Candidate['kind'], more: Partial<Candidate> = {}): void =>
    void (found.has(label) || found.set(label, { label, kind: k, range: whole, text: label, ...more }))
  const key = cursor.path.at(-1)
  if (key === 'from' && kind === 'pipeline') {
    for (const [step, name] of (await space.current(path))?.steps?.names ?? [])
      if (step.enabled && step.valid) for (const port of portsOf(step)) add(`${name}.${port}`, KIND.reference)
    return [...found.values()]
  }
  if (place.plugin?.type === 'route' && (key === 'to' || cursor.path.at(-2) === 'to'))
    for (const name of stepNames((await space.current(path))?.steps, ['sink'])) add(name, KIND.reference)
  if (key === 'use') {
    for (const name of await shared(space, path, text, cursor)) add(name, KIND.file, { text: name.startsWith('#') ? `"${name}"` : name })
    return [...found.values()]
  }
  if (kind === 'test' && key === 'step')
    for (const name of stepNames(await space.stepsOf(path), ['transform', 'sink'])) add(name, KIND.reference)
  for (const option of place.options) {
    const { format } = option
    if (format === 'expression' || format === 'field') {
      for (const word of await expression(space, path, cursor, format === 'field')) if (!found.has(word.label)) found.set(word.label, word)
      continue
    }
    if (format === 'source_step') for (const name of stepNames((await space.current(path))?.steps, ['source'])) add(name, KIND.reference)
    const fixed = option.enum ?? (option.const === undefined ? [] : [option.const])
    for (const value of fixed) if (value !== null) add(scalarText(value), KIND.enum, { rank: 0, about: option.description })
    if (typesOf(option).includes('boolean') && fixed.length === 0)
      for (const value of ['true', 'false']) add(value, KIND.enum, { rank: option.default === (value === 'true') ? 0 : 1 })
    for (const value of [option.default, ...(option.examples ?? [])])
      if (typeof value !== 'object' && value !== undefined && typesOf(option).length > 0) add(scalarText(value), KIND.value, { rank: 2 })
  }
  return [...found.values()]
}

/** As it is written in YAML: text that another type would be read from has quotes. */
function scalarText(value: unknown): string {
  if (typeof value !== 'string') return String(value)
  return /^[A-Za-z./][\w./+-]*$|^\d+(?:[a-zA-Z]+\d*)+$/.test(value) && !/^(?:true|false|null|yes|no|on|off)$/i.test(value)
    ? value
    : JSON.stringify(value)
}

/** What `use` can name: the parts of the file that is written, those of this file, or the files in the folder. */
async function shared(space: Workspace, path: string, text: string, { value }: Cursor): Promise<string[]> {
  const names = (content: string, file: string): string[] => {
    const root = parseText(new SourceText(file, content), new Problems(), true)
    return root?.kind === 'map' ? [...root.entries.keys()] : []
  }
  const [, file] = /^([^#\s]+\.ya?ml)#/.exec(value.replace(MARK, '')) ?? []
  if (file !== undefined) {
    const content = await space.text(resolve(dirname(path), file), path)
    return content === undefined ? [] : names(content, file).map(name => `${file}#${name}`)
  }
  const isShared = space.kindOf(path, text) === 'shared'
  const own = names(text, path).filter(name => isShared || name.startsWith('x-'))
  return [...own.map(name => `#${name}`), ...(await sharedFiles(space, path, names))]
}

/** Parts of the other files in the folder, unless they are pipelines or tests. */
async function sharedFiles(space: Workspace, path: string, names: (content: string, file: string) => string[]): Promise<string[]> {
  const folder = dirname(path)
  let files: string[] = []
  try {
    files = readdirSync(folder).filter(name => /\.ya?ml$/.test(name) && resolve(folder, name) !== path)
  } catch {
    return []
  }
  const found: string[] = []
  for (const name of files.slice(0, 50)) {
    const content = await space.text(resolve(folder, name), path)
    if (content === undefined || content.length > 200_000) continue
    const kind = space.kindOf(resolve(folder, name), content)
    if (kind === undefined || kind === 'shared') found.push(...names(content, name).map(part => `./${name}#${part}`))
  }
  return found
}

/** Fields of the records that arrive here, and functions. */
async function expression(space: Workspace, path: string, cursor: Cursor, isField: boolean): Promise<Candidate[]> {
  const line = cursor.value.slice(0, cursor.value.indexOf(MARK))
  const { record, owner } = await recordAt(space, path, cursor)
  if (isField) {
    const parent = line.slice(0, line.lastIndexOf('.') + 1)
    const at = typeAt(record, parent.split('.').filter(Boolean))
    const names = at.kind === 'object' ? [...at.fields.keys()] : []
    return names.map(name => ({ label: name, kind: KIND.field, range: cursor.word, text: name, rank: 0 }))
  }
  const { FUNCTIONS } = await loadLanguage()
  const { words } = expressionWords(line, record, FUNCTIONS, Object.keys(space.env()).sort(), owner)
  const kinds = { field: KIND.field, function: KIND.function, namespace: KIND.module, variable: KIND.variable } as const
  return words.map(w => ({
    label: w.text,
    kind: kinds[w.kind],
    range: cursor.word,
    text: w.text,
    detail: w.detail,
    about: w.description,
    rank: w.kind === 'field' ? 0 : 1,
  }))
}

/** What is known of the records that the expression at the cursor reads: the file is loaded with the mark in its place. */
async function recordAt(space: Workspace, path: string, cursor: Cursor): Promise<{ record: RecordType; owner?: RecordType }> {
  // A call that is not finished yet makes the whole expression invalid: then the mark replaces all of it.
  const whole = cursor.position === 'value' ? cursor.scalar : cursor.word
  const text = space.unsaved(path) ?? ''
  const alone = text.slice(0, whole.start) + MARK + text.slice(whole.end)
  const inPlace = await markIn(space, path, cursor.marked, cursor.word.start)
  const before = cursor.value.slice(0, cursor.value.indexOf(MARK))
  const isPart = /\.\??$/.test(before)
  for (const { root, names } of isPart ? (inPlace.use?.inferred.reads ?? []) : []) {
    const at = names.findIndex(name => name === MARK)
    if (at >= 0) return { record: inPlace.record, owner: at === 0 ? root : typeAt(root, names.slice(0, at)) }
  }
  if (inPlace.use && (inPlace.use.of === undefined || !isPart)) return { record: inPlace.record }
  return { record: (await markIn(space, path, alone, whole.start)).record }
}

interface Marked {
  readonly use?: FlowUse
  /** What the setting reads; of a step with other problems, the records that arrive. */
  readonly record: RecordType
}

async function markIn(space: Workspace, path: string, marked: string, offset: number): Promise<Marked> {
  // A part of a shared file has the records of a pipeline that uses it.
  const users = space.checked.get(path)?.kind === 'shared' ? space.usersOf(path) : [path]
  for (const user of users.slice(0, 3)) {
    let flow: Flow | undefined
    let steps: FoundSteps | undefined
    const unsaved = (file: string): string | undefined => (file === path ? marked : space.unsaved(file))
    await loadText(user, unsaved(user) ?? '', {
      ...space.options(),
      unsaved,
      onFlow: found => (flow = found),
      onSteps: found => (steps = found),
    })
    const use = flow?.uses.find(u => u.text.includes(MARK))
    if (use) return { use, record: use.of ?? use.record }
    // The steps of a branch are behind their route.
    const here = [...(steps?.names ?? [])].findLast(
      ([{ node }]) => node.span.source.file === path && node.span.start <= offset && offset <= node.span.end,
    )
    const arriving = flow?.edges.filter(edge => edge.to === here?.[1]).map(edge => edge.type) ?? []
    if (here && arriving.length > 0) return { record: unionOf(arriving) }
  }
  return { record: ANY }
}
