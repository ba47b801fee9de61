import '../../src/built-in.ts'
import { afterEach, expect, test, vi } from 'vitest'
import { loadText } from '../../src/config/load.ts'
import { describe as explain } from '../../src/explain/describe.ts'
import { toText } from '../../src/explain/text.ts'

const FILE = `name: p
sources: [{ websocket: { url: "wss://feed.example.com" } }]
sinks: [{ http: { url: "https://example.com/in" } }, { file: out.jsonl }]
`
const NAMES = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'NODE_USE_ENV_PROXY', 'NODE_OPTIONS']
afterEach(() => vi.unstubAllEnvs())

async function proxies(env: Record<string, string>) {
  for (const name of NAMES) vi.stubEnv(name, env[name] ?? '')
  const { pipeline, problems } = await loadText('p.yaml', FILE)
  expect(problems).toEqual([])
  const explanation = explain(pipeline!)
  return { found: explanation.proxies, text: toText(explanation, (_, text) => text) }
}

test('explain shows for each HTTP connection whether it goes through the proxy of the environment', async () => {
  const without = await proxies({})
  expect(without.found).toEqual({})
  expect(without.text).not.toContain('Proxies')
  const unused = await proxies({ HTTPS_PROXY: 'http://proxy:3128' })
  expect(unused.found).toEqual({
    'websocket, feed': 'connects directly, not through HTTPS_PROXY',
    'websocket, snapshots': 'connects directly; to use HTTPS_PROXY, set NODE_USE_ENV_PROXY=1',
    'http, requests': 'connects directly; to use HTTPS_PROXY, set NODE_USE_ENV_PROXY=1',
  })
  expect(unused.text).toContain('Proxies\n  websocket, feed       connects directly')
  const used = await proxies({ HTTPS_PROXY: 'http://proxy:3128', HTTP_PROXY: 'http://proxy:3128', NODE_USE_ENV_PROXY: '1' })
  expect(used.found['http, requests']).toBe('through HTTPS_PROXY and HTTP_PROXY, except for the hosts in NO_PROXY')
  expect(used.found['websocket, feed']).toBe('connects directly, not through HTTPS_PROXY and HTTP_PROXY')
})
