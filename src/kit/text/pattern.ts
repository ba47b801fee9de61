/**
 * Patterns written by users: ECMA-262 syntax, executed by RE2, whose time is linear in the text. A record must not be able to stall the
 * pipeline. Patterns that RE2 cannot execute, or would execute differently, are rejected.
 */
import { RE2JS } from 're2js'
import { patternReason } from './pattern-reason.ts'

/** RE2 cannot run the pattern; the message shows what to write. */
export class PatternError extends Error {}

/** What to write instead of constructs that RE2 does not support. */
export interface Advice {
  readonly lookaround: string
  readonly backReference: string
  readonly repetition: string
}

const SCHEMA: Advice = {
  lookaround: 'describe the condition with `not`, `allOf` or a second pattern',
  backReference: 'check equality in a filter expression',
  repetition: 'limit the length with minLength and maxLength',
}

/**
 * A pattern of a record schema.
 * @throws {PatternError} with what to write instead
 */
export function compilePattern(source: string): (text: string) => boolean {
  const compiled = compile(source, SCHEMA)
  return text => compiled.test(text)
}

/**
 * The first group of the first match; `null` without a match, and for a group that did not take part in it.
 * @throws {PatternError} with what to write instead
 */
export function compileGroup(source: string, advice: Advice): ((text: string) => string | null) | undefined {
  const compiled = compile(source, advice)
  if (compiled.groupCount() === 0) return undefined
  return text => {
    const matcher = compiled.matcher(text)
    return matcher.find() ? matcher.group(1) : null
  }
}

/** All groups of the first match, by number; undefined without a match. The program builds the pattern from user input. */
export function compileGroups(source: string): (text: string) => readonly (string | null)[] | undefined {
  const compiled = compile(source, SCHEMA)
  return text => {
    const matcher = compiled.matcher(text)
    return matcher.find() ? Array.from({ length: compiled.groupCount() + 1 }, (_, i) => matcher.group(i)) : undefined
  }
}

function compile(source: string, advice: Advice): RE2JS {
  const translated = new Translator(source, advice).run()
  try {
    return RE2JS.compile(translated)
  } catch (error) {
    throw new PatternError(`not a regular expression: ${patternReason(error)}`)
  }
}

/** The maximum of a repetition in RE2. */
const MAX_REPEAT = 1000

/** White space and line ends of ECMA-262, which RE2's `\s` covers only in part. */
const SPACES: readonly Range[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
]
type Range = readonly [from: number, to: number]

const MAX = 0x10ffff
const hex = (code: number): string => `\\x{${code.toString(16)}}`
const ranges = (list: readonly Range[]): string => list.map(([a, b]) => (a === b ? hex(a) : `${hex(a)}-${hex(b)}`)).join('')
const SPACE = ranges(SPACES)
const NO_SPACE = ranges([...SPACES.map(([a], i): Range => [i === 0 ? 0 : SPACES[i - 1][1] + 1, a - 1]), [0xff00, MAX]])
const SETS: Readonly<Record<string, string>> = { d: '\\d', D: '\\D', w: '\\w', W: '\\W', s: SPACE, S: NO_SPACE }
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 }

