/** Hover: the type and description of a key, and of a field in an expression. */
import { describeKey } from '../../config/describe.ts'
import { typescriptOf } from '../../config/flow/typescript.ts'
import type { FlowUse } from '../../config/flow/flow.ts'
import { loadLanguage } from '../../expressions/on-demand.ts'
import { find, type ScalarNode } from '../../config/tree.ts'
import { type RecordType, typeAt } from '../../expressions/record-type.ts'
import { indexIn, type Range, type Token, tokenAt } from './cursor.ts'
import { placeAt } from './schemas.ts'
import type { Checked, Workspace } from './workspace.ts'

export interface Hover {
  /** Markdown. */
  readonly text: string
  readonly range: Range
}

const MAX_TYPE = 2000

export async function hover(space: Workspace, path: string, text: string, offset: number): Promise<Hover | undefined> {
  const checked = await space.current(path)
  const kind = checked?.kind
  const token = kind && tokenAt(path, text, offset)
  if (!token) return undefined
  if (token.on === 'value') {
    const inside = (await variable(space, token, text, offset)) ?? (await expression(space, path, checked, token, text, offset))
    if (inside) return inside
  }
  const registry = space.registry(path)
  const key = token.path.at(-1)
  const above = token.path.slice(0, -1)
  const place = await placeAt(kind, token.root, above, registry)
  if (place.step && token.on === 'key' && typeof key === 'string') {
    const own = place.step.kinds.find(k => registry.has(k, key))
    const plugin = own && (await registry.load(own, key))
    if (plugin)
      return { text: `**${key}** (${own})\n\n${(plugin.schema as { description?: string }).description ?? ''}`, range: token.range }
  }
  const schema = place.options.map(o => o.properties?.[String(key)]).find(Boolean)
  if (!schema) return undefined
  const { type, text: about, fallback } = describeKey(schema, place.root)
  const more = fallback === undefined ? '' : `, default ${fallback}`
  return { text: `**${String(key)}**: ${type}${more}\n\n${about}`, range: token.range }
}

/** Whether a variable is set; never its value. */
async function variable(space: Workspace, { node }: Token, text: string, offset: number): Promise<Hover | undefined> {
  const { start, end } = node!.span
  const written = text.slice(start, Math.min(end, start + 10_000))
  for (const match of written.matchAll(/(?<!\$)\$\{([A-Za-z_]\w*)[^}]*\}|(?<![\w.])env\s*\.\s*\??\s*([A-Za-z_]\w*)/g)) {
    const from = start + match.index
    if (offset < from || offset > from + match[0].length) continue
    const name = match[1] ?? match[2]
    const state = space.env()[name] === undefined ? 'not set in the environment of the editor' : 'set'
    return { text: `environment variable **${name}**: ${state}`, range: { start: from, end: from + match[0].length } }
  }
  return undefined
}

/** The expression or field path that is written at an offset, and its value in the file. */
function useAt(checked: Checked, path: string, offset: number): { readonly use: FlowUse; readonly node: ScalarNode } | undefined {
  const steps = checked.steps && new Map([...checked.steps.names].map(([step, name]) => [name, step]))
  for (const use of checked.flow?.uses ?? []) {
    const step = steps?.get(use.step.name)
    if (!step) continue
    const { node, partial } = use.key === undefined ? find(step.tree, use.path) : find(step.node, [use.key])
    if (node.kind !== 'scalar' || partial || node.span.source.file !== path) continue
    if (node.span.start <= offset && offset <= node.span.end) return { use, node }
  }
  return undefined
}

async function expression(
  space: Workspace,
  path: string,
  checked: Checked,
  token: Token,
  text: string,
  offset: number,
): Promise<Hover | undefined> {
  const users = checked.kind === 'shared' ? space.usersOf(path).map(user => space.checked.get(user)!) : [checked]
  const found = users.map(user => useAt(user, path, offset)).find(Boolean)
  const word = /[\w]+/g
  const line = text.lastIndexOf('\n', offset - 1) + 1
  word.lastIndex = line
  let at: RegExpExecArray | null
  while ((at = word.exec(text)) && at.index + at[0].length < offset);
  const range = at && at.index <= offset ? { start: at.index, end: at.index + at[0].length } : token.range
  if (found && found.node.substitution === undefined) {
    const { use, node } = found
    const index = indexIn(node, offset)
    const place = index === undefined ? -1 : index - (use.offset ?? 0)
    for (const { root, names, ranges } of use.inferred.reads) {
      const i = ranges.findIndex(r => r.start <= place && place <= r.end)
      if (i >= 0) return { text: shown(names.slice(0, i + 1).join('.'), typeAt(root, names.slice(0, i + 1))), range }
    }
  }
  const called = at && text.slice(range.end, range.end + 1) === '(' && isExpression(found?.use, token) ? at[0] : undefined
  if (called !== undefined) {
    const { FUNCTIONS } = await loadLanguage()
    const dotted = new RegExp(`(\\w+)\\.${called}$`).exec(text.slice(Math.max(0, range.start - 100), range.end))?.[1]
    const f = FUNCTIONS.find(x => x.name === `${dotted}.${called}`) ?? FUNCTIONS.find(x => x.name === called)
    if (f) return { text: `\`${f.usage}\`\n\n${f.description}`, range }
  }
  if (!found || found.use.kind === 'field') return undefined
  return { text: shown('expression', found.use.inferred.type), range: token.range }
}

const isExpression = (use: FlowUse | undefined, { node }: Token): boolean =>
  use?.kind === 'expression' || (use === undefined && node?.kind === 'scalar')

function shown(name: string, type: RecordType): string {
  const written = typescriptOf(type, '')
  const text = written.length > MAX_TYPE ? `${written.slice(0, MAX_TYPE)}…` : written
  return `\`\`\`ts\n${name}: ${text}\n\`\`\``
}
