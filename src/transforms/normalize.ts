/** Converts the messages of an exchange to tickers and order books of one shape. */
import type { NormalizeConfig } from '../generated/config-types.ts'
import { type ConfigProblem, type Counter, defineTransform, EnvironmentError, type TransformContext } from '../contract/plugin.ts'
import { readFormat } from './normalize/exchange-format.ts'
import { exchangeReader, type Normalized } from './normalize/exchange-reader.ts'
import { failOn } from '../kit/fail.ts'
import schema from './normalize.schema.json' with { type: 'json' }

export default defineTransform<NormalizeConfig>({
  type: 'normalize',
  schema,
  validateConfig({ formats }) {
    const files: [string[], string][] =
      typeof formats === 'string' ? [[['formats'], formats]] : Object.entries(formats).map(([source, f]) => [['formats', source], f])
    return files.flatMap(([path, file]) => readFormat(file).problems.map((p): ConfigProblem => ({ path, ...p })))
  },

  outputSchema({ formats }) {
    const read = Object.values<string>(typeof formats === 'string' ? [formats] : formats).map(file => readFormat(file).format)
    return {
      oneOf: [...new Set(read.flatMap(f => f?.messages.map(m => m.type) ?? (['ticker', 'orderbook'] as const)))].map(type => SCHEMAS[type]),
    }
  },

  create({ formats }, ctx) {
    const format = load(typeof formats === 'string' ? formats : formatOf(formats, ctx.lane.source))
    const reader = exchangeReader(format)
    const count = counters(ctx, format.exchange)

    return {
      process(messages, out) {
        for (const m of messages) {
          let made: Normalized[] | undefined
          try {
            made = reader.read(m.value, m)
          } catch (error) {
            failOn(m, error, out)
            continue
          }
          if (made === undefined) count.control.inc()
          else {
            for (const value of made) {
              count[value.type].inc()
              out.emit(m.derive(value, undefined, value.ts))
            }
          }
        }
      },
    }
  },
})

const TEXT = { type: 'string' }
const LEVELS = { type: 'array', items: { type: 'array', items: TEXT } }
const record = (type: string, properties: object): object => ({
  type: 'object',
  required: ['type', 'exchange', 'symbol', 'ts', ...Object.keys(properties)],
  additionalProperties: false,
  properties: { type: { const: type }, exchange: TEXT, symbol: TEXT, ts: { type: 'number' }, ...properties },
})
/** The schemas of `Ticker` and `OrderBook`. */
const SCHEMAS = {
  ticker: record('ticker', { price: TEXT, volume: TEXT, bid: { type: ['string', 'null'] }, ask: { type: ['string', 'null'] } }),
  orderbook: record('orderbook', { bids: LEVELS, asks: LEVELS, sequence: {}, snapshot: { type: 'boolean' } }),
} as const

function formatOf(formats: Readonly<Record<string, string>>, source: string): string {
  if (Object.hasOwn(formats, source)) return formats[source]
  throw new EnvironmentError(`normalize has no format for messages of source '${source}'; formats has ${Object.keys(formats).join(', ')}`)
}

function load(file: string): NonNullable<ReturnType<typeof readFormat>['format']> {
  const { format, problems } = readFormat(file)
  if (!format) throw new EnvironmentError(problems.map(p => p.message).join('\n'))
  return format
}

function counters({ metrics, pipeline, step }: TransformContext, exchange: string): Record<'ticker' | 'orderbook' | 'control', Counter> {
  const labels = { pipeline, step, exchange }
  const made = (type: string): Counter => metrics.counter('runner_normalized_total', 'Messages created, by type', { ...labels, type })
  return {
    ticker: made('ticker'),
    orderbook: made('orderbook'),
    control: metrics.counter('runner_control_messages_total', 'Messages dropped because they have no data', labels),
  }
}
