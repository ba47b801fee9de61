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
  let lost = false
  let covered = -1
  for (const error of errors) {
    // Once the parser has lost its way, what it says of the rest is noise; so is a second error about the same text.
    if ((lost && error.code === 'UNEXPECTED_TOKEN') || error.pos[0] < covered) continue
    lost ||= error.code === 'BAD_INDENT' || /in YAML stream|at node end/.test(error.message)
    const { start, end, message, tab } = explain(error, marks, source.text)
    covered = Math.max(covered, error.pos[1])
    problems.add(tab ? 'CONFIG_TAB' : 'CONFIG_YAML', { source, start, end }, [], message)
  }
}

interface Explained {
  readonly start: number
  readonly end: number
  readonly message: string
  readonly tab?: boolean
}

function explain(error: YamlError, marks: Marks, text: string): Explained {
  const at = firstChar(text, error.pos[0])
  const one = { start: at, end: Math.min(at + 1, text.length) }
  if (error.code === 'TAB_AS_INDENT' || (/tab/i.test(error.message) && text[error.pos[0]] === '\t')) {
    return { start: error.pos[0], end: error.pos[0] + 1, message: 'a tab indents this line; YAML allows only spaces', tab: true }
  }
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
