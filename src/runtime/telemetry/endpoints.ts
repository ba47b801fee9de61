/** Status endpoints of pipelines. Their expressions are evaluated over the status of the run at every request. */
import { compile, type Expression, fieldPaths } from '../../expressions/index.ts'
import { Message } from '../../contract/plugin.ts'
import type { EndpointConfig, EndpointValue } from '../../config/model.ts'
import type { PipelineRun } from '../pipeline.ts'
import { describeReason, type Reason } from '../readiness.ts'
import { redact } from '../../kit/text/secrets.ts'
import { attach, type Attachment, type Route } from '../../kit/http/listener.ts'
import { accessOf } from './server.ts'

interface StepStatus {
  readonly kind: string
  in: number
  out: number
  dead: number
  retries: number
  healthy: boolean
}

export interface Status {
  readonly pipeline: string
  readonly ready: boolean
  readonly problems: readonly string[]
  readonly reasons: readonly Reason[]
  readonly lag: number
  readonly steps: Record<string, StepStatus>
  /** Sums over all labels. */
  readonly metrics: Record<string, number>
}

/** @throws {EnvironmentError} when a port or a path is in use. */
export async function serveEndpoints(run: PipelineRun): Promise<Attachment[]> {
  const { name, endpoints = [] } = run.built.pipeline
  const attached: Attachment[] = []
  try {
    for (const [i, endpoint] of endpoints.entries()) {
      const route: Route = {
        methods: ['GET'],
        path: endpoint.path,
        owner: `an endpoint of pipeline '${name}'`,
        listed: true,
        handle: handler(run, endpoint),
        access: accessOf(endpoint),
      }
      const advice = `Set endpoints[${i}].port to a free port.`
      attached.push(
        await attach(endpoint.host, endpoint.port, [route], { what: `endpoint ${endpoint.path} of pipeline '${name}'`, advice }),
      )
    }
  } catch (error) {
    await Promise.all(attached.map(a => a.detach()))
    throw error
  }
  return attached
}

function handler(run: PipelineRun, { healthy, body }: EndpointConfig): Route['handle'] {
  const condition = compile(healthy)
  const render = compileBody(body)
  const names = namesIn([healthy, ...texts(body)])
  return (_request, response) => {
    const status = statusOf(run, names)
    let code = 503
    let text: string
    try {
      const ok = condition.evaluate(messageOf(status)) === true
      text = JSON.stringify(render({ ...status, healthy: ok }))
      if (ok) code = 200
    } catch (error) {
      // An unknown status must not look healthy.
      text = JSON.stringify({ status: 'unhealthy', error: (error as Error).message })
    }
    response.writeHead(code, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(redact(text))
  }
}

/** @param names steps and metrics that the result always contains, including disabled steps and metrics without samples. */
export function statusOf(run: PipelineRun, names?: { readonly steps: readonly string[]; readonly metrics: readonly string[] }): Status {
  const { built } = run
  const { meters } = built
  const reasons = run.reasons()
  const problems = reasons.map(describeReason)
  const steps: Record<string, StepStatus> = {}
  for (const step of names?.steps ?? []) steps[step] = { kind: 'off', in: 0, out: 0, dead: 0, retries: 0, healthy: false }
  for (const m of meters.steps) steps[m.step] = { kind: m.kind, in: m.in, out: m.out, dead: m.dead, retries: m.retries, healthy: true }
  const laneOf = (name: string): string | undefined => run.lanes.get(name)?.info.source
  for (const { kind, name } of reasons) {
    const step = kind === 'lane' && name !== null ? laneOf(name) : name
    if (step !== null && step !== undefined && steps[step]) steps[step].healthy = false
  }
  const metrics: Record<string, number> = {}
  for (const name of names?.metrics ?? []) metrics[name] = 0
  for (const family of meters.families.values()) {
    let sum = 0
    for (const { value } of family.samples.values()) sum += value
    metrics[family.name] = sum
  }
  return { pipeline: built.pipeline.name, ready: problems.length === 0, problems, reasons, lag: meters.totalLag(), steps, metrics }
}

const messageOf = (status: object): Message => new Message(status)

type Render = (status: object) => unknown

function compileBody(value: EndpointValue): Render {
  if (typeof value === 'string') {
    const expression: Expression = compile(value)
    return status => expression.evaluate(messageOf(status))
  }
  if (Array.isArray(value)) {
    const items = (value as readonly EndpointValue[]).map(compileBody)
    return status => items.map(render => render(status))
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([key, inner]) => [key, compileBody(inner)] as const)
    return status => Object.fromEntries(entries.map(([key, render]) => [key, render(status)]))
  }
  return () => value
}

function texts(value: EndpointValue): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(v => texts(v as EndpointValue)) : []
}

function namesIn(expressions: readonly string[]): { steps: string[]; metrics: string[] } {
  const paths = expressions.flatMap(e => fieldPaths(e)).map(p => p.names)
  const of = (field: string): string[] => paths.filter(p => p[0] === field && p.length > 1).map(p => p[1])
  return { steps: of('steps'), metrics: of('metrics') }
}
