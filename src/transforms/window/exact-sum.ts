/** An exact sum of decimals of either sign, with the fast path of `turnover.ts`. */
import {
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

/** Partial sums stay below this, so adding one value is exact. */
const SPILL = 2 ** 52

/** [scale, sum * 10^scale] */
export type SumState = [scale: number, sum: number | string]

export class ExactSum {
  private scale = 0
  /** 10^scale; NaN if it is not a double. */
  private factor = 1
  private small = 0
  private large = 0n

  add(value: Exact): void {
    if (typeof value === 'number') {
      const m = Math.round(value * this.factor)
      if (m < FAST_LIMIT && m > -FAST_LIMIT && m / this.factor === value) {
        this.small += m
        if (this.small >= SPILL || this.small <= -SPILL) this.spill()
        return
      }
    }
    this.addSlow(value)
  }

  merge(other: ExactSum): void {
    this.rescale(Math.max(this.scale, other.scale))
    this.large += other.total() * pow10(this.scale - other.scale)
  }

  get value(): Exact {
    return toExact(this.total(), this.scale)
  }

  /** The sum divided by `count`, half-even to `digits` significant digits. */
  mean(count: number, digits: number): Exact {
    return divideHalfEven(this.total(), BigInt(count) * pow10(this.scale), digits)
  }

  encode(): SumState {
    return [this.scale, encodeInteger(this.total())]
  }

  static decode([scale, sum]: SumState): ExactSum {
    const s = new ExactSum()
    s.rescale(scale)
    s.large = BigInt(sum)
    return s
  }

  private addSlow(value: Exact): void {
    const k = typeof value === 'number' ? fastScale(value) : -1
    if (k > this.scale) {
      this.rescale(k)
      this.add(value)
      return
    }
    const d = decimalOf(value)
    this.rescale(Math.max(this.scale, d.k))
    this.large += d.m * pow10(this.scale - d.k)
  }

  private rescale(scale: number): void {
    if (scale === this.scale) return
    this.spill()
    this.large *= pow10(scale - this.scale)
    this.scale = scale
    this.factor = scale < POW10.length ? POW10[scale] : Number.NaN
  }

  private spill(): void {
    this.large = this.total()
    this.small = 0
  }

  private total(): bigint {
    return this.large + BigInt(this.small)
  }
}
