/** The places of a pipeline that name a step, to rename it or to find it. */
import { fieldPaths } from '../expressions/index.ts'
import { endpointExpressions } from './endpoints.ts'
import type { FoundSteps } from './load.ts'
import { isRoute } from './route.ts'
import { spanInScalar } from './scalar.ts'
import type { Schema } from './schema.ts'
import { find, type ScalarNode, type Span, type TreeNode } from './tree.ts'

export interface StepReference {
  /** The whole name: with its route and branch, for a step in a branch. */
  readonly name: string
  /** Only the name as it is written, without the port or quotes. */
  readonly span: Span
  /** The `name:` of the step itself. */
  readonly declares: boolean
}

const text = (node: TreeNode | undefined): node is ScalarNode & { value: string } =>
  node?.kind === 'scalar' && typeof node.value === 'string'

/** A value in an expression that is compared with the name of the source of a record. */
const COMPARED = /meta\.source\s*(?:==|!=)\s*(["'])([\w-]+)\1|(["'])([\w-]+)\3\s*(?:==|!=)\s*meta\.source/g

export function stepReferences({ root, names }: FoundSteps): StepReference[] {
  const found: StepReference[] = []
  const add = (node: ScalarNode, start: number, written: string, name?: string): void => {
    const span = spanInScalar(node, start, start + written.length)
    if (span && !span.nearby) found.push({ name: name ?? written, span, declares: name !== undefined })
  }
  const compared = (node: TreeNode): void => {
    if (node.kind === 'map') for (const { value } of node.entries.values()) compared(value)
    else if (node.kind === 'seq') node.items.forEach(compared)
    else if (text(node))
      for (const match of node.value.matchAll(COMPARED)) {
        const name = match[2] ?? match[4]
        add(node, match.index + match[0].indexOf(name, match[2] === undefined ? 0 : match[0].search(/["']/)), name)
      }
  }
  /** The sinks of branches. */
  const ends = (branches: TreeNode): void => {
    for (const branch of branches.kind === 'seq' ? branches.items : []) {
      const to = branch.kind === 'map' ? branch.entries.get('to')?.value : undefined
      for (const sink of to?.kind === 'seq' ? to.items : [to]) if (text(sink)) add(sink, 0, sink.value)
    }
  }
  for (const [step, full] of names) {
    const name = step.node.entries.get('name')?.value
    if (text(name)) add(name, 0, name.value, full)
    const from = step.node.entries.get('from')?.value
    if (text(from)) add(from, 0, from.value.split('.')[0])
    for (const [property, { format }] of Object.entries((step.plugin.schema as Schema).properties ?? {})) {
      const node = format === 'source_step' ? find(step.tree, [property]) : undefined
      if (node && !node.partial && text(node.node)) add(node.node, 0, node.node.value)
    }
    if (isRoute(step)) ends(find(step.tree, ['branches']).node)
    if (!step.within) compared(step.node)
  }
  for (const { node } of endpointExpressions(root))
    for (const { names: path, ranges } of fieldPaths(String(node.value)))
      if (path[0] === 'steps' && path[1] !== undefined) add(node, ranges[1].start, path[1])
  return found
}
