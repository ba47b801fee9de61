/** A pipeline file with everything that it uses in its place: what `runner explain --resolved` prints. Variables stay references. */
import { Scalar, stringify } from 'yaml'
import { literalParameters } from '../config/variables.ts'
import { type MapNode, toExactValue, type TreeNode } from '../config/tree.ts'
import { ExactNumber } from '../contract/plugin.ts'
import { maskUrl, redact } from '../kit/text/secrets.ts'

export const toYaml = (tree: MapNode): string => redact(stringify(plain(tree), { lineWidth: 0, flowCollectionPadding: true })).trimEnd()

function plain(node: TreeNode): unknown {
  if (node.kind === 'seq') return node.items.map(plain)
  if (node.kind === 'map') return Object.fromEntries([...node.entries].map(([key, { value }]) => [key, plain(value)]))
  const value = toExactValue(node)
  if (value instanceof ExactNumber) {
    const scalar = new Scalar(Number(value.text))
    scalar.source = value.text
    return scalar
  }
  return typeof value === 'string' ? maskUrl(literalParameters(node, value)) : value
}
