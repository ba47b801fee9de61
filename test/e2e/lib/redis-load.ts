/** Publishing at full speed, and what a runner that mirrors makes of it. */
import { cli, encode, raw } from '../../support/redis.ts'
import { peakMemory } from '../../support/peak-memory.ts'
import { type Runner, type RunnerOptions, startRunner } from '../../support/runner.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { get, metric, untilStatus } from './http.ts'
import { eventually } from '../../support/eventually.ts'

export const MIRROR = new URL('../../../pipelines/ticks-mirror.yaml', import.meta.url).pathname

export interface Mirror {
  readonly runner: Runner
  metric(name: string, labels?: string): Promise<number>
  /** Highest resident memory so far, MB. */
  peak(): number
  stop(): Promise<void>
}

/** Started, and subscribed. */
export async function startMirror(
  url: string,
  pattern: string,
  options: RunnerOptions & { file?: string; args?: readonly string[] } = {},
): Promise<Mirror> {
  const [port] = await freePorts(1)
  const { file = MIRROR, args = [], env } = options
  const runner = startRunner(['run', file, '--set', 'metrics.enabled=true', '--set', `metrics.port=${port}`, ...args], {
    ...options,
    env: { REDIS_URL: url, TICKS_PATTERN: pattern, ...env },
  })
  await untilStatus(runner, port, '/ready', 200)
  return {
    runner,
    metric: async name => metric((await get(port, '/metrics')).body, name),
    peak: () => Math.round(peakMemory(runner.pid) / 1024),
    async stop() {
      runner.kill('SIGTERM')
      await runner.exit(0)
    },
  }
}

/** PUBLISH commands of one channel, as bytes. */
export const publishes = (channel: string, payloads: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat(payloads.map(payload => encode(['PUBLISH', channel, payload])))

/** Several connections at once, each with its own channel, at full speed. @returns ms that it took */
export async function burst(port: number, channels: ReadonlyMap<string, readonly (string | Buffer)[]>): Promise<number> {
  const loads = [...channels].map(([channel, payloads]) => ({ bytes: publishes(channel, payloads), count: payloads.length }))
  const started = performance.now()
  await Promise.all(loads.map(({ bytes, count }) => raw(port, bytes, count)))
  return Math.round(performance.now() - started)
}

/** Waits until Redis has `count` subscriptions by pattern. */
export const subscribed = (url: string, count = 1): Promise<void> =>
  eventually(
    async () => {
      if ((await cli(['PUBSUB', 'NUMPAT'], url)) !== String(count)) throw new Error('not subscribed')
    },
    { interval: 50 },
  )
