/** Trading signals where a fast moving average of the price crosses a slow one, per symbol. */
import { type ConfigProblem, DataError, defineTransform, type Message } from 'pipeline-runner'
import schema from './sma_crossover.schema.json' with { type: 'json' }

interface SmaCrossoverConfig {
  session_id: string
  strategy_id: string
  fast: number
  slow: number
  quantity: number
}

/** What is remembered of a symbol. JSON, because it is saved with the checkpoint. */
type Memory = { prices: number[]; above: boolean | null }

export default defineTransform<SmaCrossoverConfig>({
  type: 'sma_crossover',
  schema,
  stateful: true,

  validateConfig({ fast, slow }): ConfigProblem[] {
    if (fast < slow) return []
    return [{ path: ['fast'], message: `must be less than slow, which is ${slow}` }]
  },

  create({ session_id, strategy_id, fast, slow, quantity }, ctx) {
    const symbols = ctx.state<Memory>('symbols')

    function onPrice(symbol: string, price: number): object | undefined {
      const { prices, above } = symbols.get(symbol) ?? { prices: [], above: null }
      prices.push(price)
      if (prices.length > slow) prices.shift()
      const [quick, lazy] = [mean(prices.slice(-fast)), mean(prices)]
      // Equal averages are not a crossing, and too few prices give no average.
      const now = prices.length < slow || quick === lazy ? above : quick > lazy
      symbols.set(symbol, { prices, above: now })
      if (above === null || now === above) return undefined
      const reason = `SMA(${fast}) ${show(quick)} crossed ${now ? 'above' : 'below'} SMA(${slow}) ${show(lazy)}`
      return { session_id, strategy_id, signal: { action: now ? 'BUY' : 'SELL', quantity, reason }, market_data: { symbol, price } }
    }

    return {
      process(messages, out) {
        for (const m of messages) {
          const tick = read(m)
          if (tick instanceof DataError) {
            out.fail(m, tick)
            continue
          }
          const signal = onPrice(tick.symbol, tick.price)
          if (signal) out.emit(m.derive(signal, tick.symbol))
        }
      },
    }
  },
})

function read(m: Message): { symbol: string; price: number } | DataError {
  const { symbol, price } = (m.value ?? {}) as { symbol?: unknown; price?: unknown }
  if (typeof symbol !== 'string' || symbol === '') return new DataError('symbol must be text')
  if (typeof price !== 'number' || !(price > 0 && price < Infinity)) return new DataError('price must be a positive number')
  return { symbol, price }
}

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, x) => sum + x, 0) / numbers.length
const show = (x: number): string => String(Number(x.toPrecision(8)))
