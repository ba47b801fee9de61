/**
 * Maps each character of a value to its character in the file, so the caret is at the wrong character of an expression in any YAML
 * notation. The decoder keeps offsets; its result is used only if it equals that of the YAML library.
 */
import type { ScalarNode } from './tree.ts'

/** A value with many references asks for it as many times. */
const known = new WeakMap<ScalarNode, number[] | undefined>()

/** `offsets[i]` is the position of character i of the value in the source text; one more entry for its end. */
export function scalarOffsets(node: ScalarNode): readonly number[] | undefined {
  if (!known.has(node)) known.set(node, decode(node))
  return known.get(node)
}

function decode(node: ScalarNode): number[] | undefined {
  const { source, start, end } = node.span
  const expected = node.substitution?.template ?? node.value
  const text = source.text.slice(start, end)
  if (node.style === 'literal' || node.style === 'folded') return blockOffsets(text, node.style === 'folded', expected)?.map(o => o + start)
  const out = new Decoded()
  if (node.style === 'plain') flow(text, 0, text.length, out, () => 0)
  else if (node.style === 'single') flow(text, 1, text.length - 1, out, singleQuoted)
  else flow(text, 1, text.length - 1, out, doubleQuoted)
  if (out.text !== expected) return undefined
  return [...out.offsets, out.end].map(o => o + start)
}

class Decoded {
  text = ''
  readonly offsets: number[] = []
  end = 0

  /** `s` is at `from` to `to`; all its characters map to `from` if they do not correspond one to one. */
  push(s: string, from: number, to: number): void {
    this.text += s
    for (let i = 0; i < s.length; i++) this.offsets.push(to - from === s.length ? from + i : from)
    this.end = to
  }

  /** Drops white space before a folded line break. */
  trimEnd(min: number): void {
    while (this.text.length > min && /[ \t]$/.test(this.text)) {
      this.text = this.text.slice(0, -1)
      this.offsets.pop()
    }
  }
}

/** Consumes an escape at `i`: pushes its characters and returns its length; 0 if there is none. */
type Escape = (text: string, i: number, out: Decoded) => number

const singleQuoted: Escape = (text, i, out) => {
  if (text[i] !== "'" || text[i + 1] !== "'") return 0
  out.push("'", i, i + 2)
  return 2
}

const ESCAPES: Record<string, string> = {
  '0': '\0',
  a: '\x07',
  b: '\b',
  t: '\t',
  '\t': '\t',
  n: '\n',
  v: '\v',
  f: '\f',
  r: '\r',
  e: '\x1b',
  ' ': ' ',
  '"': '"',
  '/': '/',
  '\\': '\\',
  N: '\x85',
  _: '\xa0',
  L: '\u2028',
  P: '\u2029',
}

const doubleQuoted: Escape = (text, i, out) => {
  if (text[i] !== '\\') return 0
  const c = text[i + 1]
  const hex = c === 'x' ? 2 : c === 'u' ? 4 : c === 'U' ? 8 : 0
  const broken = /^\\\r?\n[ \t]*/.exec(text.slice(i, i + 1000))
  if (broken) return broken[0].length
  const code = hex > 0 ? Number.parseInt(text.slice(i + 2, i + 2 + hex), 16) : 0
  const meaning = hex > 0 ? (code <= 0x10ffff ? String.fromCodePoint(code || 0) : '') : (ESCAPES[c] ?? '')
  out.push(meaning, i, i + 2 + hex)
  // An escaped space at the end of a line is kept.
  return 2 + hex
}

/** Plain and quoted values: a line break is a space, n + 1 line breaks are n line breaks. */
function flow(text: string, from: number, to: number, out: Decoded, escape: Escape): void {
  let kept = 0
  for (let i = from; i < to; ) {
    const eaten = escape(text, i, out)
    if (eaten > 0) {
      i += eaten
      kept = out.text.length
      continue
    }
    const c = text[i]
    if (c === '\n' || (c === '\r' && text[i + 1] === '\n')) {
      out.trimEnd(kept)
      const run = /^(?:\r?\n[ \t]*)+/.exec(text.slice(i, to))![0]
      const breaks = run.split('\n').length - 1
      out.push(breaks === 1 ? ' ' : '\n'.repeat(breaks - 1), i, i + run.length)
      kept = out.text.length
      i += run.length
      continue
    }
    out.push(c, i, i + 1)
    i++
  }
}

interface Line {
  readonly at: number
  readonly text: string
  readonly end: number
}

