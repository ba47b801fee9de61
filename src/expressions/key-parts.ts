/** The values that determine an expression, as comparable text, to check that all records of a group are on one lane. */
import { type CelNode, FIELD, META, VALUE } from './cel.ts'
import { prepare } from './prepare.ts'

/**
 * Two records with equal parts have the same result. A list, a map and a concatenation have the parts of their elements, literals have
 * none; every other expression is one part. An expression without parts has the same result for all records.
 * @param origin the parts of a field (`user.id`; '' is the whole value) or of `$meta.key`; undefined: unknown
 * @returns undefined if a field is unknown or `check` finds problems in the text
 */
export function keyParts(text: string, origin: (path: string) => readonly string[] | undefined): readonly string[] | undefined {
  const prepared = prepare(text)
  if ('problems' in prepared) return undefined
  const parts = partsOf(prepared.program.ast, origin)
  return parts && [...new Set(parts)].sort()
}

type Origin = (path: string) => readonly string[] | undefined

function partsOf(node: CelNode, origin: Origin): readonly string[] | undefined {
  const path = pathOf(node)
  if (path !== undefined) return origin(path)
  switch (node.op) {
    case 'value':
      return []
    case 'list':
      return all(node.args as CelNode[], origin)
    case 'map':
      return all(
        (node.args as [CelNode, CelNode][]).map(([, value]) => value),
        origin,
      )
    case '+':
      return node.checkedType?.name === 'string' || hasText(node) ? all(node.args as CelNode[], origin) : one(node, origin)
    case 'call':
      if (node.args[0] === 'string') return partsOf((node.args[1] as CelNode[])[0], origin)
      return one(node, origin)
    default:
      return one(node, origin)
  }
}

const hasText = (node: CelNode): boolean =>
  (node.op === 'value' && typeof node.args === 'string') || (node.op === '+' && (node.args as CelNode[]).some(hasText))

function all(nodes: readonly CelNode[], origin: Origin): readonly string[] | undefined {
  const parts = nodes.map(n => partsOf(n, origin))
  return parts.includes(undefined) ? undefined : parts.flatMap(p => p!)
}

function one(node: CelNode, origin: Origin): readonly string[] | undefined {
  const found = { known: true, reads: 0 }
  const text = textOf(node, origin, found)
  if (!found.known) return undefined
  return found.reads === 0 ? [] : [text]
}

/** The tree as text, with the origins of fields, so it does not depend on the notation of the expression. */
function textOf(node: unknown, origin: Origin, found: { known: boolean; reads: number }): string {
  if (Array.isArray(node)) return `(${node.map(n => textOf(n, origin, found)).join(',')})`
  if (typeof node !== 'object' || node === null) return typeof node === 'bigint' ? `${node}` : (JSON.stringify(node) ?? 'undefined')
  if (!('op' in node))
    return `{${Object.entries(node)
      .map(([key, value]) => `${key}:${textOf(value, origin, found)}`)
      .join(',')}}`
  const { op, args } = node as CelNode
  const path = pathOf(node as CelNode)
  if (path !== undefined) {
    const parts = origin(path)
    found.reads++
    if (parts === undefined) found.known = false
    return (parts ?? []).join('&')
  }
  return `${op}${textOf(args, origin, found)}`
}

/** `a.b`, `value.a.b` and `value["a"]` are paths of the value; paths of the message start with `$meta`. */
function pathOf(node: CelNode): string | undefined {
  if (node.op === 'id') {
    const name = String(node.args)
    if (name === VALUE) return ''
    if (name === META) return '$meta'
    return name.startsWith(FIELD) ? name.slice(FIELD.length) : undefined
  }
  const index = node.op === '[]' || node.op === '[?]' ? (node.args[1] as CelNode) : undefined
  const step = node.op === '.' || node.op === '.?' ? (node.args[1] as unknown) : index?.op === 'value' ? (index.args as unknown) : undefined
  if (typeof step !== 'string') return undefined
  const before = pathOf(node.args[0] as CelNode)
  return before === undefined ? undefined : before === '' ? step : `${before}.${step}`
}
