/**
 * `use: ./shared.yaml#name` puts settings or steps of another file in its place, or of an `x-` key of the same file (`use: "#x-name"`).
 * It is done on the tree, before variables and checks, so what was used is checked like what was written. Each use has a `SourceText` of
 * its own: problems point into the shared file and name the place that uses it, and it holds the values of the parameters.
 */
import { dirname, isAbsolute, relative, resolve } from 'node:path'
import { realpathSync } from 'node:fs'
import { TextPieces } from './env.ts'
import { parseText } from './parse.ts'
import type { Problems } from './problems.ts'
import { readText } from './read.ts'
import { suggest } from '../kit/text/suggest.ts'
import { spanInScalar } from './scalar.ts'
import {
  type MapEntry,
  type MapNode,
  nearby,
  type Parameters,
  type Path,
  type ScalarNode,
  SourceText,
  type Span,
  toValue,
  type TreeNode,
  valueSpan,
} from './tree.ts'

const REFERENCE = /^([^#\s]+\.ya?ml)?#([A-Za-z_][\w-]*)$/

/** `./shared.yaml#name` or `#x-name`; undefined: another text. */
export function parseReference(text: string): { readonly file: string | undefined; readonly name: string } | undefined {
  const [, file, name] = REFERENCE.exec(text) ?? []
  return name === undefined ? undefined : { file, name }
}

const TYPES = ['string', 'number', 'boolean', 'list', 'map'] as const
/** Sharing is for a few lines; more than this is a loop or a bomb. */
const MAX_USES = 200
const MAX_NESTED = 8
/** Values that all uses together may insert, as for aliases. */
const MAX_VALUES = 10_000

const SECTIONS = ['sources', 'transforms', 'sinks']

export interface UseOptions {
  /** Folder of the pipeline file. */
  readonly base: string
  /** The file is not trusted: it can use only files in its own folder. */
  readonly confined: boolean
  /** As in `LoadOptions`. */
  readonly unsaved?: (path: string) => string | undefined
  readonly problems: Problems
}

/** @returns the tree without `use` and without the `x-` keys at the top */
export async function expandUses(root: MapNode, options: UseOptions): Promise<MapNode> {
  return new Expander(root, options).expand()
}

interface Place {
  readonly path: Path
  /** Folder that relative references start from. */
  readonly folder: string
}

class Expander {
  private readonly root: MapNode
  private readonly options: UseOptions
  private uses = 0
  private values = 0
  /** By path; each file is parsed once. */
  private readonly files = new Map<string, { source: SourceText; root: TreeNode | undefined }>()

  constructor(root: MapNode, options: UseOptions) {
    this.root = root
    this.options = options
  }

  async expand(): Promise<MapNode> {
    const entries = new Map<string, MapEntry>()
    for (const [key, { key: span, value }] of this.root.entries) {
      if (key.startsWith('x-')) continue
      const at: Place = { path: [key], folder: this.options.base }
      const expanded = SECTIONS.includes(key)
        ? await this.steps(value, at)
        : key === 'dlq'
          ? await this.step(value, at)
          : await this.settings(value, at)
      entries.set(key, { key: span, value: expanded })
    }
    return { ...this.root, entries }
  }

  private async steps(list: TreeNode, at: Place): Promise<TreeNode> {
    if (list.kind !== 'seq') return list
    const items: TreeNode[] = []
    for (const [i, item] of list.items.entries()) {
      const step = await this.step(item, { ...at, path: [...at.path, i] }, true)
      if (step.kind === 'seq') items.push(...step.items)
      else items.push(step)
    }
    return { ...list, items }
  }

  /** @returns the step; a list of steps, if `inList` and that is what is used */
  private async step(node: TreeNode, at: Place, inList = false): Promise<TreeNode> {
    if (node.kind !== 'map') return node
    const used = node.entries.has('use') ? await this.use(node, at, inList ? 'a step or a list of steps' : 'settings') : node
    if (used.kind === 'seq') return this.steps(used, at)
    if (used.kind !== 'map') return used
    if (used.entries.has('use')) return this.step(used, at, inList)
    const entries = new Map<string, MapEntry>()
    for (const [key, entry] of used.entries) {
      const inner = { ...at, path: [...at.path, key] }
      const value = await this.settings(entry.value, inner)
      entries.set(key, { ...entry, value: key === 'route' && at.path[0] === 'transforms' ? await this.branches(value, inner) : value })
    }
    return { ...used, entries }
  }

  /** The steps in the branches of a `route`. */
  private async branches(node: TreeNode, at: Place): Promise<TreeNode> {
    if (node.kind === 'map') {
      const branches = node.entries.get('branches')
      if (!branches) return node
      const value = await this.branches(branches.value, { ...at, path: [...at.path, 'branches'] })
      return { ...node, entries: new Map([...node.entries, ['branches', { ...branches, value }]]) }
    }
    if (node.kind !== 'seq') return node
    const items: TreeNode[] = []
    for (const [i, item] of node.items.entries()) {
      const steps = item.kind === 'map' ? item.entries.get('steps') : undefined
      if (item.kind !== 'map' || !steps) items.push(item)
      else {
        const value = await this.steps(steps.value, { ...at, path: [...at.path, i, 'steps'] })
        items.push({ ...item, entries: new Map([...item.entries, ['steps', { ...steps, value }]]) })
      }
    }
    return { ...node, items }
  }

  private async settings(node: TreeNode, at: Place): Promise<TreeNode> {
    const reference = node.kind === 'map' && node.entries.get('use')?.value
    // Another value is a key of the plugin, such as a field of `map`.
    if (!reference || reference.kind !== 'scalar' || !REFERENCE.test(String(reference.value))) return node
    return this.settings(await this.use(node as MapNode, at, 'settings'), at)
  }

  /** The used node with the other keys of `node`; `unknown` after a problem. */
  private async use(node: MapNode, at: Place, wanted: string): Promise<TreeNode> {
    const { problems } = this.options
    const { use: reference, with: given, ...others } = Object.fromEntries(node.entries)
    const rest: MapNode = { ...node, entries: new Map(Object.entries(others)) }
    const path = [...at.path, 'use']
    const span = valueSpan({ node: reference.value, key: reference.key, partial: false })
    const fail = (message: string, suggestion?: string): TreeNode => {
      problems.add('CONFIG_USE', span, path, message, suggestion)
      return unknown(span)
    }
    const text = reference.value.kind === 'scalar' ? String(reference.value.value) : ''
    const parsed = parseReference(text)
    if (!parsed) return fail('write the file and the name in it: use: ./shared.yaml#name, or use: "#x-name" for this file')
    const { file, name } = parsed
    const from = node.span.source
    if (depthOf(from) >= MAX_NESTED) return fail(`${name} is used inside more than ${MAX_NESTED} others; does it use itself?`)
    if (++this.uses > MAX_USES) return fail(`a pipeline can use other parts at most ${MAX_USES} times`)
    const folder = from.use === undefined ? at.folder : dirname(from.file)
    const shared = file === undefined ? this.parsed(`#${from.file}`, from) : await this.read(resolve(folder, file), span, file, fail)
    if (shared?.root === undefined) return unknown(span)
    const names = shared.root.kind === 'map' ? [...shared.root.entries.keys()] : []
    const entry = shared.root.kind === 'map' ? shared.root.entries.get(name) : undefined
    if (!entry)
      return fail(`${file ?? 'this file'} has no ${name}${names.length > 0 ? `; it has ${names.join(', ')}` : ''}`, near(name, names, file))
    const parameters = new Map<string, { type: string; value: TreeNode }>()
    const source = new SourceText(shared.source.file, shared.source.text)
    source.use = { at: span, parameters }
    // Checked before and after, so that at most one copy is larger.
    const copy = this.values > MAX_VALUES ? undefined : this.copy(entry.value, source)
    if (copy === undefined || this.values > MAX_VALUES) return fail(`all uses of a pipeline together insert at most ${MAX_VALUES} values`)
    const body = this.bind(copy, given, span, path, parameters)
    if (body === undefined) return unknown(span)
    const found = replaceParameters(body, parameters, path, problems)
    if (found.kind === 'map') return { ...found, entries: new Map([...found.entries, ...rest.entries]) }
    if (found.kind !== 'seq' || wanted === 'settings')
      return fail(`${name} is ${found.kind === 'seq' ? 'a list of steps' : 'a single value'}; ${wanted} are needed here`)
    const [other] = rest.entries.keys()
    if (other !== undefined) return fail(`${name} is a list of steps, so ${other} cannot be set for it`)
    return found
  }

  /** @returns undefined if the file cannot be read (reported) */
  private async read(
    path: string,
    at: Span,
    file: string,
    fail: (message: string) => TreeNode,
  ): Promise<{ source: SourceText; root: TreeNode | undefined } | undefined> {
    if (this.options.confined && !isWithin(this.options.base, path)) {
      fail(`${file} is outside the folder of the pipeline and is not read with --no-plugins`)
      return undefined
    }
    const known = this.files.get(path)
    if (known) return known
    let why = ''
    const text =
      this.options.unsaved?.(path) ?? (await readText(path, { add: (_code, _span, _path, message) => void (why = message) } as Problems))
    if (text === undefined) {
      fail(why.replace(path, file))
      return undefined
    }
    const shown = isAbsolute(at.source.file) ? path : relative('', path)
    return this.parsed(path, new SourceText(shown, text.replace(/^\uFEFF/, '')), at)
  }

  /** @param at the first use of another file, for its YAML errors */
  private parsed(key: string, { file, text }: SourceText, at?: Span): { source: SourceText; root: TreeNode | undefined } {
    let parsed = this.files.get(key)
    if (!parsed) {
      const source = new SourceText(file, text)
      if (at) source.use = { at, parameters: new Map() }
      parsed = { source, root: parseText(source, this.options.problems) }
      this.files.set(key, parsed)
    }
    return parsed
  }

  /** The tree in a text of its own. */
  private copy(node: TreeNode, source: SourceText): TreeNode {
    this.values++
    const span = { ...node.span, source }
    if (node.kind === 'scalar') return { ...node, span }
    if (node.kind === 'seq') return { ...node, span, items: node.items.map(item => this.copy(item, source)) }
    const entries = [...node.entries].map(([k, e]): [string, MapEntry] => [
      k,
      { key: { ...e.key, source }, value: this.copy(e.value, source) },
    ])
    return { ...node, span, entries: new Map(entries) }
  }

  /** Values of the parameters by name. @returns the part of the shared node to use */
  private bind(
    node: TreeNode,
    given: MapEntry | undefined,
    at: Span,
    path: Path,
    parameters: Map<string, { type: string; value: TreeNode }>,
  ): TreeNode | undefined {
    const { problems } = this.options
    const body = node.kind === 'map' ? (node.entries.get('steps') ?? node.entries.get('settings'))?.value : undefined
    const declared = node.kind === 'map' && body ? node.entries.get('parameters')?.value : undefined
    const isForm =
      node.kind === 'map' && body && [...node.entries.keys()].every(k => ['parameters', 'steps', 'settings', 'description'].includes(k))
    const values = given?.value.kind === 'map' ? given.value.entries : new Map<string, MapEntry>()
    const known = isForm && declared?.kind === 'map' ? declared.entries : new Map<string, MapEntry>()
    const before = problems.count
    for (const [name, { key }] of values) {
      if (known.has(name)) continue
      const names = [...known.keys()]
      const message =
        names.length > 0 ? `unknown parameter ${name}; allowed: ${names.join(', ')}` : `unknown parameter ${name}: it has none`
      problems.add('CONFIG_USE', key, [...path.slice(0, -1), 'with', name], message, suggest(name, names))
    }
    for (const [name, { key, value }] of known) {
      const { type, default: fallback } =
        value.kind === 'map' ? Object.fromEntries(value.entries) : { type: { key, value }, default: undefined }
      const wanted = type?.value.kind === 'scalar' ? String(type.value.value) : 'string'
      if (!TYPES.includes(wanted as (typeof TYPES)[number])) {
        problems.add(
          'CONFIG_USE',
          type.value.span,
          [...path, name],
          `the type of a parameter is ${TYPES.join(', ')}; got ${wanted}`,
          suggest(wanted, TYPES),
        )
        continue
      }
      const chosen = values.get(name)?.value ?? fallback?.value
      if (chosen === undefined)
        problems.add('CONFIG_USE', at, path, `the parameter ${name} (${wanted}) has no default: write with: { ${name}: … }`)
      else if (typeOf(chosen) !== wanted && !isVariable(chosen))
        problems.add(
          'CONFIG_USE',
          chosen.span,
          [...path.slice(0, -1), 'with', name],
          `the parameter ${name} is a ${wanted}; got a ${typeOf(chosen)}`,
        )
      else parameters.set(name, { type: wanted, value: chosen })
    }
    if (problems.count > before) return undefined
    return isForm ? body : node
  }
}

/** `${param.name}` in all text below `node`. */
function replaceParameters(node: TreeNode, parameters: Parameters, path: Path, problems: Problems): TreeNode {
  if (node.kind === 'seq') return { ...node, items: node.items.map(item => replaceParameters(item, parameters, path, problems)) }
  if (node.kind === 'map')
    return {
      ...node,
      entries: new Map([...node.entries].map(([k, e]) => [k, { ...e, value: replaceParameters(e.value, parameters, path, problems) }])),
    }
  if (typeof node.value !== 'string' || !node.value.includes('${param.')) return node
  const template = node.value
  const out = new TextPieces()
  let from = 0
  for (const match of template.matchAll(/(?<!\$)\$\{param\.([\w-]*)\}/g)) {
    const [all, name] = match
    const value = parameters.get(name)?.value
    const span = spanInScalar(node, match.index, match.index + all.length) ?? nearby(node.span)
    if (value === undefined) {
      const near = suggest(name, parameters.keys())
      problems.add('CONFIG_USE', span, path, `there is no parameter ${name}; declare it under parameters`, near && `\${param.${near}}`)
      return unknown(node.span)
    }
    if (all === template.trim()) return value
    if (value.kind !== 'scalar') {
      problems.add('CONFIG_USE', span, path, `the parameter ${name} is a ${typeOf(value)}, which cannot be part of a text`)
      return unknown(node.span)
    }
    out.push(template.slice(from, match.index), from, match.index)
    out.push(String(value.value), match.index, match.index + all.length, all)
    from = match.index + all.length
  }
  out.push(template.slice(from), from, template.length)
  return {
    ...node,
    value: out.text,
    substitution: { template, pieces: out.pieces, unresolved: false, outside: false },
  } satisfies ScalarNode
}

/** A value with a reported problem, so that nothing else is reported about it. */
const unknown = (span: Span): ScalarNode => ({
  kind: 'scalar',
  span,
  value: '',
  style: 'plain',
  substitution: { template: '', pieces: [], unresolved: true, outside: false },
})

const depthOf = ({ use }: SourceText): number => (use === undefined ? 0 : 1 + depthOf(use.at.source))

function typeOf(node: TreeNode): string {
  if (node.kind !== 'scalar') return node.kind === 'seq' ? 'list' : 'map'
  const value = toValue(node)
  return value === null ? 'null' : typeof value === 'object' ? 'number' : typeof value
}

/** The type of a value from a variable is checked where it is used. */
const isVariable = (node: TreeNode): boolean => node.kind === 'scalar' && typeof node.value === 'string' && node.value.includes('${')

const near = (name: string, names: readonly string[], file: string | undefined): string | undefined => {
  const other = suggest(name, names)
  return other && (file === undefined ? `"#${other}"` : `${file}#${other}`)
}

export function isWithin(folder: string, path: string): boolean {
  try {
    const inside = relative(realpathSync(folder), realpathSync(path))
    return inside !== '' && !inside.startsWith('..') && !inside.startsWith('/')
  } catch {
    return true // It does not exist: reading it reports this.
  }
}