/** An indentation indicator is relative to the parent, which is unknown here: the indentation that results in the value is used. */
function blockOffsets(text: string, folded: boolean, expected: unknown): number[] | undefined {
  const header = /^[|>]([0-9+-]*)[^\n]*\n?/.exec(text)
  if (!header) return undefined
  const lines: Line[] = []
  for (let i = header[0].length; i < text.length; ) {
    const newline = text.indexOf('\n', i)
    const end = newline < 0 ? text.length : newline
    lines.push({ at: i, text: text.slice(i, text[end - 1] === '\r' ? end - 1 : end), end: newline < 0 ? end : end + 1 })
    i = newline < 0 ? text.length : newline + 1
  }
  const first = lines.find(l => /[^ ]/.test(l.text)) ?? lines.reduce((a, b) => (b.text.length > a.text.length ? b : a), lines[0])
  const widest = first ? /^ */.exec(first.text)![0].length : 0
  const lowest = /[0-9]/.test(header[1]) ? 0 : widest
  for (let indent = widest; indent >= lowest; indent--) {
    const out = new Decoded()
    block(lines, text, indent, header[1], folded, out)
    if (out.text === expected) return [...out.offsets, out.end]
  }
  return undefined
}

/** `|` and `>`: removes indentation, keeps or folds line breaks, and chomps the end. */
function block(lines: readonly Line[], text: string, indent: number, indicator: string, folded: boolean, out: Decoded): void {
  const chomp = indicator.includes('+') ? 'keep' : indicator.includes('-') ? 'strip' : 'clip'
  const content = lines.map(l => ({ ...l, at: l.at + Math.min(indent, l.text.length), text: l.text.slice(indent) }))
  let last = content.length - 1
  while (last >= 0 && content[last].text === '') last--
  for (let i = 0; i <= last; i++) {
    const line = content[i]
    out.push(line.text, line.at, line.at + line.text.length)
    if (i === last) break
    const breakAt = line.at + line.text.length
    // Line breaks before the first text are also kept.
    if (!folded || (line.text === '' && !content.slice(0, i).some(l => l.text !== ''))) {
      out.push('\n', breakAt, breakAt + 1)
      continue
    }
    // Folding joins two text lines; lines that begin with white space, and the breaks around them, are not changed.
    let next = i + 1
    while (content[next].text === '') next++
    const empty = next - i - 1
    const more = (t: string): boolean => /^[ \t]/.test(t)
    const kept = more(line.text) || more(content[next].text)
    out.push(kept ? '\n'.repeat(empty + 1) : empty === 0 ? ' ' : '\n'.repeat(empty), breakAt, breakAt + 1)
    i = next - 1
  }
  const end = out.end
  if (last < 0) return
  if (chomp === 'clip' && content[last].end > content[last].at + content[last].text.length) out.push('\n', end, end + 1)
  if (chomp === 'keep')
    out.push('\n'.repeat(content.length - last - (lines.at(-1)!.end === text.length && !text.endsWith('\n') ? 1 : 0)), end, end + 1)
}

/** Position of characters `start`..`end` of the final value in the text; undefined if unknown. */
export function spanInScalar(node: ScalarNode, start: number, end: number): ScalarNode['span'] | undefined {
  const offsets = scalarOffsets(node)
  if (!offsets) return undefined
  const sub = node.substitution
  const from = sub ? toTemplate(sub.pieces, start, false) : start
  const to = sub ? toTemplate(sub.pieces, end, true) : end
  const a = offsets[Math.min(from, offsets.length - 1)]
  const b = offsets[Math.min(Math.max(to, from), offsets.length - 1)]
  const inserted = sub?.pieces.some(p => p.variable !== undefined && p.at < end && p.to > start) === true
  return { source: node.span.source, start: a, end: Math.max(a, b), ...(inserted && { nearby: true }) }
}

/** Maps an offset of the value to its template; inside the text of a variable, to the start (or end) of its reference. */
function toTemplate(pieces: NonNullable<ScalarNode['substitution']>['pieces'], offset: number, isEnd: boolean): number {
  for (const p of pieces) {
    if (offset < p.at || offset > p.to || (offset === p.to && !isEnd && p !== pieces.at(-1)) || (isEnd && offset === p.at && p.at < p.to))
      continue
    if (p.variable === undefined) return p.start + (offset - p.at)
    return isEnd ? p.end : p.start
  }
  return pieces.at(-1)?.end ?? 0
}
