/** The accumulators of a window: one per output field, which can be encoded as JSON at any time. */
import { compareNumbers, DataError, ExactNumber, type Json } from '../../contract/plugin.ts'
import { jsonDecimal, type Exact, exactOf, outOfRange, readDecimal } from '../../kit/values/decimal.ts'
import { ExactSum, type SumState } from './exact-sum.ts'
import { getter, show } from '../../kit/values/fields.ts'

export type AggregateKind = 'count' | 'sum' | 'min' | 'max' | 'avg' | 'first' | 'last' | 'collect'

/** Output field -> one aggregate and the field it reads; `count: '*'` counts all messages. */
export type AggregatesConfig = Record<string, Partial<Record<AggregateKind, string>>>

export interface Aggregate {
  /** @param value returned by `read` of the same `Spec` */
  add(value: Json, time: number): void
  /** Adds the contents of the same aggregate of another, disjoint window. */
  merge(other: this): void
  result(): Json
  encode(): Json
}

/** One output field: reads its input and creates its accumulator. */
export interface Spec {
  readonly name: string
  /** @throws {DataError} if the value is invalid for the aggregate */
  read(value: unknown): Json
  create(): Aggregate
  decode(state: Json): Aggregate
}

const AVERAGE_DIGITS = 15

export function compileAggregates(config: AggregatesConfig): Spec[] {
  return Object.entries(config).map(([name, one]) => {
    const [kind, field] = Object.entries(one)[0] as [AggregateKind, string]
    const { make, decimal } = KINDS[kind]
    const get = field === '*' ? () => true : getter(field)
    return {
      name,
      read: decimal ? value => readNumber(get(value), kind, field) : value => (get(value) ?? null) as Json,
      create: () => make(),
      decode: state => make(state),
    }
  })
}

/** A number in an aggregate; an `ExactNumber` was a JSON number, a string was a string. */
type Decimal = Exact | ExactNumber

function readNumber(raw: unknown, kind: string, field: string): Decimal {
  // min and max compare without arithmetic, so any number is valid.
  if (raw instanceof ExactNumber && (kind === 'min' || kind === 'max' || exactOf(raw) !== undefined)) return raw
  const n = typeof raw === 'string' ? readDecimal(raw) : raw
  // A sum must know that an addend was text.
  if (typeof raw === 'string' && n !== undefined && (kind === 'sum' || kind === 'avg')) return raw
  if (typeof n === 'string' || (typeof n === 'number' && Number.isFinite(n))) return n
  const far = outOfRange(raw)
  if (far !== undefined)
    throw new DataError(`${field} is ${show(raw)}; for ${kind} it is ${far}; min, max, first and last take JSON numbers of any size`)
  throw new DataError(`${field} is ${show(raw)}; allowed for ${kind}: a finite number, or one as a decimal string`)
}

class Count implements Aggregate {
  private n: number
  constructor(state: Json = 0) {
    this.n = state as number
  }
  add(value: Json): void {
    if (value !== null) this.n++
  }
  merge(other: Count): void {
    this.n += other.n
  }
  result(): Json {
    return this.n
  }
  encode(): Json {
    return this.n
  }
}

/** Of a value that `readNumber` returned. */
const addend = (value: Json): Exact => (value instanceof ExactNumber ? exactOf(value)! : (value as number))

class Sum implements Aggregate {
  protected readonly sum: ExactSum
  /** An addend was text. */
  protected text: boolean
  constructor(state: Json = [0, 0]) {
    this.sum = ExactSum.decode(state as SumState)
    this.text = (state as unknown[])[2] === TEXT
  }
  add(value: Json): void {
    if (typeof value === 'string') {
      this.text = true
      this.sum.add(readDecimal(value)!)
    } else this.sum.add(addend(value))
  }
  merge(other: Sum): void {
    this.sum.merge(other.sum)
    this.text ||= other.text
  }
  result(): Json {
    return jsonDecimal(this.sum.value, this.text)
  }
  encode(): Json {
    return this.text ? [...this.sum.encode(), TEXT] : this.sum.encode()
  }
}
/** Third element of the state of a sum with text. */
const TEXT = 'text'

