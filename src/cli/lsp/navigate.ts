/** Go to definition, and rename of a step. */
import { dirname, resolve } from 'node:path'
import type { FoundSteps } from '../../config/load.ts'
import { loadText } from '../../config/load.ts'
import { parseText } from '../../config/parse.ts'
import { Problems } from '../../config/problems.ts'
import { stepReferences } from '../../config/references.ts'
import { find, formatPath, type Path, SourceText, type Span, type TreeNode } from '../../config/tree.ts'
import { parseReference } from '../../config/use.ts'
import { testReferences } from '../../testing/references.ts'
import { tokenAt } from './cursor.ts'
import type { Workspace } from './workspace.ts'

/** The part that `use` at this path of a file names. */
export async function usedAt(
  space: Workspace,
  path: string,
  text: string,
  at: Path,
): Promise<{ readonly node: TreeNode; readonly key: Span } | undefined> {
  const root = parseText(new SourceText(path, text), new Problems(), true)
  const found = root && find(root, [...at, 'use'])
  if (found?.node.kind !== 'scalar' || found.partial) return undefined
  return partOf(space, path, text, String(found.node.value))
}

async function partOf(space: Workspace, path: string, text: string, written: string): Promise<{ node: TreeNode; key: Span } | undefined> {
  const reference = parseReference(written)
  if (!reference) return undefined
  const file = reference.file === undefined ? path : resolve(dirname(path), reference.file)
  const content = file === path ? text : await space.text(file, path)
  const root = content === undefined ? undefined : parseText(new SourceText(file, content), new Problems(), true)
  const entry = root?.kind === 'map' ? root.entries.get(reference.name) : undefined
  return entry && { node: entry.value, key: entry.key }
}

const startOf = (file: string): Span => ({ source: new SourceText(file, ''), start: 0, end: 0 })

