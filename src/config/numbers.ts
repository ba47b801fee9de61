/** A number of a pipeline file is a double. One that a double does not hold would be another number, and nothing would say so. */
import { ExactNumber, isJsonNumber } from '../contract/plugin.ts'
import type { Problems } from './problems.ts'
import type { Path, TreeNode } from './tree.ts'

export function checkNumbers(node: TreeNode, path: Path, problems: Problems): void {
  if (node.kind === 'map') for (const [key, entry] of node.entries) checkNumbers(entry.value, [...path, key], problems)
  else if (node.kind === 'seq') node.items.forEach((item, i) => checkNumbers(item, [...path, i], problems))
  else if (typeof node.value === 'number') {
    const { source, start, end } = node.span
    const text = source.text.slice(start, end)
    if (isHeld(text, node.value)) return
    const instead = path.includes('schema') ? 'put the schema into a file and name it in `schema_file`' : 'write it as text, in quotes'
    problems.add('CONFIG_VALUE', node.span, path, `${text} would be read as ${node.value}: ${instead}`)
  }
}

function isHeld(text: string, value: number): boolean {
  const plain = text.replace(/^\+/, '')
  // Beyond the range of a double is a problem of its own.
  if (isJsonNumber(plain)) return !Number.isFinite(Number(plain)) || new ExactNumber(plain).plain !== undefined
  // 0x…, 0o…, .5, .inf: only whole ones can lose something that a person has written.
  return !Number.isInteger(value) || Number.isSafeInteger(value)
}