class Average extends Sum {
  private n: number
  constructor(state?: Json) {
    const [n, sum] = (state ?? [0]) as [number, Json?]
    super(sum)
    this.n = n
  }
  override add(value: Json): void {
    this.n++
    super.add(value)
  }
  override merge(other: Average): void {
    this.n += other.n
    super.merge(other)
  }
  override result(): Json {
    return jsonDecimal(this.sum.mean(this.n, AVERAGE_DIGITS), this.text)
  }
  override encode(): Json {
    return [this.n, super.encode()]
  }
}

const compare = (a: Decimal, b: Decimal): number =>
  typeof a === 'number' && typeof b === 'number' ? a - b : compareNumbers(numeric(a), numeric(b))
const numeric = (x: Decimal): number | ExactNumber => (typeof x === 'string' ? new ExactNumber(x) : x)

/** min and max: a value replaces the current one if their comparison has this sign. */
class Extreme implements Aggregate {
  private best: Decimal | null
  private readonly sign: 1 | -1
  constructor(sign: 1 | -1, state: Json = null) {
    this.sign = sign
    this.best = state as Decimal | null
  }
  add(value: Json): void {
    if (this.best === null || compare(value as Decimal, this.best) * this.sign > 0) this.best = value as Decimal
  }
  merge(other: Extreme): void {
    if (other.best !== null) this.add(other.best)
  }
  result(): Json {
    return this.best
  }
  encode(): Json {
    return this.best
  }
}

/** By event time; ties go to the first to arrive. */
class First implements Aggregate {
  private held: [time: number, value: Json] | null
  constructor(state: Json = null) {
    this.held = state as [number, Json] | null
  }
  add(value: Json, time: number): void {
    if (this.held === null || time < this.held[0]) this.held = [time, value]
  }
  merge(other: First): void {
    if (other.held) this.add(other.held[1], other.held[0])
  }
  result(): Json {
    return this.held![1]
  }
  encode(): Json {
    return this.held
  }
}

/** By event time; ties go to the last to arrive. */
class Last implements Aggregate {
  private held: [time: number, value: Json] | null
  constructor(state: Json = null) {
    this.held = state as [number, Json] | null
  }
  add(value: Json, time: number): void {
    if (this.held === null || time >= this.held[0]) this.held = [time, value]
  }
  merge(other: Last): void {
    if (other.held) this.add(other.held[1], other.held[0])
  }
  result(): Json {
    return this.held![1]
  }
  encode(): Json {
    return this.held
  }
}

/** All values by event time; ties in order of arrival. */
class Collect implements Aggregate {
  private readonly items: [time: number, value: Json][]
  constructor(state: Json = []) {
    this.items = state as [number, Json][]
  }
  add(value: Json, time: number): void {
    let at = this.items.length
    while (at > 0 && this.items[at - 1][0] > time) at--
    if (at === this.items.length) this.items.push([time, value])
    else this.items.splice(at, 0, [time, value])
  }
  merge(other: Collect): void {
    for (const [time, value] of other.items) this.add(value, time)
  }
  result(): Json {
    return this.items.map(([, value]) => value)
  }
  encode(): Json {
    return this.items
  }
}

const KINDS: Record<AggregateKind, { make: (state?: Json) => Aggregate; decimal: boolean }> = {
  count: { make: s => new Count(s), decimal: false },
  sum: { make: s => new Sum(s), decimal: true },
  avg: { make: s => new Average(s), decimal: true },
  min: { make: s => new Extreme(-1, s), decimal: true },
  max: { make: s => new Extreme(1, s), decimal: true },
  first: { make: s => new First(s), decimal: false },
  last: { make: s => new Last(s), decimal: false },
  collect: { make: s => new Collect(s), decimal: false },
}