export async function definition(space: Workspace, path: string, text: string, offset: number): Promise<Span | undefined> {
  const token = tokenAt(path, text, offset)
  if (!token) return undefined
  const checked = await space.current(path)
  const key = token.path.at(-1)
  const value = token.node ? String(token.node.value) : undefined
  if (checked?.kind === 'test') {
    if (token.path.length === 1 && key === 'pipeline' && token.on === 'value') return startOf(space.pipelineOf(path, text))
    const at = testReferences(token.root).find(({ span }) => span.start <= offset && offset <= span.end)
    return at && declarationOf(await space.stepsOf(path), at.name)
  }
  if (token.on === 'value' && key === 'use') return (await partOf(space, path, text, value!))?.key
  if (token.on === 'value' && token.path[0] === 'plugins' && /^\.{1,2}\//.test(value!)) return startOf(resolve(dirname(path), value!))
  if (token.on === 'key' && token.path.at(-2) === 'with') {
    const part = await usedAt(space, path, text, token.path.slice(0, -2))
    const declared = part && find(part.node, ['parameters', String(key)])
    return declared && !declared.partial ? declared.key : undefined
  }
  const parameter = token.node && parameterAt(text, offset)
  if (parameter !== undefined) {
    const declared = find(token.root, [token.path[0], 'parameters', parameter])
    if (!declared.partial) return declared.key
  }
  const steps = checked?.steps
  const at = steps && stepReferences(steps).find(r => r.span.source.file === path && r.span.start <= offset && offset <= r.span.end)
  return at && declarationOf(steps, at.name)
}

function parameterAt(text: string, offset: number): string | undefined {
  const start = text.lastIndexOf('\n', offset - 1) + 1
  const line = text.slice(start, start + 1000).split('\n')[0]
  for (const match of line.matchAll(/\bparam\.([\w-]+)/g))
    if (start + match.index <= offset && offset <= start + match.index + match[0].length) return match[1]
  return undefined
}

/** The name of the step, or the key of its plugin. */
function declarationOf(steps: FoundSteps | undefined, name: string): Span | undefined {
  const step = steps && [...steps.names].find(([, n]) => n === name)?.[0]
  return step && (step.node.entries.get('name')?.value.span ?? step.key)
}

/** A refusal, with the reason for the user. */
export class Refused extends Error {}

export interface Renaming {
  readonly name: string
  /** The name at the cursor. */
  readonly span: Span
}

async function renamable(space: Workspace, path: string, text: string, offset: number): Promise<Renaming & { readonly pipeline: string }> {
  const checked = await space.current(path)
  const isAt = ({ span }: { span: Span }): boolean => span.source.file === path && span.start <= offset && offset <= span.end
  if (checked?.kind === 'test') {
    const root = parseText(new SourceText(path, text), new Problems(), true)
    const at = root && testReferences(root).find(isAt)
    if (at) return { ...partAt(at, offset), pipeline: space.pipelineOf(path, text) }
  } else if (checked?.kind === 'pipeline' && checked.steps) {
    const at = stepReferences(checked.steps).find(isAt)
    if (at) return { ...partAt(at, offset), pipeline: path }
  }
  throw new Refused('only names of steps can be renamed: put the cursor on the value of name, or on a reference to the step')
}

/** In `route/branch/step`, the step at the cursor. */
function partAt(at: { readonly name: string; readonly span: Span; readonly declares?: boolean }, offset: number): Renaming {
  if (at.declares) return at
  const end = at.name.indexOf('/', offset - at.span.start)
  const name = end < 0 ? at.name : at.name.slice(0, end)
  if (name.split('/').length % 2 === 0) throw new Refused('this is the name of a branch; only names of steps can be renamed')
  return { name, span: ownPart(at, name)[0] }
}

/** @throws {Refused} */
export async function prepareRename(space: Workspace, path: string, text: string, offset: number): Promise<Renaming> {
  const at = await renamable(space, path, text, offset)
  const { steps } = await pipelineSteps(space, at.pipeline)
  declared(steps, at.name)
  return at
}

function declared(steps: FoundSteps, name: string): void {
  const declaration = stepReferences(steps).find(r => r.declares && r.name === name)
  if (!declaration) {
    const exists = [...steps.names.values()].includes(name)
    throw new Refused(
      exists
        ? `the step ${name} has its name from its plugin: write name: ${name.split('/').at(-1)} into it first`
        : `there is no step ${name}`,
    )
  }
  const { source } = declaration.span
  if (source.use) throw new Refused(`the name ${name} is in the shared file ${source.file}, which other pipelines may use: change it there`)
}

interface Before {
  readonly steps: FoundSteps
  readonly text: string
  readonly errors: number
}

async function pipelineSteps(space: Workspace, pipeline: string): Promise<Before> {
  const text = await space.text(pipeline)
  const loaded = text === undefined ? undefined : await stepsIn(space, pipeline, text)
  if (!loaded?.steps) throw new Refused(`${pipeline} cannot be read`)
  return { steps: loaded.steps, text: text!, errors: loaded.errors }
}

async function stepsIn(
  space: Workspace,
  pipeline: string,
  text: string,
): Promise<{ readonly steps?: FoundSteps; readonly errors: number }> {
  let steps: FoundSteps | undefined
  const { problems } = await loadText(pipeline, text, { ...space.options(), onSteps: found => (steps = found) })
  // Variables that the editor does not have do not hide a name.
  return { steps, errors: problems.filter(p => p.severity === 'error' && !p.code.startsWith(`CONFIG_ENV_`)).length }
}

const NAME = /^[a-z][a-z0-9_-]*$/

/** All edits, by file. @throws {Refused} if the name is not free, or something else would change */
export async function rename(
  space: Workspace,
  path: string,
  text: string,
  offset: number,
  name: string,
): Promise<ReadonlyMap<string, readonly Span[]>> {
  const { name: old, pipeline } = await renamable(space, path, text, offset)
  const before = await pipelineSteps(space, pipeline)
  declared(before.steps, old)
  if (before.errors > 0) throw new Refused(`${pipeline} has problems, and text with a problem may name the step: correct them first`)
  if (before.steps.registry.incomplete)
    throw new Refused('the plugins of the file are not loaded, and their steps may name the step: trust the workspace first')
  const full = old.slice(0, old.lastIndexOf('/') + 1) + name
  if (!NAME.test(name)) throw new Refused(`${name} is not a name of a step: write a-z, 0-9, _ and -, such as check_2`)
  if ([...before.steps.names.values()].includes(full)) throw new Refused(`the pipeline has a step ${full} already`)
  const spans = stepReferences(before.steps).flatMap(r => ownPart(r, old))
  const elsewhere = spans.find(span => span.source.file !== pipeline)
  if (elsewhere) throw new Refused(`the step is also named in the shared file ${elsewhere.source.file}: change it there`)
  const edits = new Map([[pipeline, unique(spans)]])
  await sameSteps(space, pipeline, before, replaced(before.text, edits.get(pipeline)!, name), old, full)
  const tests = new Set(path === pipeline ? space.testsOf(pipeline) : [path, ...space.testsOf(pipeline)])
  for (const test of tests) {
    const content = await space.text(test)
    if (content === undefined || space.pipelineOf(test, content) !== pipeline) continue
    const root = parseText(new SourceText(test, content), new Problems())
    if (!root) throw new Refused(`${test} is not valid YAML, so the step cannot be renamed in it`)
    const found = testReferences(root).flatMap(r => ownPart(r, old))
    if (found.length > 0) edits.set(test, unique(found))
  }
  return edits
}

/** The last part of the name in a reference to the step, or to a step in a branch of it. */
function ownPart({ name, span, declares }: { name: string; span: Span; declares?: boolean }, old: string): Span[] {
  if (declares) return name === old ? [span] : []
  if (name !== old && !name.startsWith(`${old}/`)) return []
  return [{ ...span, start: span.start + old.lastIndexOf('/') + 1, end: span.start + old.length }]
}

/** A step may be found twice if an alias repeats it. */
const unique = (spans: readonly Span[]): Span[] =>
  [...new Map(spans.map(span => [span.start, span])).values()].sort((a, b) => a.start - b.start)

const replaced = (text: string, spans: readonly Span[], name: string): string =>
  spans.toReversed().reduce((done, { start, end }) => done.slice(0, start) + name + done.slice(end), text)

/** The name of a step without `name` depends on the others: a rename must not change it, and must add no problem. */
async function sameSteps(space: Workspace, pipeline: string, before: Before, after: string, old: string, name: string): Promise<void> {
  const named = ({ names }: FoundSteps): Map<string, string> => new Map([...names].map(([step, n]) => [formatPath(step.path), n]))
  const { steps, errors } = await stepsIn(space, pipeline, after)
  const now = steps ? named(steps) : new Map<string, string>()
  for (const [place, was] of named(before.steps)) {
    const is = now.get(place)
    if (is !== (was === old || was.startsWith(`${old}/`) ? name + was.slice(old.length) : was))
      throw new Refused(`the step at ${place} would be called ${is} instead of ${was}: give it a name first`)
  }
  if (errors > before.errors) throw new Refused(`the pipeline would have a problem that it does not have now: a variable may name ${old}`)
}
