#!/usr/bin/env node
/**
 * Makes trades, the same ones every time.
 *
 *   node examples/data/make-ticks.mjs                        writes ticks.jsonl and ticks.summary.json beside this file
 *   node examples/data/make-ticks.mjs --clean 1000000 > f    clean ticks for benchmarks: one symbol, 10 ms apart, 112 bytes each
 *
 * ticks.jsonl is a trading afternoon of BTCUSDT and ETHUSDT as a collector might have recorded it: bursts and lulls, some trades
 * out of order by up to 2 s, a few that come minutes late, and one broken line of every kind that shows up in practice, each several times.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const SEED = 20250602
const START = Date.UTC(2025, 5, 2, 13, 0, 0)
const LENGTH = 130 * 60_000
const TRADES = 20_000
/** Share of the trades that arrive up to 2 s after a newer one. */
const OUT_OF_ORDER = 0.04
const LATE = 45
const BROKEN_OF_EACH_KIND = 3

/** Park and Miller's generator: a few bits of quality are enough, the same bits everywhere matter. */
export function random(seed) {
  let x = seed % 2147483647
  return () => (x = (x * 48271) % 2147483647) / 2147483647
}

/** @returns {{ lines: Buffer[], summary: object }} */
export function makeTicks(seed = SEED) {
  const rnd = random(seed)
  const gauss = () => Math.sqrt(-2 * Math.log(rnd())) * Math.cos(2 * Math.PI * rnd())
  const markets = [
    { symbol: 'BTCUSDT', price: 104_210.5, share: 0.62, size: 0.012, id: 4_920_551_001 },
    { symbol: 'ETHUSDT', price: 2_498.31, share: 0.38, size: 0.21, id: 1_377_204_410 },
  ]

  // Arrival times: busy and quiet minutes, and trades that come in bunches.
  const activity = Array.from({ length: LENGTH / 60_000 }, () => Math.exp(gauss() * 0.7))
  const total = activity.reduce((a, b) => a + b, 0)
  const trades = []
  activity.forEach((weight, minute) => {
    const times = Array.from({ length: Math.max(3, Math.round((weight / total) * TRADES)) }, () => rnd() * 60_000).sort((a, b) => a - b)
    for (const time of times) trades.push(START + minute * 60_000 + Math.floor(time))
  })

  const arrivals = trades.map((ts, i) => {
    const m = rnd() < markets[0].share ? markets[0] : markets[1]
    m.price *= 1 + gauss() * 0.00009
    m.id += 1 + Math.floor(rnd() * 3)
    const volume = Math.max(1e-5, m.size * Math.exp(gauss() * 1.4))
    const tick = { symbol: m.symbol, price: m.price.toFixed(2), volume: volume.toFixed(5), ts, side: rnd() < 0.5 ? 'buy' : 'sell', id: m.id }
    return { tick, kind: 'tick', at: ts, order: i, text: rnd() < 0.1 }
  })

  // Nothing of the first minutes is late, so that every kind of trouble comes after something to compare with.
  const movable = arrivals.filter(a => a.at > START + 5 * 60_000 && a.at < START + LENGTH - 5 * 60_000)
  for (const a of movable) {
    if (rnd() >= OUT_OF_ORDER) continue
    a.at += 20 + Math.floor(rnd() * 1900)
  }
  for (let i = 0; i < LATE; i++) {
    const a = movable[Math.floor(((i + rnd()) / LATE) * movable.length)]
    // More than a window and the lateness a pipeline allows: late wherever in its minute it belongs.
    a.at = a.tick.ts + 65_000 + Math.floor(rnd() * 120_000)
    a.kind = 'late'
  }

  const number = (text, asText) => (asText ? text : Number(text))
  const line = a => {
    const { symbol, price, volume, ts, side, id } = a.tick
    return Buffer.from(JSON.stringify({ symbol, price: number(price, a.text), volume: number(volume, a.text), ts, side, id }))
  }
  const broken = Object.entries(BROKEN)
  broken.forEach(([kind, make], k) => {
    for (let i = 0; i < BROKEN_OF_EACH_KIND; i++) {
      const near = movable[Math.floor(((i + (k + rnd()) / broken.length) / BROKEN_OF_EACH_KIND) * movable.length)]
      arrivals.push({ kind, at: near.at, order: arrivals.length, bytes: Buffer.from(make(near.tick)) })
    }
  })
  arrivals.sort((a, b) => a.at - b.at || a.order - b.order)
  return { lines: arrivals.map(a => a.bytes ?? line(a)), summary: summarize(arrivals) }
}