const CATEGORIES: Readonly<Record<string, string>> = {
  Letter: 'L',
  Cased_Letter: 'LC',
  Uppercase_Letter: 'Lu',
  Lowercase_Letter: 'Ll',
  Titlecase_Letter: 'Lt',
  Modifier_Letter: 'Lm',
  Other_Letter: 'Lo',
  Mark: 'M',
  Combining_Mark: 'M',
  Nonspacing_Mark: 'Mn',
  Spacing_Mark: 'Mc',
  Enclosing_Mark: 'Me',
  Number: 'N',
  Decimal_Number: 'Nd',
  digit: 'Nd',
  Letter_Number: 'Nl',
  Other_Number: 'No',
  Punctuation: 'P',
  punct: 'P',
  Connector_Punctuation: 'Pc',
  Dash_Punctuation: 'Pd',
  Open_Punctuation: 'Ps',
  Close_Punctuation: 'Pe',
  Initial_Punctuation: 'Pi',
  Final_Punctuation: 'Pf',
  Other_Punctuation: 'Po',
  Symbol: 'S',
  Math_Symbol: 'Sm',
  Currency_Symbol: 'Sc',
  Modifier_Symbol: 'Sk',
  Other_Symbol: 'So',
  Separator: 'Z',
  Space_Separator: 'Zs',
  Line_Separator: 'Zl',
  Paragraph_Separator: 'Zp',
  Other: 'C',
  Control: 'Cc',
  cntrl: 'Cc',
  Format: 'Cf',
  Surrogate: 'Cs',
  Private_Use: 'Co',
} // prettier-ignore
const SHORT = new Set(Object.values(CATEGORIES))

/** Translates the syntax of ECMA-262 to that of RE2, with the same meaning. */
class Translator {
  private readonly source: string
  private i = 0

  private readonly advice: Advice

  constructor(source: string, advice: Advice) {
    this.source = source
    this.advice = advice
  }

  run(): string {
    let out = ''
    while (this.i < this.source.length) out += this.token()
    return out
  }

  private fail(what: string): never {
    throw new PatternError(`${what} (character ${this.i + 1} of ${JSON.stringify(this.source)})`)
  }

  private token(): string {
    const c = this.source[this.i]
    switch (c) {
      case '\\':
        return this.escape()
      case '[':
        return this.charClass()
      case '(':
        return this.group()
      case '{':
        return this.repeat()
      case '.':
        this.i++
        return '[^\\n\\r\\x{2028}\\x{2029}]'
      case '$':
        this.i++
        return '\\z'
      case '^':
      case '|':
      case ')':
      case '*':
      case '+':
      case '?':
        this.i++
        return c
      default:
        return this.literal()
    }
  }

  private literal(): string {
    const code = this.source.codePointAt(this.i)!
    this.i += code > 0xffff ? 2 : 1
    const c = String.fromCodePoint(code)
    return /[A-Za-z0-9_ ]/.test(c) ? c : hex(code)
  }

