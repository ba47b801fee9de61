/** Serves `GET /metrics`, `/health` and `/ready`. The responses contain no records and no configuration. */
import { redact } from '../../kit/text/secrets.ts'
import { attach, type Attachment, type Route } from '../../kit/http/listener.ts'
import { isDeepStrictEqual } from 'node:util'
import { EnvironmentError } from '../../contract/plugin.ts'
import type { ListenerConfig } from '../../config/model.ts'
import type { Access } from '../../kit/http/gate.ts'
import type { PipelineRun } from '../pipeline.ts'
import { describeReason, type Reason } from '../readiness.ts'
import { createRegistry } from './prometheus.ts'

/** Pipelines with the same metrics address share one page. */
const pages = new Map<string, { readonly runs: Set<PipelineRun>; readonly access: Access; readonly opening: Promise<MetricsAttachment> }>()

export const accessOf = ({ token, hosts, origins }: Partial<ListenerConfig> = {}): Access => ({ token, hosts, origins })

export interface MetricsAttachment extends Attachment {
  /** Resolves at the end of the next response to a /metrics request. */
  scraped(): Promise<void>
}

/** @throws {EnvironmentError} when the port is in use, so that a pipeline does not run unmonitored. */
export async function serveTelemetry(host: string, port: number, run: PipelineRun): Promise<MetricsAttachment> {
  // Port 0 selects a free port, which is not shared.
  const access = accessOf(run.built.pipeline.metrics)
  if (port === 0) return open(host, port, new Set([run]), access)
  const address = `${host} ${port}`
  let page = pages.get(address)
  if (page) {
    if (!isDeepStrictEqual(page.access, access))
      throw new EnvironmentError(
        `metrics: another pipeline serves ${host}:${port} with another token, hosts or origins. Use the same settings, or different ports.`,
      )
    page.runs.add(run)
  } else {
    const runs = new Set([run])
    page = { runs, access, opening: open(host, port, runs, access) }
    pages.set(address, page)
  }
  const { runs, opening } = page
  const leave = (): boolean => {
    runs.delete(run)
    if (runs.size > 0 || pages.get(address)?.runs !== runs) return false
    pages.delete(address)
    return true
  }
  const attachment = await opening.catch(error => {
    leave()
    throw error
  })
  return {
    port: attachment.port,
    scraped: attachment.scraped,
    detach: async () => {
      if (leave()) await attachment.detach()
    },
  }
}

async function open(host: string, port: number, runs: ReadonlySet<PipelineRun>, access: Access): Promise<MetricsAttachment> {
  let asked = Promise.withResolvers<void>()
  const registry = await createRegistry(runs, { process: true })
  const route = (path: string, handle: Route['handle']): Route => ({
    methods: ['GET'],
    path,
    owner: 'metrics',
    listed: true,
    access,
    handle,
  })
  const state = (path: string, reasonsOf: (run: PipelineRun) => Reason[]): Route =>
    route(path, (_request, response) => {
      const pipelines = [...runs].map(run => {
        const reasons = reasonsOf(run)
        return { pipeline: run.built.pipeline.name, problems: reasons.map(describeReason), reasons, lag: run.built.meters.totalLag() }
      })
      const ok = pipelines.every(p => p.problems.length === 0)
      response.writeHead(ok ? 200 : 503, { 'content-type': 'application/json' })
      response.end(redact(JSON.stringify({ status: ok ? 'ok' : 'not ready', pipelines })))
    })
  const metrics = route('/metrics', async (_request, response) => {
    const text = await registry.metrics()
    response.writeHead(200, { 'content-type': registry.contentType }).end(text)
    response.once('close', () => {
      asked.resolve()
      asked = Promise.withResolvers<void>()
    })
  })
  const attachment = await attach(host, port, [metrics, state('/health', () => []), state('/ready', run => run.reasons())], {
    what: 'metrics',
    advice: 'Set metrics.port (KAFKA_METRICS_PORT) to a free port.',
  })
  return { ...attachment, scraped: () => asked.promise }
}
