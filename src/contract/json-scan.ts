/**
 * Checks a JSON text and cuts an array of it into its elements, each with its original bytes: parsing and printing would change `1.10` and
 * `12345678901234567890`. Works through the text without recursion, so depth costs nothing.
 */
import { isUtf8 } from 'node:buffer'
import { DecodeError } from './errors.ts'
import { DEFAULT_DEPTH } from './json.ts'

/** The position at which a text is no longer valid JSON. */
export class JsonError extends Error {
  /** Byte offset. */
  readonly offset: number
  /** 1-based. */
  readonly line: number
  /** 1-based, in characters. */
  readonly column: number

  constructor(message: string, text: Buffer, offset: number) {
    super(message)
    this.name = 'JsonError'
    this.offset = offset
    let line = 1
    let start = 0
    for (let i = text.indexOf(NEWLINE); i >= 0 && i < offset; i = text.indexOf(NEWLINE, i + 1)) {
      line++
      start = i + 1
    }
    this.line = line
    this.column = text.toString('utf8', start, offset).length + 1
  }

  get place(): string {
    return `${this.line === 1 ? '' : `line ${this.line}, `}column ${this.column}`
  }
}

/** The array has more elements than the caller takes. */
export class TooManyElementsError extends Error {
  constructor(max: number) {
    super(`more than ${max} elements`)
    this.name = 'TooManyElementsError'
  }
}

const NEWLINE = 0x0a
const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/**
 * Start and end of every element of the array at `path` ([]: the text itself), in order; undefined if there is no array.
 * @param depth maximum depth of the text
 * @throws {JsonError} when the text is not JSON, or has two arrays there.
 * @throws {TooManyElementsError} when there are more than `max`.
 */
export function elements(
  text: Buffer,
  path: readonly string[] = [],
  max = Number.POSITIVE_INFINITY,
  depth = DEFAULT_DEPTH,
): number[] | undefined {
  if (!isUtf8(text)) throw new JsonError('not valid UTF-8', text, firstBadByte(text))
  return new Scanner(text, path, max, depth).run()
}

/** The error of a text that `JSON.parse` rejects: where it is no longer JSON, and what is expected there. */
export function malformedJson(text: Buffer | string, cause?: unknown): DecodeError {
  const bytes = Buffer.from(text)
  try {
    elements(bytes, [], Number.POSITIVE_INFINITY, Math.min(bytes.length, 1_000_000))
  } catch (error) {
    if (error instanceof JsonError) return new DecodeError(`malformed JSON at ${error.place}: ${error.message}`, cause)
  }
  return new DecodeError('malformed JSON', cause)
}

class Scanner {
  private readonly text: Buffer
  private readonly path: readonly string[]
  /** Bounds of elements that may be found. */
  private readonly max: number
  private at = 0
  private depth = 0
  /** For each open container: whether it is an object. */
  private readonly objects: Uint8Array
  private readonly limit: number
  /** How many consecutive keys of `path` the open objects have. */
  private matched = 0
  /** Depth inside the wanted array; -1 while not in it. */
  private wanted = -1
  private found: number[] | undefined

  constructor(text: Buffer, path: readonly string[], max: number, limit: number) {
    this.objects = new Uint8Array(limit + 1)
    this.limit = limit
    this.text = text
    this.path = path
    this.max = max * 2
  }

  run(): number[] | undefined {
    this.space()
    do this.value()
    while (!this.closed())
    return this.found
  }

  /** Reads a value, or its beginning if it opens containers. */
  private value(): void {
    for (;;) {
      if (this.depth === this.wanted && this.found!.push(this.at) > this.max) throw new TooManyElementsError(this.max / 2)
      const c = this.text[this.at]
      if (c !== OPEN_OBJECT && c !== OPEN_ARRAY) return this.scalar(c)
      this.open(c === OPEN_OBJECT)
      this.space()
      const next = this.text[this.at]
      if (next === (c === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_ARRAY)) return this.close()
      if (c === OPEN_OBJECT) this.key()
    }
  }

  /** A value has ended. False: another one follows; true: the text is complete. */
  private closed(): boolean {
    for (;;) {
      if (this.depth === this.wanted) this.found!.push(this.at)
      this.space()
      if (this.depth === 0) {
        if (this.at < this.text.length) this.fail('unexpected text after the value')
        return true
      }
      const inObject = this.objects[this.depth] === 1
      const c = this.text[this.at]
      if (c === COMMA) {
        this.at++
        this.space()
        if (inObject) this.key()
        return false
      }
      if (c !== (inObject ? CLOSE_OBJECT : CLOSE_ARRAY)) this.fail(`expected , or ${inObject ? '}' : ']'}`)
      this.close()
    }
  }