  private group(): string {
    const rest = this.source.slice(this.i)
    const [start] = /^\((?:\?(?:<?[=!]|<[\p{L}\p{Nl}$_][\p{L}\p{Nl}\p{Nd}$_]*>|[a-z-]*[:)]|))?/u.exec(rest)!
    if (/^\(\?<?[=!]/.test(start))
      this.fail(`lookaround is not supported, because its running time is not bounded; ${this.advice.lookaround}`)
    const allowed = start === '(' || start === '(?:' || /^\(\?(?:<.*>|i[:)]|-i:)$/.test(start)
    if (!allowed)
      this.fail(`${/^\(\?[^:)]*[:)]?/.exec(rest)?.[0] ?? '(?'} is not supported; the supported groups are (…), (?:…), (?<name>…) and (?i)`)
    this.i += start.length
    return start.startsWith('(?<') ? '(' : start
  }

  private repeat(): string {
    const [text, from, to] = /^\{(\d+)(?:,(\d*))?\}/.exec(this.source.slice(this.i)) ?? []
    if (text === undefined) {
      const without = /^\{,(\d+)\}/.exec(this.source.slice(this.i))
      if (without) this.fail(`${without[0]} is not a repetition; write {0,${without[1]}}`)
      return this.literal()
    }
    if (Math.max(Number(from), Number(to ?? 0)) > MAX_REPEAT)
      this.fail(`the maximum of a repetition is ${MAX_REPEAT}; ${this.advice.repetition}`)
    this.i += text.length
    return text
  }

  private escape(): string {
    const c = this.source[this.i + 1]
    if (c === 'b' || c === 'B') {
      this.i += 2
      return `\\${c}`
    }
    if (c === 'k' || (c !== undefined && c >= '1' && c <= '9'))
      this.fail(`backreferences are not supported, because their running time is not bounded; ${this.advice.backReference}`)
    const atom = this.atomEscape()
    if (typeof atom === 'number') return hex(atom)
    return `[${atom}]`
  }

  /** A code point, or the inside of a character class. */
  private atomEscape(): number | string {
    const rest = this.source.slice(this.i, this.i + 64)
    const c = rest[1]
    if (c === undefined) this.fail('the pattern ends with a backslash')
    const take = <T>(length: number, value: T): T => {
      this.i += length
      return value
    }
    if (c in SETS) return take(2, SETS[c])
    if (c in CONTROLS) return take(2, CONTROLS[c])
    if (c === '0' && !/\d/.test(rest[2] ?? '')) return take(2, 0)
    if (c === 'c' && /[A-Za-z]/.test(rest[2] ?? '')) return take(3, rest.charCodeAt(2) % 32)
    const pair = /^\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})/.exec(rest)
    if (pair) return take(12, String.fromCharCode(Number.parseInt(pair[1], 16), Number.parseInt(pair[2], 16)).codePointAt(0)!)
    const code = /^\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,8})\})/.exec(rest)
    if (code) {
      const value = Number.parseInt(code[1] ?? code[2] ?? code[3], 16)
      if (value > MAX) this.fail(`${code[0]} is not a character`)
      return take(code[0].length, value)
    }
    if (c === 'p' || c === 'P') return this.property(rest)
    if (/[A-Za-z0-9]/.test(c)) this.fail(`\\${c} is not an escape of regular expressions (ECMA-262)`)
    const value = this.source.codePointAt(this.i + 1)!
    return take(value > 0xffff ? 3 : 2, value)
  }

  private property(rest: string): string {
    const found = /^\\([pP])\{(?:(General_Category|gc|Script|sc)=)?(\w+)\}/.exec(rest)
    if (!found) this.fail('\\p needs a property in braces, such as \\p{L} or \\p{Script=Greek}')
    const [text, p, kind, name] = found
    const script = kind === 'Script' || kind === 'sc'
    const short = CATEGORIES[name] ?? (SHORT.has(name) ? name : undefined)
    if (!script && short === undefined)
      this.fail(`the property ${name} is not supported; general categories (\\p{L}, \\p{Letter}) and scripts (\\p{Script=Greek}) are`)
    this.i += text.length
    if (!script && short === 'LC')
      return p === 'p' ? '\\p{Lu}\\p{Ll}\\p{Lt}' : this.fail('\\P{LC} is not supported; write [^\\p{Lu}\\p{Ll}\\p{Lt}]')
    return `\\${p}{${script ? name : short}}`
  }

  private charClass(): string {
    const start = this.i++
    const negated = this.source[this.i] === '^'
    if (negated) this.i++
    let out = ''
    while (this.source[this.i] !== ']') {
      if (this.i >= this.source.length) {
        this.i = start
        this.fail('[ without ]')
      }
      const from = this.classAtom()
      if (this.source[this.i] !== '-' || this.source[this.i + 1] === ']' || this.i + 1 >= this.source.length) {
        out += typeof from === 'number' ? hex(from) : from
        continue
      }
      this.i++
      const to = this.classAtom()
      if (typeof from !== 'number' || typeof to !== 'number') this.fail('a range needs a character at both ends')
      if (from > to) this.fail('the range is out of order')
      out += `${hex(from)}-${hex(to)}`
    }
    this.i++
    if (out === '') return negated ? `[\\x{0}-${hex(MAX)}]` : `[^\\x{0}-${hex(MAX)}]`
    return `[${negated ? '^' : ''}${out}]`
  }

  private classAtom(): number | string {
    if (this.source.startsWith('\\b', this.i)) {
      this.i += 2
      return 8
    }
    if (this.source[this.i] === '\\') return this.atomEscape()
    const code = this.source.codePointAt(this.i)!
    this.i += code > 0xffff ? 2 : 1
    return code
  }
}
