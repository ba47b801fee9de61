/** Executes strategy signals on paper, at the latest price of the market. */
import { createHash } from 'node:crypto'
import { DataError, defineTransform, type Message, type Output } from 'pipeline-runner'
import schema from './paper_trade.schema.json' with { type: 'json' }

interface Position {
  quantity: number
  average_price: number
}

/** JSON, because it is saved with the checkpoint. */
type Portfolio = { cash: number; realized_pnl: number; positions: Record<string, Position & { [key: string]: number }> }

interface Order {
  session_id: string
  signal: { action: 'BUY' | 'SELL'; quantity: number; reason: string }
  market_data: { symbol: string; price: number }
  market: { price: number } | null
}

export default defineTransform<{ cash: number }>({
  type: 'paper_trade',
  schema,
  stateful: true,

  create({ cash }, ctx) {
    const portfolios = ctx.state<Portfolio>('portfolios')

    function execute(m: Message, order: Order, price: number, out: Output): void {
      const { session_id, signal, market_data } = order
      const { action, quantity } = signal
      const { symbol } = market_data
      const portfolio = portfolios.get(session_id) ?? { cash, realized_pnl: 0, positions: {} }
      const held = portfolio.positions[symbol] ?? { quantity: 0, average_price: 0 }
      const filled = action === 'BUY' ? portfolio.cash >= price * quantity : held.quantity >= quantity
      const timestamp = new Date(m.time).toISOString()
      const trade_id = tradeId(m)

      const emit = (kind: string, value: object): void => {
        const made = m.derive(value, session_id)
        made.headers = [['kind', kind]]
        out.emit(made)
      }
      emit('event', {
        event: 'signal',
        session_id,
        strategy_id: (m.value as { strategy_id?: string }).strategy_id,
        symbol,
        signal,
        signal_price: market_data.price,
        market_price: price,
        timestamp,
      })
      emit('execution', { trade_id, session_id, symbol, action, quantity, price, status: filled ? 'FILLED' : 'REJECTED', timestamp })
      if (!filled) {
        const reason = action === 'BUY' ? `needs ${exact(price * quantity)}, has ${portfolio.cash}` : `holds ${held.quantity} ${symbol}`
        emit('event', { event: 'rejected', session_id, trade_id, symbol, reason, timestamp })
        return
      }
      const after = action === 'BUY' ? bought(held, quantity, price) : { ...held, quantity: exact(held.quantity - quantity) }
      const gain = action === 'BUY' ? 0 : (price - held.average_price) * quantity
      const positions = { ...portfolio.positions, [symbol]: after }
      if (after.quantity === 0) delete positions[symbol]
      const next = {
        cash: exact(portfolio.cash + (action === 'BUY' ? -1 : 1) * price * quantity),
        realized_pnl: exact(portfolio.realized_pnl + gain),
        positions,
      }
      portfolios.set(session_id, next)
      emit('portfolio', { session_id, ...next, timestamp })
    }

    return {
      process(messages, out) {
        for (const m of messages) {
          const order = m.value as Order
          const price = order.market?.price
          if (typeof price !== 'number' || !(price > 0)) out.fail(m, new DataError('market.price must be a positive number'))
          else execute(m, order, price, out)
        }
      },
    }
  },
})

const bought = ({ quantity, average_price }: Position, more: number, price: number): Position & { [key: string]: number } => ({
  quantity: exact(quantity + more),
  average_price: exact((quantity * average_price + more * price) / (quantity + more)),
})

/** A UUID made of where the signal was read: run again, it is the same trade. */
function tradeId({ origin, offset }: Message): string {
  const hex = createHash('sha256').update(`${origin?.lane}/${offset}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** Eight places, as exchanges count: sums of binary fractions must not grow tails. */
const exact = (x: number): number => Math.round(x * 1e8) / 1e8
