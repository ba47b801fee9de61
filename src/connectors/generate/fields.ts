/** The simple generators of the `generate` source. */
import type { GenerateSourceConfig } from '../../generated/config-types.ts'
import { compile } from '../../expressions/index.ts'
import { detached, type Message } from '../../contract/plugin.ts'
import { exactly } from '../../kit/values/arithmetic.ts'
import { randomAt } from './random.ts'

/** The value of a field in the record `index`; `record` holds the fields before it. Called with 0, 1, 2… after a `restart`. */
export interface FieldMaker {
  readonly name: string
  make(index: number, record: Message): unknown
  /** Prepares for `index` as the next record. */
  restart?(index: number): void
}

export function fieldMakers({ fields, seed }: GenerateSourceConfig): FieldMaker[] {
  return Object.entries(fields).map(([name, one]): FieldMaker => {
    const random = randomAt(seed, name)
    if (one.value !== undefined) return { name, make: () => one.value }
    if (one.sequence !== undefined) return { name, make: index => exactly('+', one.sequence!, index) }
    if (one.choice !== undefined) return { name, make: index => one.choice![Math.floor(random(index) * one.choice!.length)] }
    if (one.time !== undefined) return { name, make: (_, record) => record.time }
    if (one.random !== undefined) {
      const { min, max, decimals } = one.random
      const unit = 10 ** decimals
      const low = Math.ceil(min * unit)
      const count = Math.floor(max * unit) - low + 1
      return { name, make: index => (low + Math.floor(random(index) * count)) / unit }
    }
    if (one.walk !== undefined) return walk(name, one.walk, random)
    const expression = compile(one.expression!)
    // `value` is the record being generated, so it is copied: otherwise it would contain itself.
    return { name, make: (_, record) => detached(expression.evaluate(record)) }
  })
}

type Walk = NonNullable<GenerateSourceConfig['fields'][string]['walk']>

/** Counts in units of the last decimal, so that a long walk stays exact. */
function walk(name: string, { start, step, min, max, decimals }: Walk, random: (index: number) => number): FieldMaker {
  const unit = 10 ** decimals
  const low = min === undefined ? Number.NEGATIVE_INFINITY : Math.ceil(min * unit)
  const high = max === undefined ? Number.POSITIVE_INFINITY : Math.floor(max * unit)
  const reach = Math.round(step * unit)
  let at = Math.round(start * unit)
  const move = (index: number): void => {
    at = Math.min(high, Math.max(low, at + Math.floor(random(index) * (2 * reach + 1)) - reach))
  }
  return {
    name,
    make(index) {
      move(index)
      return at / unit
    },
    restart(index) {
      at = Math.round(start * unit)
      for (let i = 0; i < index; i++) move(i)
    },
  }
}
