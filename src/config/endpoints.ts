/** Status endpoints may only name what there is: a typo would say "unhealthy" for ever. */
import { ENDPOINT_FIELDS, STEP_FIELDS } from '../kit/http/status-fields.ts'
import type { Problems } from './problems.ts'
import { spanInScalar } from './scalar.ts'
import { suggest } from '../kit/text/suggest.ts'
import type { MapNode, Path, ScalarNode, TreeNode } from './tree.ts'

export async function checkEndpoints(root: MapNode, steps: readonly string[], problems: Problems): Promise<void> {
  const list = root.entries.get('endpoints')?.value
  if (list?.kind !== 'seq' || list.items.length === 0) return
  const { fieldPaths } = await import('../expressions/index.ts')

  const check = (node: ScalarNode, path: Path, fields: readonly string[]): void => {
    for (const { names, ranges } of fieldPaths(String(node.value))) {
      const say = (level: number, what: string, known: readonly string[]): void => {
        const { start, end } = ranges[level]
        const message = `there is no ${what} ${names[level]}; there ${known.length === 1 ? 'is' : 'are'} ${known.join(', ')}`
        problems.add('CONFIG_EXPRESSION', spanInScalar(node, start, end) ?? node.span, path, message, suggest(names[level], known))
      }
      if (names[0] === 'value') continue
      if (!fields.includes(names[0])) say(0, 'field', fields)
      else if (names[0] === 'steps' && names[1] !== undefined && !steps.includes(names[1])) say(1, 'step', steps)
      else if (names[0] === 'steps' && names[2] !== undefined && !STEP_FIELDS.includes(names[2])) say(2, 'field', STEP_FIELDS)
    }
  }
  const walk = (node: TreeNode, path: Path): void => {
    if (node.kind === 'map') for (const [key, entry] of node.entries) walk(entry.value, [...path, key])
    else if (node.kind === 'seq') node.items.forEach((item, i) => walk(item, [...path, i]))
    else if (typeof node.value === 'string') check(node, path, ENDPOINT_FIELDS)
  }
  list.items.forEach((item, i) => {
    if (item.kind !== 'map') return
    const healthy = item.entries.get('healthy')?.value
    if (healthy?.kind === 'scalar' && typeof healthy.value === 'string')
      check(
        healthy,
        ['endpoints', i, 'healthy'],
        ENDPOINT_FIELDS.filter(f => f !== 'healthy'),
      )
    const body = item.entries.get('body')?.value
    if (body) walk(body, ['endpoints', i, 'body'])
  })
}