  private open(object: boolean): void {
    if (this.depth === this.limit) this.fail(`nested deeper than ${this.limit}`)
    const here = !object && this.matched === this.path.length && this.depth === this.path.length
    this.objects[++this.depth] = object ? 1 : 0
    if (here) {
      if (this.found) this.fail(`${this.path.join('.')} is a duplicate key`)
      this.found = []
      this.wanted = this.depth
    }
    this.at++
  }

  private close(): void {
    if (this.depth === this.wanted) this.wanted = -1
    this.depth--
    this.at++
  }

  private key(): void {
    if (this.text[this.at] !== QUOTE) this.fail('expected a key in double quotes')
    const start = this.at
    this.string()
    const level = this.depth - 1
    this.matched = Math.min(this.matched, level)
    if (level === this.matched && level < this.path.length) {
      if (JSON.parse(this.text.toString('utf8', start, this.at)) === this.path[level]) this.matched++
    }
    this.space()
    if (this.text[this.at] !== COLON) this.fail('expected :')
    this.at++
    this.space()
  }

  private scalar(c: number | undefined): void {
    if (c === QUOTE) this.string()
    else if (c === 0x2d || isDigit(c)) this.number()
    else if (c === 0x74) this.word('true')
    else if (c === 0x66) this.word('false')
    else if (c === 0x6e) this.word('null')
    else this.fail(this.notJson() ?? 'expected a value')
  }

  /** What is often written where a value is expected. */
  private notJson(): string | undefined {
    const rest = this.text.toString('latin1', this.at, this.at + 9)
    const [word] = /^(?:NaN|-?Infinity|undefined|None|True|False)/.exec(rest) ?? []
    if (word !== undefined) return `${word} is not a value of JSON`
    if (rest.startsWith("'")) return 'a string needs double quotes'
    return rest.startsWith('\xef\xbb\xbf') ? 'remove the byte order mark' : undefined
  }

  private string(): void {
    const { text } = this
    for (;;) {
      const c = text[++this.at]
      if (c === QUOTE) break
      if (c === BACKSLASH) {
        const escaped = text[++this.at]
        if (escaped === 0x75) for (let i = 0; i < 4; i++) this.hex()
        else if (escaped === undefined || !ESCAPES.has(escaped)) this.fail('unknown escape in a string')
      } else if (c === undefined) this.fail('the string is not terminated')
      else if (c < 0x20) this.fail('a control character must be escaped in a string')
    }
    this.at++
  }

  private hex(): void {
    const c = this.text[++this.at] | 0x20
    if (!isDigit(this.text[this.at]) && !(c >= 0x61 && c <= 0x66)) this.fail('\\u needs four hexadecimal digits')
  }

  private number(): void {
    const { text } = this
    if (text[this.at] === 0x2d) this.at++
    if (text[this.at] === 0x30) this.at++
    else this.digits()
    if (text[this.at] === 0x2e) {
      this.at++
      this.digits()
    }
    if ((text[this.at] | 0x20) === 0x65) {
      this.at++
      if (text[this.at] === 0x2b || text[this.at] === 0x2d) this.at++
      this.digits()
    }
    if (isDigit(text[this.at])) this.fail('a number must not begin with 0')
  }

  private digits(): void {
    if (!isDigit(this.text[this.at])) this.fail('expected a digit')
    while (isDigit(this.text[this.at])) this.at++
  }

  private word(word: string): void {
    for (let i = 0; i < word.length; i++, this.at++) if (this.text[this.at] !== word.charCodeAt(i)) this.fail(`expected ${word}`)
  }

  private space(): void {
    for (;;) {
      const c = this.text[this.at]
      if (c !== 0x20 && c !== NEWLINE && c !== 0x0d && c !== 0x09) return
      this.at++
    }
  }

  private fail(message: string): never {
    const c = this.text[this.at]
    const end = c === undefined ? ', but the text ends here' : ''
    throw new JsonError(`${message}${end}`, this.text, Math.min(this.at, this.text.length))
  }
}

const ESCAPES = new Set(Buffer.from('"\\/bfnrt'))

const isDigit = (c: number | undefined): boolean => c !== undefined && c >= 0x30 && c <= 0x39

/** Decoding replaces invalid bytes: the first byte that differs afterwards is the invalid one. */
function firstBadByte(text: Buffer): number {
  const mended = Buffer.from(text.toString('utf8'))
  for (let i = 0; i < text.length; i++) if (text[i] !== mended[i]) return i
  return text.length
}
