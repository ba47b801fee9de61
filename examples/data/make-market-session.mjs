#!/usr/bin/env node
/**
 * Makes market-session.jsonl: 25 minutes of two symbols as Coinbase's WebSocket feed sends them, the same ones every time, with a
 * few messages that are wrong in the ways such messages are.
 *
 *   node examples/data/make-market-session.mjs
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { random } from './make-ticks.mjs'

const START = Date.UTC(2026, 0, 5, 14, 30)
const TICKS = 1500

const rnd = random(20260105)
const markets = [
  { product_id: 'BTC-USD', price: 93_412.5, sequence: 81_220_001, trade_id: 701_000, size: 0.08, drift: 0 },
  { product_id: 'ETH-USD', price: 3_214.37, sequence: 40_110_001, trade_id: 502_000, size: 1.4, drift: 0 },
]
const BROKEN = [
  '{"type":"ticker","sequence":0,"product_id":"BTC-USD","price":"n/a","last_size":"0.01","time":"2026-01-05T14:35:00.000000Z"}',
  '{"type":"ticker","sequence":0,"price":"93400.00","last_size":"0.01","time":"2026-01-05T14:35:00.000000Z"}',
  '{"type":"ticker","sequence":0,"product_id":"ETH-USD","price":"0.00","last_size":"0.01","time":"2026-01-05T14:35:00.000000Z"}',
  '{"type":"ticker","sequence":0,"product_id":"ETH-USD","pri',
  '{"type":"error","message":"rate limit exceeded"}',
]

const lines = [
  JSON.stringify({ type: 'subscriptions', channels: [{ name: 'ticker', product_ids: markets.map(m => m.product_id) }] }),
]
for (let i = 0; i < TICKS; i++) {
  const m = markets[rnd() < 0.6 ? 0 : 1]
  // A drift that turns now and then makes trends, and so crossings.
  m.drift = m.drift * 0.97 + (rnd() - 0.5) * 0.00012
  m.price *= 1 + m.drift + (rnd() - 0.5) * 0.0002
  m.sequence += 1 + Math.floor(rnd() * 9)
  m.trade_id++
  const time = new Date(START + i * 1000 + Math.floor(rnd() * 900)).toISOString().replace('Z', '000Z')
  lines.push(
    JSON.stringify({
      type: 'ticker',
      sequence: m.sequence,
      product_id: m.product_id,
      price: m.price.toFixed(2),
      side: rnd() < 0.5 ? 'buy' : 'sell',
      time,
      trade_id: m.trade_id,
      last_size: (m.size * (0.1 + rnd())).toFixed(8),
    }),
  )
  if (i % 300 === 150) lines.push(BROKEN[Math.floor(i / 300)])
}
writeFileSync(fileURLToPath(new URL('market-session.jsonl', import.meta.url)), `${lines.join('\n')}\n`)
