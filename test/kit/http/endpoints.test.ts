import { afterEach, expect, test } from 'vitest'
import { loadText } from '../../../src/config/load.ts'
import type { EndpointConfig } from '../../../src/config/model.ts'
import { serveEndpoints, statusOf } from '../../../src/runtime/telemetry/endpoints.ts'
import type { Attachment } from '../../../src/kit/http/listener.ts'
import type { PipelineRun } from '../../../src/runtime/pipeline.ts'
import { serveTelemetry } from '../../../src/runtime/telemetry/server.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { MemoryLog, pipelineOf, start } from '../../runtime/harness.ts'

const open: Attachment[] = []
afterEach(async () => {
  for (const a of open.splice(0)) await a.detach()
})

function runWith(endpoints: EndpointConfig[], name = 'test'): { run: PipelineRun; healthy: (v: boolean) => void } {
  let ok = true
  const pipeline = pipelineOf(new MemoryLog({ lanes: { a: [1, 2, 3] }, batch: () => 2, endless: true }), [], { name, endpoints })
  const { create } = pipeline.sinks[0].plugin
  pipeline.sinks[0].plugin.create = (config, ctx) => ({ ...create(config, ctx), healthy: () => ok })
  return { run: start(pipeline), healthy: v => (ok = v) }
}

test('the response has the results of the expressions over the running pipeline, and status 503 if the condition is false', async () => {
  const [port] = await freePorts(1)
  const endpoint: EndpointConfig = {
    path: '/health/kafka',
    host: '127.0.0.1',
    port,
    healthy: 'steps.out.healthy && metrics.backlog < 10',
    body: {
      status: 'healthy ? "healthy" : "unhealthy"',
      producer: { connected: 'steps.out.healthy', sent: 'steps.out.out' },
      publisher: { isRunning: 'ready', unprocessedEvents: 'metrics.backlog', off: 'steps.gone.healthy' },
      fixed: [1, true, null, 'pipeline'],
    },
  }
  const { run, healthy } = runWith([endpoint])
  open.push(...(await serveEndpoints(run)))
  const get = async (): Promise<[number, unknown]> => {
    const r = await fetch(`http://127.0.0.1:${port}/health/kafka`)
    return [r.status, await r.json()]
  }
  expect((await get())[1]).toMatchObject({ publisher: { isRunning: false } })
  const ended = run.run()
  await expect.poll(() => run.built.meters.sum('sink', 'out')).toBe(3)
  const body = {
    status: 'healthy',
    producer: { connected: true, sent: 3 },
    publisher: { isRunning: true, unprocessedEvents: 0, off: false },
    fixed: [1, true, null, 'test'],
  }
  expect(await get()).toEqual([200, body])
  const backlog = (shard: string): { set(n: number): void } => run.built.meters.gauge('backlog', 'x', { shard })
  backlog('a').set(4)
  backlog('b').set(5)
  expect(await get()).toEqual([200, { ...body, publisher: { ...body.publisher, unprocessedEvents: 9 } }])
  backlog('b').set(6)
  expect((await get())[0]).toBe(503)
  backlog('b').set(0)
  healthy(false)
  expect(await get()).toMatchObject([503, { status: 'unhealthy', producer: { connected: false }, publisher: { isRunning: false } }])
  expect(statusOf(run)).toMatchObject({ problems: ['sink out: peer unreachable'], metrics: { backlog: 4 } })
  run.stop()
  await ended
})

test('pipelines share a port with each other and with metrics; a path has one owner', async () => {
  const [port] = await freePorts(1)
  const at = (path: string): EndpointConfig => ({ path, host: '127.0.0.1', port, healthy: 'true', body: { name: 'pipeline' } })
  const [a, b] = [runWith([at('/a')], 'a').run, runWith([at('/b')], 'b').run]
  open.push(
    ...(await serveEndpoints(a)),
    ...(await serveEndpoints(b)),
    await serveTelemetry('127.0.0.1', port, a),
    await serveTelemetry('127.0.0.1', port, b),
  )
  const get = async (path: string): Promise<unknown> => (await fetch(`http://127.0.0.1:${port}${path}`)).json()
  expect(await get('/a')).toEqual({ name: 'a' })
  expect(await get('/b')).toEqual({ name: 'b' })
  expect(await get('/health')).toMatchObject({ status: 'ok', pipelines: [{ pipeline: 'a' }, { pipeline: 'b' }] })
  await expect(serveEndpoints(runWith([at('/c'), at('/b')], 'c').run)).rejects.toThrow(
    /GET \/b on port \d+ is already used by an endpoint of pipeline 'b'/,
  )
  expect((await fetch(`http://127.0.0.1:${port}/c`)).status).toBe(404)
})

test('an expression that fails makes the pipeline unhealthy', async () => {
  const [port] = await freePorts(1)
  const { run } = runWith([{ path: '/h', host: '127.0.0.1', port, healthy: 'true', body: { x: 'problems[7]' } }])
  open.push(...(await serveEndpoints(run)))
  const r = await fetch(`http://127.0.0.1:${port}/h`)
  expect([r.status, await r.json()]).toEqual([503, { status: 'unhealthy', error: "'problems[7]' is missing" }])
})

const file = (endpoint: string): string => `name: x
sources: [{ memory: in }]
sinks: [{ name: kafka, memory: out }, { memory: off, enabled: false }]
endpoints:
  - { path: /h, port: 3000, ${endpoint} }
`

test.each([
  ['healthy: steps.kafak.healthy, body: { a: "1" }', 5, 44, 'there is no step kafak; there are kafka, memory, memory_2', 'kafka'],
  [
    'body: { a: { b: [steps.kafka.helthy] } }',
    5,
    58,
    'there is no field helthy; there are kind, in, out, dead, retries, healthy',
    'healthy',
  ],
  [
    'healthy: red, body: { a: "1" }',
    5,
    38,
    'there is no field red; there are pipeline, ready, problems, reasons, lag, steps, metrics',
    undefined,
  ],
  ['body: { a: "lag >" }', 5, 46, undefined, undefined],
  ['body: {}', 5, 35, undefined, undefined],
])('%s is reported with its position', async (endpoint, line, column, message, suggestion) => {
  const { problems } = await loadText('x.yaml', file(endpoint))
  expect(problems).toHaveLength(1)
  expect(problems[0]).toMatchObject({ line, column, ...(message && { message }), ...(suggestion && { suggestion }) })
})

test('the validated config is the one the runtime gets', async () => {
  const { pipeline, problems } = await loadText('x.yaml', file('body: { a: { b: steps.memory_2.healthy, c: [1, metrics.any] } }'))
  expect(problems).toEqual([])
  expect(pipeline!.endpoints).toMatchObject([
    { path: '/h', host: '127.0.0.1', port: 3000, healthy: 'ready', body: { a: { b: 'steps.memory_2.healthy', c: [1, 'metrics.any'] } } },
  ])
})
