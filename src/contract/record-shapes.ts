/** Reads JSON records that differ only in their scalars, as most records of a topic do, in half the time of `JSON.parse`. */
import { isAscii } from 'node:buffer'
import { ExactNumber, isJsonNumber } from './exact-number.ts'
import { isPlain } from './json.ts'

/** Maximum number of remembered shapes. */
const MAX_SHAPES = 4
const MAX_SCALARS = 64
/** Maximum size of a record that a shape is made from. */
const MAX_BYTES = 1 << 12
/** Longer texts are not cached, because they rarely repeat. */
const MAX_KEPT = 32
const TEXTS = 256
/** With more new texts than this per record, `JSON.parse` is as fast. */
const MAX_NEW_TEXTS = 2
/** Number of records that are parsed without shapes after more than a fifth of the previous records matched none. Doubled each time. */
const PAUSE = 4096
const MAX_CREDIT = 256
const PRICE = 4

const QUOTE = 34
const MINUS = 45
const POINT = 46
const ZERO = 48
const NINE = 57

/** The common parts of all records of a shape: the bytes before each scalar and after the last one. */
interface Shape {
  readonly between: readonly Uint8Array[]
  readonly end: Uint8Array
  readonly build: (scalars: readonly unknown[]) => unknown
}

/**
 * The shapes of the records of one source. A record has a known shape if its bytes between the scalars equal those of a record that
 * `JSON.parse` accepted, and its scalars are valid JSON. Then the record is valid JSON, and its value is built without parsing.
 */
export class RecordShapes {
  private readonly shapes: Shape[] = []
  /** Short texts by hash, so that repeated texts are not allocated again. */
  private readonly texts: string[] = Array.from({ length: TEXTS }, () => '')
  private readonly scalars: unknown[] = Array.from({ length: MAX_SCALARS })
  private newTexts = 0
  private at = 0
  private credit = MAX_CREDIT
  private pause = 0
  private nextPause = PAUSE
  /** Records without a known shape since the last shape was learned, and the number of them before another one is learned. */
  private misses = 0
  private patience = 1
  private readonly depth: number

  /** @param depth the nesting limit */
  constructor(depth: number) {
    this.depth = depth
  }

  /** The value of the record, as `parseJson` returns it; undefined if no shape matches. */
  parse(p: Buffer): unknown {
    if (this.pause > 0) {
      this.pause--
      return undefined
    }
    const { shapes } = this
    this.newTexts = 0
    for (let i = 0; i < shapes.length; i++) {
      const shape = shapes[i]
      if (!this.read(p, shape)) continue
      if (i > 0) {
        shapes[i] = shapes[i - 1]
        shapes[i - 1] = shape
      }
      if (this.newTexts > MAX_NEW_TEXTS) this.spend()
      else if (this.credit < MAX_CREDIT) this.credit++
      return shape.build(this.scalars)
    }
    this.learn(p)
    this.spend()
    return undefined
  }

  /** Learns the shape of a record that matches no known shape. It learns less often while such records continue. */
  private learn(p: Buffer): void {
    if (++this.misses < this.patience) return
    this.misses = 0
    if (this.patience < PAUSE) this.patience *= 2
    const shape = shapeOf(p, this.depth)
    if (!shape) return
    if (this.shapes.length === MAX_SHAPES) this.shapes.pop()
    this.shapes.unshift(shape)
  }

  private spend(): void {
    this.credit -= PRICE
    if (this.credit > 0) return
    this.credit = MAX_CREDIT
    this.pause = this.nextPause
    if (this.nextPause < PAUSE << 8) this.nextPause *= 2
    this.shapes.length = 0
    this.patience = 1
  }

  /** Fills `scalars`. @returns false when the record has another shape */
  private read(p: Buffer, { between, end }: Shape): boolean {
    this.at = 0
    for (let k = 0; k < between.length; k++) {
      const literal = between[k]
      let { at } = this
      for (let j = 0; j < literal.length; j++) if (p[at++] !== literal[j]) return false
      this.at = at
      const c = p[at]
      if (c === QUOTE) {
        if (!this.readText(p, k)) return false
      } else if (c === MINUS || (c >= ZERO && c <= NINE)) {
        if (!this.readNumber(p, k)) return false
      } else if (c === 116 && p[at + 1] === 114 && p[at + 2] === 117 && p[at + 3] === 101) {
        this.scalars[k] = true
        this.at = at + 4
      } else if (c === 102 && p[at + 1] === 97 && p[at + 2] === 108 && p[at + 3] === 115 && p[at + 4] === 101) {
        this.scalars[k] = false
        this.at = at + 5
      } else if (c === 110 && p[at + 1] === 117 && p[at + 2] === 108 && p[at + 3] === 108) {
        this.scalars[k] = null
        this.at = at + 4
      } else return false
    }
    const { at } = this
    if (at + end.length !== p.length) return false
    for (let j = 0; j < end.length; j++) if (p[at + j] !== end[j]) return false
    return true
  }

