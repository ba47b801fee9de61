/** The proxy of the environment (`HTTP_PROXY`, `HTTPS_PROXY`), and which connections go through it. */

/** `node`: as Node.js is set, `always`: the client heeds the variables itself, `never`: connects directly. */
export type ProxyUse = 'node' | 'always' | 'never'

const variables = (protocol: string): string[] =>
  protocol === 'https:' || protocol === 'wss:' ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy', 'HTTP_PROXY']

/** Whether Node.js is set to use the proxy of the environment. */
export const usesProxy = (env = process.env): boolean =>
  env.NODE_USE_ENV_PROXY === '1' || (env.NODE_OPTIONS ?? '').includes('--use-env-proxy')

/** The variable that sets a proxy for a protocol, and whether Node.js uses it. */
export function proxyOf(protocol: string, env = process.env): { readonly name: string; readonly used: boolean } | undefined {
  const name = variables(protocol).find(n => (env[n] ?? '') !== '')
  if (name === undefined) return undefined
  // Older versions of Node.js do not support the setting.
  return { name, used: usesProxy(env) && process.allowedNodeEnvironmentFlags.has('--use-env-proxy') }
}

/** A sentence about a connection; undefined without a proxy in the environment. */
export function describeProxy(use: ProxyUse, env = process.env): string | undefined {
  const set = ['https:', 'http:'].flatMap(protocol => proxyOf(protocol, env) ?? [])
  if (set.length === 0) return undefined
  const names = set.map(p => p.name).join(' and ')
  if (use === 'never') return `connects directly, not through ${names}`
  if (use === 'always' || set[0].used) return `through ${names}, except for the hosts in NO_PROXY`
  return `connects directly; to use ${names}, set NODE_USE_ENV_PROXY=1`
}
