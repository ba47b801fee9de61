/**
 * Exact sums of volume and of price * volume over one bar, at a few nanoseconds a trade.
 *
 * Prices and volumes are scaled to integers by powers of ten that adapt to the data (`pk`, `vk`): m = round(x * 10^k)
 * represents x exactly if m has at most 15 digits and m / 10^k equals x. The product of two such integers may need
 * 100 bits; it is added in 25-bit limbs, so BigInt is needed only before a limb overflows.
 * Decimals that no double represents take the slow path, which is equally exact.
 */
import type { ExactNumber } from '../../contract/plugin.ts'
import {
  jsonDecimal,
  type Decimal,
  decimalOf,
  divideHalfEven,
  encodeInteger,
  type Exact,
  FAST_LIMIT,
  fastScale,
  POW10,
  pow10,
  toExact,
} from '../../kit/values/decimal.ts'

const LIMB = 2 ** 25
/** Each addend is below 2^52, so adding one to a limb below 2^52 is exact. */
const SPILL = 2 ** 52
const VWAP_DIGITS = 12

/** The values of a trade that arrived as text; a sum of flags. */
export const Text = { none: 0, price: 1, volume: 2 } as const

/** [price scale, volume scale, volume * 10^vk, price * volume * 10^(pk + vk), `Text`]; integers above 2^53 are strings. */
export type TurnoverState = [pk: number, vk: number, volume: number | string, notional: number | string, ...text: number[]]

export class Turnover {
  /** `Text` of all trades. */
  text: number = Text.none
  private pk = 0
  private vk = 0
  /** 10^pk, 10^vk; NaN if it is not a double, and then every trade takes the slow path. */
  private pf = 1
  private vf = 1
  private volume = 0
  private volumeBig = 0n
  private low = 0
  private middle = 0
  private high = 0
  private notionalBig = 0n

  /** `volume` >= 0. */
  add(price: Exact, volume: Exact): void {
    if (typeof price === 'number' && typeof volume === 'number') {
      const p = Math.round(price * this.pf)
      const v = Math.round(volume * this.vf)
      if (p < FAST_LIMIT && p > -FAST_LIMIT && v < FAST_LIMIT && p / this.pf === price && v / this.vf === volume) {
        this.addScaled(p, v)
        return
      }
    }
    this.addSlow(price, volume)
  }

  get totalVolume(): Exact | ExactNumber {
    return jsonDecimal(toExact(this.volumeSum(), this.vk), (this.text & Text.volume) !== 0)
  }

  /** Price * volume / volume, half-even to 12 significant digits; null when no volume was traded. */
  get vwap(): Exact | ExactNumber | null {
    const volume = this.volumeSum()
    if (volume === 0n) return null
    return jsonDecimal(divideHalfEven(this.notionalSum(), volume * pow10(this.pk), VWAP_DIGITS), this.text !== Text.none)
  }

  encode(): TurnoverState {
    const sums = [this.pk, this.vk, encodeInteger(this.volumeSum()), encodeInteger(this.notionalSum())] as const
    return this.text === Text.none ? [...sums] : [...sums, this.text]
  }

  static decode([pk, vk, volume, notional, text]: TurnoverState): Turnover {
    const t = new Turnover()
    t.text = text ?? Text.none
    t.rescale(pk, vk)
    t.volumeBig = BigInt(volume)
    t.notionalBig = BigInt(notional)
    return t
  }

  private addScaled(p: number, v: number): void {
    this.volume += v
    if (this.volume >= SPILL) this.spill()
    const product = p * v
    if (product < SPILL && product > -SPILL) {
      this.low += product
    } else {
      const p1 = Math.floor(p / LIMB)
      const p0 = p - p1 * LIMB
      const v1 = Math.floor(v / LIMB)
      const v0 = v - v1 * LIMB
      this.low += p0 * v0
      this.middle += p0 * v1 + p1 * v0
      this.high += p1 * v1
      if (this.middle >= SPILL || this.high >= SPILL || this.middle <= -SPILL || this.high <= -SPILL) this.spill()
    }
    if (this.low >= SPILL || this.low <= -SPILL) this.spill()
  }

  private addSlow(price: Exact, volume: Exact): void {
    const p = typeof price === 'number' ? fastScale(price) : -1
    const v = typeof volume === 'number' ? fastScale(volume) : -1
    if (p > this.pk || v > this.vk) {
      this.rescale(Math.max(p, this.pk), Math.max(v, this.vk))
      this.add(price, volume)
      return
    }
    const dp = decimalOf(price)
    const dv = decimalOf(volume)
    this.rescale(Math.max(dp.k, this.pk), Math.max(dv.k, this.vk))
    const mv = at(dv, this.vk)
    this.volumeBig += mv
    this.notionalBig += at(dp, this.pk) * mv
  }

  private rescale(pk: number, vk: number): void {
    if (pk === this.pk && vk === this.vk) return
    this.spill()
    this.volumeBig *= pow10(vk - this.vk)
    this.notionalBig *= pow10(pk - this.pk + vk - this.vk)
    this.pk = pk
    this.vk = vk
    this.pf = pk < POW10.length ? POW10[pk] : Number.NaN
    this.vf = vk < POW10.length ? POW10[vk] : Number.NaN
  }

  private spill(): void {
    this.volumeBig = this.volumeSum()
    this.notionalBig = this.notionalSum()
    this.volume = this.low = this.middle = this.high = 0
  }

  private volumeSum(): bigint {
    return this.volumeBig + BigInt(this.volume)
  }

  private notionalSum(): bigint {
    const limbs = BigInt(this.low) + (BigInt(this.middle) << 25n) + (BigInt(this.high) << 50n)
    return this.notionalBig + limbs
  }
}

const at = (d: Decimal, k: number): bigint => d.m * pow10(k - d.k)
