/** `GET /metrics`, `/health`, `/ready` on a loopback port; no data and no config ever leaves through it. */
import { createServer, type Server } from 'node:http'
import { EnvironmentError } from '../../plugin.ts'
import type { PipelineRun } from '../pipeline.ts'
import { createRegistry } from './prometheus.ts'

/** @throws {EnvironmentError} when the port is taken: a pipeline that nobody can watch must not look fine. */
export async function serveTelemetry(host: string, port: number, runs: readonly PipelineRun[]): Promise<Server> {
  const registry = await createRegistry(runs)
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname
    if (path === '/metrics') {
      registry.metrics().then(
        text => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
        (error: Error) => response.writeHead(500).end(error.message),
      )
      return
    }
    if (path === '/health' || path === '/ready') {
      const pipelines = runs.map(run => ({ pipeline: run.built.pipeline.name, problems: path === '/ready' ? run.notReady() : [] }))
      const ok = pipelines.every(p => p.problems.length === 0)
      response.writeHead(ok ? 200 : 503, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ status: ok ? 'ok' : 'not ready', pipelines }))
      return
    }
    response.writeHead(404).end('try /metrics, /health or /ready\n')
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', error =>
      reject(
        new EnvironmentError(
          `metrics: cannot listen on ${host}:${port}: ${(error as NodeJS.ErrnoException).code}. Set metrics.port (KAFKA_METRICS_PORT) to a free port.`,
          error,
        ),
      ),
    )
    server.listen(port, host, resolve)
  })
  server.unref()
  return server
}
