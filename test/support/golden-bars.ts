/**
 * Bars computed a second time, to compare with: BigInt and sorting only, no streaming, no state, no code of the `bars` step.
 * Deliberately slow and simple.
 */
export interface GoldenTick {
  readonly symbol: string
  readonly price: GoldenNumber
  readonly volume: GoldenNumber
  /** Epoch ms. */
  readonly ts: number
}

/** A JSON number, text, or a JSON number with its original text. */
type GoldenNumber = number | string | { toString(): string }

export interface GoldenOptions {
  /** ms. */
  readonly interval: number
  /** As the bars print it, `1m`. */
  readonly label: string
  /** ms. */
  readonly lateness: number
  /** Decimal places, 60 by default: no input may have more. 1000 holds every mean of doubles. */
  readonly places?: number
}

/** The lines a run with `on_late: drop` must produce, in their order, the time of the newest tick in each, and how many ticks were late. Ticks in arrival order, all valid. */
export function goldenBars(ticks: readonly GoldenTick[], options: GoldenOptions): { lines: string[]; newest: number[]; late: number } {
  let newest = -Infinity
  let late = 0
  const windows = new Map<string, { symbol: string; start: number; ticks: GoldenTick[] }>()
  for (const tick of ticks) {
    newest = Math.max(newest, tick.ts)
    const start = Math.floor(tick.ts / options.interval) * options.interval
    if (start + options.interval <= newest - options.lateness) {
      late++
      continue
    }
    const id = JSON.stringify([start, tick.symbol])
    if (!windows.has(id)) windows.set(id, { symbol: tick.symbol, start, ticks: [] })
    windows.get(id)!.ticks.push(tick)
  }
  const sorted = [...windows.values()].toSorted((a, b) => a.start - b.start || (a.symbol < b.symbol ? -1 : 1))
  return {
    lines: sorted.map(w => line(w.symbol, w.start, w.ticks, options)),
    newest: sorted.map(w => Math.max(...w.ticks.map(t => t.ts))),
    late,
  }
}

function line(symbol: string, start: number, ticks: GoldenTick[], { interval, label, places = 60 }: GoldenOptions): string {
  const { scaled, printed, round12 } = decimals(places)
  const isText = (field: 'price' | 'volume') => ticks.some(t => typeof t[field] === 'string')
  // A price is not computed with: a JSON number keeps its text.
  const given = (x: GoldenNumber) => (typeof x === 'object' ? String(x) : printed(scaled(x), typeof x === 'string'))
  const byTime = ticks.map((t, i) => ({ t, i })).toSorted((a, b) => a.t.ts - b.t.ts || a.i - b.i)
  const first = byTime[0].t.ts
  const last = byTime.at(-1)!.t.ts
  const open = byTime.find(x => x.t.ts === first)!.t.price
  const close = byTime.findLast(x => x.t.ts === last)!.t.price
  const prices = ticks.map(t => scaled(t.price))
  const best = (better: (a: bigint, b: bigint) => boolean) =>
    ticks[prices.reduce((held, price, i) => (better(price, prices[held]) ? i : held), 0)].price
  const volume = ticks.reduce((sum, t) => sum + scaled(t.volume), 0n)
  const notional = ticks.reduce((sum, t) => sum + scaled(t.price) * scaled(t.volume), 0n)
  const parts: [string, string][] = [
    ['symbol', JSON.stringify(symbol)],
    ['interval', JSON.stringify(label)],
    ['start', String(start)],
    ['end', String(start + interval)],
    ['open', given(open)],
    ['high', given(best((a, b) => a > b))],
    ['low', given(best((a, b) => a < b))],
    ['close', given(close)],
    ['volume', printed(volume, isText('volume'))],
    // notional carries the scale twice, so the quotient carries it once
    ['vwap', volume === 0n ? 'null' : printed(round12(notional, volume), isText('price') || isText('volume'))],
    ['count', String(ticks.length)],
  ]
  return `{${parts.map(([k, v]) => `"${k}":${v}`).join(',')}}`
}

/** Fixed-point arithmetic: everything is an integer number of 10^-places. */
function decimals(places: number) {
  const one = 10n ** BigInt(places)

  function scaled(x: GoldenNumber): bigint {
    const [mantissa, exponent = '0'] = String(x).toLowerCase().split('e')
    const [whole, fraction = ''] = mantissa.split('.')
    const shift = places - fraction.length + Number(exponent)
    if (shift < 0) throw new Error(`too many decimal places: ${x}`)
    return BigInt(whole + fraction) * 10n ** BigInt(shift)
  }

  /** n / d rounded half-even to 12 significant digits, by trying the weight of the last digit from coarse to fine. */
  function round12(n: bigint, d: bigint): bigint {
    if (n === 0n) return 0n
    if (n < 0n) return -round12(-n, d)
    let unit = 10n ** BigInt(places + 320)
    while (unit > 1n && n / (d * unit) < 10n ** 11n) unit /= 10n
    if (n / (d * unit) < 10n ** 11n) throw new Error('too few decimal places for 12 digits')
    const step = d * unit
    const q = n / step
    const rest = n - q * step
    const up = rest * 2n > step || (rest * 2n === step && q % 2n === 1n)
    return (up ? q + 1n : q) * unit
  }

  /** The JSON of a value: a number as JavaScript prints it if that is the same decimal, else all digits, in quotes if it was computed from text. */
  function printed(value: bigint, isText: boolean): string {
    const text = plain(value)
    const n = Number(text)
    return Number.isFinite(n) && fits(n) && plain(scaled(n)) === text ? JSON.stringify(n) : isText ? JSON.stringify(text) : text
  }

  /** A double next to a decimal of ours may have more places than we carry; then it is not that decimal. */
  function fits(n: number): boolean {
    const [mantissa, exponent = '0'] = String(n).split('e')
    return (mantissa.split('.')[1] ?? '').length - Number(exponent) <= places
  }

  function plain(value: bigint): string {
    if (value < 0n) return `-${plain(-value)}`
    const whole = value / one
    const fraction = (value % one).toString().padStart(places, '0').replace(/0+$/, '')
    return fraction === '' ? `${whole}` : `${whole}.${fraction}`
  }

  return { scaled, printed, round12 }
}
