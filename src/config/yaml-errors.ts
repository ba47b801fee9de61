/** The YAML library's errors, put where the mistake was made and said for people who write files, not parsers. */
import type { Problems } from './problems.ts'
import type { SourceText } from './tree.ts'

export interface YamlError {
  readonly code: string
  readonly message: string
  readonly pos: readonly [number, number]
}

/** Brackets and opening quotes of the text, with their offsets. */
export interface Marks {
  readonly brackets: { readonly char: string; readonly at: number }[]
  quote: number
}

const OPENER: Record<string, string> = { ']': '[', '}': '{' }

export function reportYamlErrors(errors: readonly YamlError[], marks: Marks, source: SourceText, problems: Problems): void {
  const tabs = errors.filter(e => isTab(e, source.text))
  for (const { pos } of tabs) {
    problems.add('CONFIG_TAB', { source, start: pos[0], end: pos[0] + 1 }, [], 'tab used for indentation; YAML allows only spaces')
  }
  // A tab moves all that follows: the rest is read again once it is gone.
  if (tabs.length > 0) return
  let lost = false
  for (const error of errors) {
    // Once the parser has lost its way, what it says of the structure of the rest is noise.
    if (lost && !LOCAL.has(error.code)) continue
    lost ||= !LOCAL.has(error.code)
    const { start, end, message } = explain(error, marks, source.text)
    problems.add('CONFIG_YAML', { source, start, end }, [], message)
  }
}

/** Errors within one value, which do not affect the text around it. */
const LOCAL = new Set(['BAD_SCALAR_START', 'BAD_DQ_ESCAPE'])

const isTab = (error: YamlError, text: string): boolean =>
  error.code === 'TAB_AS_INDENT' || (/tab/i.test(error.message) && text[error.pos[0]] === '\t')

interface Explained {
  readonly start: number
  readonly end: number
  readonly message: string
}

function explain(error: YamlError, marks: Marks, text: string): Explained {
  const at = firstChar(text, error.pos[0])
  const one = { start: at, end: Math.min(at + 1, text.length) }
  const dollar = text.slice(at - 1, at + 1) === '${' ? at - 1 : text.slice(at, at + 2) === '${' ? at : -1
  if (dollar >= 0) return { start: dollar, end: lineEnd(text, dollar), message: 'between [ ] or { } a ${…} needs quotes: "${…}"' }
  if (/^Missing closing .quote/.test(error.message))
    return { start: marks.quote, end: marks.quote + 1, message: 'this quote is never closed' }
  if (/^Flow (map|sequence) .*end with a/.test(error.message)) return bracket(marks, at, text)
  if (error.code === 'MULTILINE_IMPLICIT_KEY' || error.message.startsWith('Implicit map keys')) {
    return {
      start: at,
      end: lineEnd(text, at),
      message: 'this line is no `key: value`; a colon is missing, or the space after it, or it is indented wrongly',
    }
  }
  if (error.code === 'BLOCK_AS_IMPLICIT_KEY') {
    return { start: at, end: lineEnd(text, at), message: 'a value with `: ` in it needs quotes; or the next line is indented too far' }
  }
  if (/must start at the same column/.test(error.message))
    return { ...one, message: 'this line is indented like no line before it: entries of one map or list start in the same column' }
  const end = Math.max(one.end, Math.min(error.pos[1], lineEnd(text, at)))
  return {
    start: at,
    end,
    message: error.message.replace(/\s+/g, ' ').replace(/ in YAML stream: .*| at node end/, ', which belongs to nothing here'),
  }
}

/** Which bracket is wrong: one that is never closed, or one that closes nothing. */
function bracket(marks: Marks, at: number, text: string): Explained {
  const open: { char: string; at: number }[] = []
  for (const mark of marks.brackets) {
    if (mark.at >= at) break
    if (mark.char === '[' || mark.char === '{') open.push(mark)
    else if (open.at(-1)?.char === OPENER[mark.char]) open.pop()
  }
  const opener = OPENER[text[at]]
  const top = open.at(-1)
  if (!top || (opener && !open.some(o => o.char === opener)))
    return { start: at, end: at + 1, message: `this ${text[at] ?? 'end'} closes nothing` }
  return { start: top.at, end: top.at + 1, message: `this ${top.char} is never closed` }
}

/** An error on blanks is about what follows them in the line. */
function firstChar(text: string, offset: number): number {
  let at = offset
  while (text[at] === ' ') at++
  return at < text.length && text[at] !== '\n' && text[at] !== '\r' ? at : offset
}

function lineEnd(text: string, offset: number): number {
  const newline = text.indexOf('\n', offset)
  return newline < 0 ? text.length : newline - (text[newline - 1] === '\r' ? 1 : 0)
}