/** Every kind of line that is no trade. Bytes are given as text, or as bytes where they are not UTF-8. */
const BROKEN = {
  'truncated JSON': t => JSON.stringify(t).slice(0, 41),
  'not JSON': () => 'ERROR 502 Bad Gateway',
  'bare NaN': t => `{"symbol":"${t.symbol}","price":NaN,"volume":${t.volume},"ts":${t.ts}}`,
  'NaN as text': t => JSON.stringify({ ...t, price: 'NaN' }),
  'negative price': t => JSON.stringify({ ...t, price: -Number(t.price) }),
  'zero price': t => JSON.stringify({ ...t, price: 0 }),
  'price null': t => JSON.stringify({ ...t, price: null }),
  'price of the wrong type': t => JSON.stringify({ ...t, price: { amount: t.price } }),
  'price beyond any double': t => `{"symbol":"${t.symbol}","price":1e999,"volume":${t.volume},"ts":${t.ts}}`,
  'price with a decimal comma': t => JSON.stringify({ ...t, price: t.price.replace('.', ',') }),
  'negative volume': t => JSON.stringify({ ...t, volume: `-${t.volume}` }),
  'volume missing': t => JSON.stringify({ ...t, volume: undefined }),
  'symbol missing': t => JSON.stringify({ ...t, symbol: undefined }),
  'symbol empty': t => JSON.stringify({ ...t, symbol: '' }),
  'ts as a date': t => JSON.stringify({ ...t, ts: new Date(t.ts).toISOString() }),
  'ts missing': t => JSON.stringify({ ...t, ts: undefined }),
  'ts in the far future': t => JSON.stringify({ ...t, ts: Date.UTC(2999, 0, 1) }),
  'an array': t => JSON.stringify([t.symbol, t.price, t.volume, t.ts]),
  'JSON null': () => 'null',
  'invalid UTF-8': t => Buffer.concat([Buffer.from(`{"symbol":"${t.symbol}`), Buffer.from([0xff, 0xfe]), Buffer.from(`","price":${t.price},"volume":1,"ts":${t.ts}}`)]),
}

function summarize(arrivals) {
  let newest = 0
  let outOfOrder = 0
  const symbols = {}
  const malformed = {}
  for (const a of arrivals) {
    if (!a.tick) {
      malformed[a.kind] = (malformed[a.kind] ?? 0) + 1
      continue
    }
    symbols[a.tick.symbol] = (symbols[a.tick.symbol] ?? 0) + 1
    if (a.kind === 'tick' && a.tick.ts < newest) outOfOrder++
    newest = Math.max(newest, a.tick.ts)
  }
  const times = arrivals.flatMap(a => (a.tick ? [a.tick.ts] : [])).sort((a, b) => a - b)
  return {
    made_by: 'examples/data/make-ticks.mjs',
    lines: arrivals.length,
    trades: times.length,
    symbols,
    first: new Date(times[0]).toISOString(),
    last: new Date(times.at(-1)).toISOString(),
    out_of_order_within_2s: outOfOrder,
    late_with_1m_bars_and_2s_allowed: arrivals.filter(a => a.kind === 'late').length,
    malformed: Object.values(malformed).reduce((a, b) => a + b, 0),
    malformed_by_kind: malformed,
  }
}

/** Bytes of one clean tick, newline not counted. */
export const CLEAN_BYTES = 112
const CLEAN_START = Date.UTC(2025, 5, 2)

/** Yields `count` clean ticks as strings of exactly `CLEAN_BYTES` ASCII characters, 10 ms apart, in order. */
export function* cleanTicks(count, seed = SEED) {
  const rnd = random(seed)
  let cents = 10_421_050
  for (let i = 0; i < count; i++) {
    cents += Math.floor(rnd() * 201) - 100
    const volume = (Math.floor(rnd() * 1e7) + 1) / 1e8
    const head = `{"symbol":"BTCUSDT","price":${cents / 100},"volume":${volume},"ts":${CLEAN_START + i * 10},"side":"buy","id":"`
    yield `${head}${String(i).padStart(CLEAN_BYTES - head.length - 2, '0')}"}`
  }
}

async function main(args) {
  if (args[0] === '--clean') {
    const count = Number(args[1])
    if (!Number.isSafeInteger(count) || count < 1) throw new Error('--clean needs a number of ticks')
    await writeLines(cleanTicks(count))
    return
  }
  if (args.length > 0) throw new Error(`unknown argument ${args[0]}; see the top of this file`)
  const { lines, summary } = makeTicks()
  const beside = name => fileURLToPath(new URL(name, import.meta.url))
  writeFileSync(beside('ticks.jsonl'), Buffer.concat(lines.flatMap(l => [l, Buffer.from('\n')])))
  writeFileSync(beside('ticks.summary.json'), `${JSON.stringify(summary, null, 2)}\n`)
  console.log(JSON.stringify(summary, null, 2))
}

async function writeLines(lines) {
  const { once } = await import('node:events')
  let chunk = ''
  const flush = async () => {
    if (!process.stdout.write(chunk)) await once(process.stdout, 'drain')
    chunk = ''
  }
  for (const line of lines) {
    chunk += `${line}\n`
    if (chunk.length > 1 << 18) await flush()
  }
  await flush()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2))
