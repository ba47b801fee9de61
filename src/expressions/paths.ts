/** The names that an expression reads, for checks against the existing names. */
import type { CelNode } from './cel.ts'
import { FIELD } from './cel.ts'
import { prepare } from './prepare.ts'

export interface FieldPath {
  /** `steps.kafka.healthy` and `steps["kafka"].healthy` are the same. */
  readonly names: readonly string[]
  /** The position of each name in the text; `end` exclusive. */
  readonly ranges: readonly { readonly start: number; readonly end: number }[]
}

/** The literal part of every field path; empty for a text with problems. */
export function fieldPaths(text: string): FieldPath[] {
  const prepared = prepare(text)
  if ('problems' in prepared) return []
  const found: FieldPath[] = []
  const seen = new Set<CelNode>()
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit)
    if (!isNode(node) || seen.has(node)) return
    seen.add(node)
    const path = pathOf(node, text)
    if (path) found.push(path)
    else visit(node.args)
    if (node.meta?.alternate) visit(node.meta.alternate)
  }
  visit(prepared.program.ast)
  return found
}

const isNode = (v: unknown): v is CelNode => typeof v === 'object' && v !== null && 'op' in v && 'args' in v

function pathOf(node: CelNode, text: string): FieldPath | undefined {
  if (node.op === 'id') {
    const name = String(node.args)
    if (!name.startsWith(FIELD)) return undefined
    return { names: [name.slice(FIELD.length)], ranges: [{ start: node.start, end: node.start + name.length - FIELD.length }] }
  }
  const step = node.op === '.' || node.op === '.?' ? (node.args[1] as unknown) : literalIndex(node)
  if (typeof step !== 'string') return undefined
  const before = pathOf(node.args[0] as CelNode, text)
  if (!before) return undefined
  const start = text.indexOf(step, (node.args[0] as CelNode).end)
  return { names: [...before.names, step], ranges: [...before.ranges, { start, end: start + step.length }] }
}

function literalIndex(node: CelNode): unknown {
  if (node.op !== '[]' && node.op !== '[?]') return undefined
  const index = node.args[1] as CelNode
  return index.op === 'value' ? (index.args as unknown) : undefined
}
