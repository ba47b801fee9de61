/** `http` sources in a pipeline of their own, on a free port. */
import type { HttpSourceConfig } from '../../../src/generated/config-types.ts'
import http from '../../../src/connectors/http/source.ts'
import type { Message, SinkPlugin, TransformPlugin } from '../../../src/contract/plugin.ts'
import type { PipelineRun } from '../../../src/runtime/pipeline.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { tempDir } from '../../support/runner.ts'
import { MemoryLog, pipelineOf, start } from '../../runtime/harness.ts'

/** `auth` may be a part of it. */
export type PartialConfig = Partial<Omit<HttpSourceConfig, 'auth'>> & { auth?: Partial<HttpSourceConfig['auth']> }

export const sourceConfig = (config: PartialConfig & { port: number }): HttpSourceConfig => ({
  host: '127.0.0.1',
  path: '/in',
  methods: ['POST'],
  format: 'json',
  headers: [],
  hosts: [],
  origins: [],
  max_body: 1024 * 1024,
  allow_unauthenticated: false,
  remember: 'disk',
  answer: 'when_written',
  answer_timeout: 30_000,
  max_pending: 10_000,
  max_pending_bytes: 64 * 1024 * 1024,
  ...config,
  auth: { bearer: [], webhook: [], hmac: [], hmac_header: 'x-hub-signature-256', tolerance: 300_000, replays: 'answer', ...config.auth },
})

export interface Hook {
  readonly url: string
  readonly port: number
  readonly run: PipelineRun
  /** The contents of the sink. */
  readonly rows: { key: string | null; value: string }[]
  readonly dead: Message[]
  readonly ended: Promise<void>
  counter(name: string, labels?: Record<string, string>): number
  post(body: string | Buffer, headers?: Record<string, string>, init?: RequestInit): Promise<Reply>
  close(): Promise<void>
}

export interface Reply {
  readonly status: number
  readonly body: any
  readonly headers: Headers
}

export interface HookOptions {
  readonly config?: PartialConfig
  readonly transforms?: TransformPlugin[]
  readonly dlq?: boolean
  readonly write?: ReturnType<SinkPlugin['create']>['write']
  readonly shutdownTimeout?: number
  /** `limits.depth`. */
  readonly depth?: number
  /** Default: a new one. */
  readonly stateDir?: string
  /** Called with each line of log, as JSON. */
  readonly log?: (line: string) => void
}

export async function hook({
  config,
  transforms = [],
  dlq = false,
  write,
  shutdownTimeout,
  depth,
  stateDir,
  log: onLine,
}: HookOptions = {}): Promise<Hook> {
  process.env.RUNNER_STATE_DIR = stateDir ?? tempDir()
  const [port] = config?.port === undefined ? await freePorts(1) : [config.port]
  const log = new MemoryLog({ lanes: {}, batch: () => 1 })
  const pipeline = pipelineOf(log, transforms, {
    delivery: 'at_least_once',
    ...(shutdownTimeout && { shutdown_timeout: shutdownTimeout }),
    ...(depth && { limits: { depth } }),
  })
  const resolved = sourceConfig({ ...config, port })
  const at = pipeline.sources[0].at
  const made = {
    ...pipeline,
    sources: [{ type: 'http', name: 'in', plugin: http, config: resolved, at, secrets: [] }],
    ...(!dlq && { dlq: undefined }),
  }
  if (write) made.sinks[0].plugin.create = () => ({ write })
  const line = (fields: object, text: string): void => onLine?.(JSON.stringify({ ...fields, msg: text }))
  const run = start(made, { log: { debug: line, info: line, warn: line, error: line } })
  const ended = run.run()
  ended.catch(() => {})
  const url = `http://127.0.0.1:${port}${resolved.path}`
  const deadline = Date.now() + 60_000
  while (run.notReady().length > 0 && Date.now() < deadline) await new Promise(resolve => setTimeout(resolve, 5))
  return {
    url,
    port,
    run,
    rows: log.committed,
    dead: log.dead,
    ended,
    counter(name, labels = {}) {
      const samples = [...(run.built.meters.families.get(name)?.samples.values() ?? [])]
      return samples.filter(s => Object.entries(labels).every(([k, v]) => s.labels[k] === v)).reduce((n, s) => n + s.value, 0)
    },
    post: (body, headers, init) => post(url, body, headers, init),
    async close() {
      run.stop()
      await ended.catch(() => {})
    },
  }
}

export async function post(
  url: string,
  body: string | Buffer,
  headers: Record<string, string> = {},
  init: RequestInit = {},
): Promise<Reply> {
  const response = await fetch(url, { method: 'POST', body: body as string, headers, ...init })
  const text = await response.text()
  return { status: response.status, body: text.startsWith('{') ? (JSON.parse(text) as unknown) : text, headers: response.headers }
}
