/** Converts the errors of the YAML library to messages for users, at the position of the mistake. */
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
  // A tab shifts everything after it: the rest is checked when the tab is removed.
  if (tabs.length > 0) return
  let lost = false
  for (const error of errors) {
    // Only the first structural error is reported; others are usually consequences.
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
  if (dollar >= 0) return { start: dollar, end: lineEnd(text, dollar), message: 'inside [ ] and { }, ${…} needs quotes: "${…}"' }
  if (/^Missing closing .quote/.test(error.message)) return { start: marks.quote, end: marks.quote + 1, message: 'missing closing quote' }
  if (/^Flow (map|sequence) .*end with a/.test(error.message)) return bracket(marks, at, text)
  if (error.code === 'MULTILINE_IMPLICIT_KEY' || error.message.startsWith('Implicit map keys')) {
    return {
      start: at,
      end: lineEnd(text, at),
      message: 'expected `key: value`: check the colon, the space after it, and the indentation',
    }
  }
  if (error.code === 'BLOCK_AS_IMPLICIT_KEY') {
    return { start: at, end: lineEnd(text, at), message: 'put a value that contains `: ` in quotes; or indent the next line less' }
  }
  if (/must start at the same column/.test(error.message))
    return { ...one, message: 'the indentation matches no line above: all entries of a map or list start in the same column' }
  if (/^Unexpected flow-(?:seq|map)-end token/.test(error.message))
    return { ...one, message: `${text[at]} without an opening bracket: remove it, or put the value in quotes` }
  const end = Math.max(one.end, Math.min(error.pos[1], lineEnd(text, at)))
  const [, message] = MESSAGES.find(([pattern]) => pattern.test(error.message)) ?? []
  return {
    start: at,
    end,
    message: message?.replaceAll('%', text[at] ?? 'it') ?? 'not valid YAML here: check quotes, brackets and indentation',
  }
}

/** By the message of the library. `%`: the character at the position. */
const MESSAGES: readonly (readonly [RegExp, string])[] = [
  [/^Plain value cannot start with/, 'put a value that starts with % in quotes'],
  [/^Invalid escape sequence/, 'unknown escape sequence: write \\\\ for a backslash, or use single quotes'],
  [/^(?:Alias|Anchor) (?:cannot be an empty|ending in)/, 'missing name after %; put a value that starts with % in quotes'],
  [/ at node end$/, 'unexpected text after the value: put the whole value in quotes'],
  [/^Unexpected (?:,|empty item) in/, 'missing entry before this comma'],
  [/^Missing , or : between/, 'missing comma or colon between two entries'],
  [/^Missing , between/, 'missing comma between two entries'],
  [/^Missing space after :/, 'missing space after the colon'],
  [/^Block scalar header/, 'unexpected text after | or >: start the text in the next line'],
  [/^Block scalar/, 'a line of this text is indented less than its first line'],
  [/at most one anchor/, 'a value can have only one anchor'],
  [/at most one tag|^Unresolved tag|collection, but expects/, 'tags are not supported'],
  [/^An alias node/, 'an alias cannot have an anchor or a tag'],
  [/^Anchors and tags must be after|^Tags and anchors must be separated/, 'an anchor comes before the value, separated by a space'],
  [/^Comments must be separated/, 'missing space before the # of a comment'],
  [/^Unexpected block-seq-ind|^A block sequence may not/, 'start a list in the line after its key'],
  [
    /^Block collections are not allowed within/,
    'inside [ ] and { }, put a value that contains `: ` in quotes, and a nested map or list in brackets',
  ],
  [/directives-end marker$/, 'start the document in the line after ---'],
  [/^Missing directives-end/, 'missing --- after the lines that start with %'],
]

/** The bracket without a closing or an opening one. */
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
    return { start: at, end: at + 1, message: `${text[at] ?? 'the end'} without an opening bracket: remove it, or put the value in quotes` }
  const closing = Object.keys(OPENER).find(char => OPENER[char] === top.char)
  // Without indentation, the library no longer reads these lines as a part of the list or map.
  if (text.includes(`\n${closing}`, at))
    return {
      start: at,
      end: at + 1,
      message: `indent the lines between ${top.char} and ${closing}, and ${closing} itself, more than the key`,
    }
  return {
    start: top.at,
    end: top.at + 1,
    message: `${top.char} is not closed: add ${closing}`,
  }
}

/** Moves the position of an error from spaces to the text after them. */
function firstChar(text: string, offset: number): number {
  let at = offset
  while (text[at] === ' ') at++
  return at < text.length && text[at] !== '\n' && text[at] !== '\r' ? at : offset
}

function lineEnd(text: string, offset: number): number {
  const newline = text.indexOf('\n', offset)
  return newline < 0 ? text.length : newline - (text[newline - 1] === '\r' ? 1 : 0)
}
