/** Top-level listeners: one that other hosts can reach needs a secret, or an explicit opt-out. */
import { expect, test } from 'vitest'
import { loadText } from '../../src/config/load.ts'

const problemsOf = async (listener: string) => {
  const text = `name: p\nsources: [{ stdin: {} }]\nsinks: [{ stdout: {} }]\n${listener}\n`
  return (await loadText('p.yaml', text, { env: {} })).problems.map(p => [p.path, p.message])
}

test.each([
  ['metrics', (more: string) => `metrics: { port: 9100, host: 0.0.0.0${more} }`, 'metrics.host'],
  [
    'endpoints',
    (more: string) => `endpoints: [{ path: /h, port: 9100, host: 0.0.0.0, body: { ok: healthy }${more} }]`,
    'endpoints[0].host',
  ],
])('%s: an address that other hosts can reach', async (_, listener, path) => {
  const [problem, ...others] = await problemsOf(listener(''))
  expect(problem).toEqual([
    path,
    expect.stringMatching(/^0\.0\.0\.0 can be reached from other hosts, so anyone there can read the status of the pipeline/),
  ])
  expect(others).toEqual([])
  for (const more of [', token: secret', ', allow_unauthenticated: true']) expect(await problemsOf(listener(more))).toEqual([])
  for (const more of ['127.0.0.1', 'localhost', '"::1"']) expect(await problemsOf(listener('').replace('0.0.0.0', more))).toEqual([])
})
