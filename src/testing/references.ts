/** The places of a test file that name a step of its pipeline. */
import { spanInScalar } from '../config/scalar.ts'
import type { MapNode, ScalarNode, Span, TreeNode } from '../config/tree.ts'
import { isChannel } from './expectation.ts'

export interface TestReference {
  readonly name: string
  readonly span: Span
}

const child = (node: TreeNode | undefined, key: string): TreeNode | undefined =>
  node?.kind === 'map' ? node.entries.get(key)?.value : undefined
const items = (node: TreeNode | undefined): readonly TreeNode[] => (node?.kind === 'seq' ? node.items : [])

export function testReferences(root: TreeNode): TestReference[] {
  const found: TestReference[] = []
  const inText = (span: Span, start: number, name: string): void => {
    const quoted = /^["']/.test(span.source.text.slice(span.start, span.start + 1)) ? 1 : 0
    const at = span.start + quoted + start
    // A key with escapes has other characters there.
    if (span.source.text.slice(at, at + name.length) === name)
      found.push({ name, span: { source: span.source, start: at, end: at + name.length } })
  }
  const keys = (node: TreeNode | undefined): void => {
    if (node?.kind === 'map') for (const [name, { key }] of node.entries) inText(key, 0, name)
  }
  const messages = (node: TreeNode | undefined): void => {
    for (const item of items(node?.kind === 'map' ? child(node, 'messages') : node)) {
      const step = child(item, 'step') as ScalarNode | undefined
      if (step?.kind !== 'scalar' || typeof step.value !== 'string') continue
      const span = spanInScalar(step, 0, step.value.length)
      if (span) found.push({ name: step.value, span })
    }
  }
  const expectation = (node: TreeNode | undefined): void => {
    const outputs = child(node, 'outputs')
    if (outputs?.kind === 'map' && !isChannel(outputs as MapNode)) keys(outputs)
    messages(child(node, 'dead_letters'))
    const metrics = child(node, 'metrics')
    if (metrics?.kind !== 'map') return
    for (const [name, { key, value }] of metrics.entries) {
      if (value.kind === 'map') inText(key, 0, name)
      for (const match of name.matchAll(/\bstep="([^"\\]*)"/g)) inText(key, match.index + 'step="'.length, match[1])
    }
  }
  keys(child(root, 'stubs'))
  for (const test of items(child(root, 'tests'))) {
    keys(child(test, 'stubs'))
    expectation(child(test, 'expect'))
    for (const step of items(child(test, 'steps'))) {
      keys(child(step, 'input'))
      expectation(child(step, 'expect'))
    }
  }
  return found
}
