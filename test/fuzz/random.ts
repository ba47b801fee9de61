/** Seeded choices. */
import { seeded } from '../support/random.ts'

export class Random {
  private readonly next: () => number
  constructor(seed: number) {
    this.next = seeded(seed)
  }
  /** A whole number from 0 up to, not including, `n`. */
  below(n: number): number {
    return Math.floor(this.next() * n)
  }
  chance(p: number): boolean {
    return this.next() < p
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]
  }
  /** Up to `max`, small numbers far more often. */
  small(max: number): number {
    return Math.min(max, 1 + Math.floor(1 / (1 - this.next() * 0.999) - 1))
  }
}
