import { createServer, type Server } from 'node:http'
import { afterAll, describe, expect, test } from 'vitest'
import type { RunnerStatusSourceConfig } from '../../../src/generated/config-types.ts'
import status from '../../../src/connectors/runner_status/source.ts'
import type { PipelineRun } from '../../../src/runtime/pipeline.ts'
import { observe } from '../../../src/runtime/telemetry/observed.ts'
import { fakeSourceContext } from '../../../src/testing/conformance/context.ts'
import { readAll, sourceConformance } from '../../conformance/source.ts'
import { freePorts } from '../../support/servers/ports.ts'

const config = (c: Partial<RunnerStatusSourceConfig> = {}): RunnerStatusSourceConfig => ({
  every: 60_000,
  urls: [],
  timeout: 30_000,
  rounds: 1,
  ...c,
})

sourceConformance('runner_status', { plugin: status, prepare: async () => ({ config: config(), expected: [] }) })

const servers: Server[] = []
afterAll(() => Promise.all(servers.map(s => new Promise(resolve => s.close(resolve)))))

async function round(c: Partial<RunnerStatusSourceConfig>): Promise<[string | null, unknown][]> {
  const source = status.create(config(c), fakeSourceContext('status'))
  await source.open!(new AbortController().signal)
  return (await readAll(source)).flatMap(b => b.messages.map(m => [m.key, m.value] as [string | null, unknown]))
}

describe('runner_status', () => {
  test('lists the pipelines of this process while they run', async () => {
    const run = {
      notReady: () => ['source kafka: peer unreachable'],
      built: {
        pipeline: { name: 'bars', version: 2 },
        meters: {
          sum: (kind: string) => (kind === 'source' ? 5 : 3),
          steps: [
            { dead: 1, retries: 2 },
            { dead: 1, retries: 0 },
          ],
          totalLag: () => 7,
          lowestWatermark: () => undefined,
        },
      },
    } as unknown as PipelineRun
    const forget = observe([run])
    const expected = {
      pipeline: 'bars',
      version: 2,
      status: 'not_ready',
      problems: ['source kafka: peer unreachable'],
      in: 5,
      out: 3,
      dead: 2,
      lag: 7,
      retries: 2,
      watermark: null,
    }
    expect(await round({})).toEqual([['bars', expected]])
    forget()
    expect(await round({})).toEqual([])
  })

  test('lists other runners, and those that do not respond', async () => {
    const [port, closed] = await freePorts(2)
    const body = {
      status: 'not ready',
      pipelines: [
        { pipeline: 'a', problems: [] },
        { pipeline: 'b', problems: ['starting'] },
      ],
    }
    const server = createServer((_, response) => response.writeHead(503).end(JSON.stringify(body)))
    servers.push(server)
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${port}`
    const gone = `http://127.0.0.1:${closed}`
    expect(await round({ urls: `${url}, ${gone}` })).toEqual([
      ['a', { url, pipeline: 'a', status: 'ok', problems: [] }],
      ['b', { url, pipeline: 'b', status: 'not_ready', problems: ['starting'] }],
      [gone, { url: gone, pipeline: null, status: 'unreachable', problems: [expect.stringContaining('ECONNREFUSED')] }],
    ])
    server.closeAllConnections()
  })

  test('errors in a config are reported', () => {
    expect(status.validateConfig!(config({ every: 0, urls: ['a:8000', 'http://x'] })).map(p => p.path)).toEqual([['every'], ['urls']])
  })
})
