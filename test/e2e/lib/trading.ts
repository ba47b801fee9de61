/** The trading services as one process, fed from the recorded session; and what must come out, computed another way. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Feed, playFeed } from '../../../examples/trading/feed.mjs'
import { type Runner, startRunner } from '../../support/runner.ts'
import { freePorts } from '../../support/servers/ports.ts'
import { unique } from '../../support/unique.ts'
import type { Backend } from './backend.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const FLOWS = ['market-data', 'strategy', 'forward-test', 'notifications', 'service-health', 'audit']
/** With the partitions of topics/algotrade.yaml. */
const TOPICS: Record<string, number> = {
  'market-data-updates': 8,
  'symbol-subscriptions': 1,
  'strategy-signals': 4,
  'trade-executions': 4,
  'portfolio-updates': 1,
  'forward-test-events': 1,
  'user-notifications': 2,
  'realtime-updates': 1,
  'service-health': 1,
  'audit-logs': 1,
  'events.v1.dlq': 1,
}

export interface Trading {
  readonly feed: Feed
  readonly ports: { readonly browsers: number; readonly audit: number }
  /** File of the pipeline that takes notifications from `runner trigger`, and the environment for it. */
  readonly notify: string
  readonly env: Record<string, string | undefined>
  /** Full name of a topic. */
  topic(name: string): string
  /** What is in a topic: the envelopes, in the order of its partitions. */
  read(name: string): Promise<Envelope[]>
  /** kill -9, and a new process at once. */
  crash(): Promise<void>
  stop(): Promise<void>
}

export interface Envelope {
  readonly timestamp: string
  readonly producer_service: string
  readonly data: any
}

/** Runs copies of the shipped files: other names and groups, so that runs on one broker do not know each other. */
export async function startTrading(backend: Backend, cwd: string, rate: number): Promise<Trading> {
  const id = unique('trading')
  const topic = (name: string): string => `${id}.${name}`
  if (backend.name === 'kafka') {
    const { createTopic } = await import('../../support/kafka.ts')
    for (const [name, partitions] of Object.entries(TOPICS))
      await createTopic(topic(name), { partitions, config: { 'retention.ms': '-1' } })
  }
  mkdirSync(join(cwd, 'flows'))
  const copy = (path: string): string => {
    const text = readFileSync(join(ROOT, path), 'utf8')
    const file = join(cwd, 'flows', path.split('/').at(-1)!)
    writeFileSync(
      file,
      text
        .replace(/^name: (.+)$/m, `name: $1-${id}`)
        .replace(/group: ([\w.-]+)/g, `group: $1-${id}`)
        .replace('[../examples/', `[${ROOT}examples/`),
    )
    return file
  }
  const files = FLOWS.map(name => copy(`pipelines/${name}.yaml`))
  const notify = copy('examples/trading/notify.yaml')
  const [feedPort, browsers, audit] = await freePorts(3)
  const feed = await playFeed({ port: feedPort, rate })
  const env = {
    ...backend.env,
    RUNNER_STATE_DIR: join(cwd, '.runner'),
    TOPIC_PREFIX: `${id}.`,
    MARKET_DATA_URL: `ws://127.0.0.1:${feedPort}`,
    WEBSOCKET_PORT: String(browsers),
    AUDIT_PORT: String(audit),
    SERVICE_HEALTH_INTERVAL: '1s',
    NOTIFICATIONS_FETCH_MAX_WAIT: '50ms',
    KAFKA_METRICS_ENABLED: 'false',
  }
  // In the project's folder: schemas and the page are named relative to it.
  const start = (): Runner => startRunner(['run', ...files, notify], { cwd: ROOT, env })
  let runner = start()
  return {
    feed,
    ports: { browsers, audit },
    notify,
    env,
    topic,
    read: async name => (await backend.readAll(topic(name))).map(r => JSON.parse(String(r.value)) as Envelope),
    async crash() {
      runner.kill('SIGKILL')
      await runner.exited
      runner = start()
    },
    async stop() {
      await feed.close()
      runner.kill('SIGTERM')
      await runner.exit(0)
    },
  }
}

export interface Signal {
  readonly symbol: string
  readonly price: number
  readonly action: 'BUY' | 'SELL'
}

interface Tick {
  readonly symbol: string
  readonly price: number
}

/** The ticks of a session that are right, in order. */
export function ticksOf(lines: readonly string[]): Tick[] {
  return lines.flatMap(line => {
    try {
      const { type, product_id, price } = JSON.parse(line) as Record<string, string>
      return type === 'ticker' && product_id && Number(price) > 0 ? [{ symbol: product_id.replace('-', ''), price: Number(price) }] : []
    } catch {
      return []
    }
  })
}

/** Crossings of two simple moving averages, by the definition: all averages first, then their order, then where it turns. */
export function crossings(ticks: readonly Tick[], fast = 5, slow = 20): Map<string, Signal[]> {
  const average = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length
  const found = new Map<string, Signal[]>()
  for (const [symbol, own] of Map.groupBy(ticks, t => t.symbol)) {
    const prices = own.map(t => t.price)
    const sides = prices.flatMap((price, i) => {
      if (i + 1 < slow) return []
      const side = Math.sign(average(prices.slice(i + 1 - fast, i + 1)) - average(prices.slice(i + 1 - slow, i + 1)))
      return side === 0 ? [] : [{ side, price }]
    })
    const turns = sides.filter(({ side }, i) => i > 0 && side !== sides[i - 1].side)
    found.set(
      symbol,
      turns.map(({ side, price }) => ({ symbol, price, action: side > 0 ? 'BUY' : 'SELL' })),
    )
  }
  return found
}

export const bySymbol = (signals: readonly Signal[]): Map<string, Signal[]> => Map.groupBy(signals, s => s.symbol)
