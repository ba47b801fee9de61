/** Checks that status endpoints refer to existing steps: with a typo, the status would always be "unhealthy". */
import type { Problems } from './problems.ts'
import { spanInScalar } from './scalar.ts'
import { suggest } from '../kit/text/suggest.ts'
import { isLoopback } from '../kit/http/loopback.ts'
import type { EndpointConfig, ListenerConfig, MetricsConfig } from './model.ts'
import { find, type MapNode, nearby, type Path, type ScalarNode, type TreeNode } from './tree.ts'

/** Names of what the expressions of an endpoint see; the checker knows them without loading the runtime. */
export const STEP_FIELDS = ['kind', 'in', 'out', 'dead', 'retries', 'healthy']
export const ENDPOINT_FIELDS = ['pipeline', 'ready', 'problems', 'reasons', 'healthy', 'lag', 'steps', 'metrics']

/** A listener that other hosts can reach requires `token` or `allow_unauthenticated`. */
export function checkListeners(
  root: MapNode,
  value: { metrics?: MetricsConfig; endpoints?: readonly EndpointConfig[] } | undefined,
  problems: Problems,
): void {
  const check = (listener: ListenerConfig & { readonly host: string }, path: Path, variables: string): void => {
    // A misspelled `token` is reported already.
    if (problems.hasBelow(path)) return
    if (typeof listener.host !== 'string' || isLoopback(listener.host) || listener.token || listener.allow_unauthenticated) return
    const found = find(root, [...path, 'host'])
    const message = `${listener.host} can be reached from other hosts, so anyone there can read the status of the pipeline: set token, or allow_unauthenticated: true${variables}`
    problems.add('CONFIG_CHECK', found.partial ? nearby(found.key ?? root.span) : found.node.span, [...path, 'host'], message, '127.0.0.1')
  }
  const { metrics, endpoints } = value ?? {}
  if (metrics?.enabled === true) check(metrics, ['metrics'], ' (KAFKA_METRICS_TOKEN, KAFKA_METRICS_ALLOW_UNAUTHENTICATED)')
  if (Array.isArray(endpoints)) endpoints.forEach((endpoint, i) => check(endpoint as EndpointConfig, ['endpoints', i], ''))
}

/** An expression of an endpoint, and the fields that it can read. */
export interface EndpointExpression {
  readonly node: ScalarNode
  readonly path: Path
  readonly fields: readonly string[]
}

export function endpointExpressions(root: MapNode): readonly EndpointExpression[] {
  const list = root.entries.get('endpoints')?.value
  const found: EndpointExpression[] = []
  const walk = (node: TreeNode, path: Path): void => {
    if (node.kind === 'map') for (const [key, entry] of node.entries) walk(entry.value, [...path, key])
    else if (node.kind === 'seq') node.items.forEach((item, i) => walk(item, [...path, i]))
    else if (typeof node.value === 'string') found.push({ node, path, fields: ENDPOINT_FIELDS })
  }
  for (const [i, item] of list?.kind === 'seq' ? list.items.entries() : []) {
    if (item.kind !== 'map') continue
    const healthy = item.entries.get('healthy')?.value
    if (healthy?.kind === 'scalar' && typeof healthy.value === 'string')
      found.push({ node: healthy, path: ['endpoints', i, 'healthy'], fields: ENDPOINT_FIELDS.filter(f => f !== 'healthy') })
    const body = item.entries.get('body')?.value
    if (body) walk(body, ['endpoints', i, 'body'])
  }
  return found
}

export async function checkEndpoints(root: MapNode, steps: readonly string[], problems: Problems): Promise<void> {
  const expressions = endpointExpressions(root)
  if (expressions.length === 0) return
  const { fieldPaths } = await import('../expressions/index.ts')
  for (const { node, path, fields } of expressions) {
    for (const { names, ranges } of fieldPaths(String(node.value))) {
      const say = (level: number, what: string, known: readonly string[]): void => {
        const { start, end } = ranges[level]
        const message = `there is no ${what} ${names[level]}; there ${known.length === 1 ? 'is' : 'are'} ${known.join(', ')}`
        problems.add('CONFIG_EXPRESSION', spanInScalar(node, start, end) ?? nearby(node.span), path, message, suggest(names[level], known))
      }
      if (names[0] === 'value') continue
      if (!fields.includes(names[0])) say(0, 'field', fields)
      else if (names[0] === 'steps' && names[1] !== undefined && !steps.includes(names[1])) say(1, 'step', steps)
      else if (names[0] === 'steps' && names[2] !== undefined && !STEP_FIELDS.includes(names[2])) say(2, 'field', STEP_FIELDS)
    }
  }
}
