/** The outline of a file: sources, transforms and sinks with their names; the tests of a test file. */
import { parseText } from '../../config/parse.ts'
import { Problems } from '../../config/problems.ts'
import { COMMON_KEYS } from '../../config/frame.ts'
import { type MapNode, SourceText, type Span, type TreeNode } from '../../config/tree.ts'
import type { FileKind } from './schemas.ts'

export interface Outline {
  readonly name: string
  readonly detail: string
  readonly kind: 'section' | 'step' | 'part'
  readonly whole: Span
  readonly at: Span
  readonly children: readonly Outline[]
}

const COMMON = new Set([...Object.values(COMMON_KEYS).flat(), 'use', 'with'])

export function outline(file: FileKind, path: string, text: string): Outline[] {
  const root = parseText(new SourceText(path, text), new Problems(), true)
  if (root?.kind !== 'map') return []
  return [...root.entries].flatMap(([name, { key, value }]): Outline[] => {
    const whole = { ...key, end: Math.max(key.end, value.span.end) }
    const items = value.kind === 'seq' ? value.items : []
    if (file === 'pipeline' && name === 'dlq' && value.kind === 'map') return [{ ...step(value), name, whole, at: key }]
    const steps = file === 'pipeline' && ['sources', 'transforms', 'sinks'].includes(name)
    if (!steps && !(file === 'test' && name === 'tests') && !(file === 'catalog' && name === 'topics') && file !== 'shared') return []
    const children = items.flatMap(item => (item.kind === 'map' ? [step(item)] : []))
    return [{ name, detail: '', kind: file === 'shared' ? 'part' : 'section', whole, at: key, children }]
  })
}

function step(node: MapNode): Outline {
  const [type, first] = [...node.entries].find(([key]) => !COMMON.has(key)) ?? [...node.entries][0] ?? ['', undefined]
  const named = textOf(node.entries.get('name')?.value) ?? textOf(node.entries.get('use')?.value)
  const at = node.entries.get('name')?.key ?? first?.key ?? { ...node.span, end: node.span.start }
  return {
    name: named ?? (type || 'step'),
    detail: named === undefined ? '' : type,
    kind: 'step',
    whole: node.span,
    at,
    children: type === 'route' ? branches(first!.value) : [],
  }
}

/** The branches of a route with their steps. */
function branches(node: TreeNode): Outline[] {
  const list = node.kind === 'map' ? node.entries.get('branches')?.value : node
  return (list?.kind === 'seq' ? list.items : []).flatMap((branch): Outline[] => {
    if (branch.kind !== 'map') return []
    const { name, at } = step(branch)
    const steps = branch.entries.get('steps')?.value
    const children = (steps?.kind === 'seq' ? steps.items : []).flatMap(item => (item.kind === 'map' ? [step(item)] : []))
    return [{ name, detail: 'branch', kind: 'part', whole: branch.span, at, children }]
  })
}

const textOf = (node: TreeNode | undefined): string | undefined =>
  node?.kind === 'scalar' && typeof node.value === 'string' && node.value !== '' ? node.value : undefined