  private readText(p: Buffer, k: number): boolean {
    const start = this.at + 1
    let at = start
    let hash = 0
    let c: number
    while ((c = p[at]) !== QUOTE) {
      // Also true at the end of the record, where `c` is undefined.
      if (!(c >= 32 && c < 128) || c === 92) return false
      hash = (Math.imul(hash, 31) + c) | 0
      at++
    }
    this.at = at + 1
    const length = at - start
    if (length > MAX_KEPT) {
      this.newTexts++
      this.scalars[k] = p.toString('latin1', start, at)
      return true
    }
    const slot = (hash ^ (hash >>> 8)) & (TEXTS - 1)
    const known = this.texts[slot]
    if (known.length === length) {
      let j = 0
      while (j < length && known.charCodeAt(j) === p[start + j]) j++
      if (j === length) {
        this.scalars[k] = known
        return true
      }
    }
    this.newTexts++
    this.scalars[k] = this.texts[slot] = p.toString('latin1', start, at)
    return true
  }

  private readNumber(p: Buffer, k: number): boolean {
    const start = this.at
    let at = start
    let c = p[at]
    const negative = c === MINUS
    if (negative) c = p[++at]
    let whole = 0
    const first = at
    while (c >= ZERO && c <= NINE) {
      whole = whole * 10 + (c - ZERO)
      c = p[++at]
    }
    const digits = at - first
    let fraction = 0
    if (c === POINT) {
      const point = at
      c = p[++at]
      while (c >= ZERO && c <= NINE) {
        whole = whole * 10 + (c - ZERO)
        c = p[++at]
      }
      fraction = at - point - 1
      // A zero at the end, or no digit after the point.
      if (p[at - 1] === ZERO || fraction === 0) return this.readRareNumber(p, k)
    }
    // Up to 15 digits are an exact integer. Division by an exact power of ten rounds once, which gives the result of JSON.parse.
    if (at - start > 15 || digits === 0 || (digits > 1 && p[first] === ZERO) || c === 101 || c === 69) return this.readRareNumber(p, k)
    const x = fraction === 0 ? whole : whole / POWERS[fraction]
    // A double prints these numbers in another notation.
    if (negative ? x === 0 || (fraction > 0 && x < 1e-6) : fraction > 0 && x < 1e-6) return this.readRareNumber(p, k)
    this.scalars[k] = negative ? -x : x
    this.at = at
    return true
  }

  /** Reads a number with many digits, with an exponent, or in a notation that differs from what a double prints. */
  private readRareNumber(p: Buffer, k: number): boolean {
    const start = this.at
    let at = start
    let c = p[at]
    while ((c >= ZERO && c <= NINE) || c === POINT || c === MINUS || c === 43 || c === 101 || c === 69) c = p[++at]
    const text = p.toString('latin1', start, at)
    const x = Number(text)
    if (isPlain(x, text)) this.scalars[k] = x
    else if (isJsonNumber(text)) this.scalars[k] = new ExactNumber(text)
    else return false
    this.at = at
    return true
  }
}

const POWERS = Array.from({ length: 16 }, (_, i) => 10 ** i)

/** Undefined: the record is malformed, large or not plain ASCII, has an escape or no scalars, is too deep, or has a `__proto__` key. */
function shapeOf(record: Buffer, limit: number): Shape | undefined {
  if (record.length > MAX_BYTES || !isAscii(record) || record.includes(92)) return undefined
  // Copied, because the record may be part of a large buffer.
  const p = Buffer.from(record)
  try {
    JSON.parse(p.toString('latin1'))
  } catch {
    return undefined
  }
  const between: Buffer[] = []
  let [i, depth, from, source] = [0, 0, 0, '']
  const next = (): number => {
    while (p[i] <= 32) i++
    return p[i]
  }
  const skipText = (): void => {
    i = p.indexOf(QUOTE, i + 1) + 1
  }
  const name = (): boolean => {
    const start = i + 1
    skipText()
    const text = p.toString('latin1', start, i - 1)
    if (text === '__proto__') return false
    next()
    i++
    source += `${JSON.stringify(text)}:`
    return true
  }
  const value = (): boolean => {
    const c = next()
    const isObject = c === 123
    if (!isObject && c !== 91) {
      if (between.length === MAX_SCALARS) return false
      source += `v[${between.length}]`
      between.push(p.subarray(from, i))
      if (c === QUOTE) skipText()
      else while (i < p.length && !ENDS.has(p[i])) i++
      from = i
      return true
    }
    if (++depth > limit) return false
    source += isObject ? '({' : '['
    i++
    for (let d = next(); d !== 125 && d !== 93; d = next()) {
      if (d === 44) {
        i++
        source += ','
        next()
      }
      if ((isObject && !name()) || !value()) return false
    }
    i++
    depth--
    source += isObject ? '})' : ']'
    return true
  }
  if (!value() || between.length === 0) return undefined
  // oxlint-disable-next-line typescript/no-implied-eval -- the text contains names as JSON strings, and nothing else of the record
  const build = new Function('v', `return ${source}`) as Shape['build']
  return { between, end: p.subarray(from), build }
}

/** The bytes that end a number or a word: white space, a comma, a closing bracket. */
const ENDS: ReadonlySet<number> = new Set([9, 10, 13, 32, 44, 93, 125])
