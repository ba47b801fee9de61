/**
 * What a person reads, taken out of files: prose of Markdown, descriptions of schemas, comments, messages and test titles.
 * Every piece has its line, so that scripts/words.js can report where it is.
 */

/** @typedef {{ line: number, kind: string, text: string }} Piece */

/** Inline code, links and emphasis as plain words; code becomes one word, so that sentences keep their length. */
export const plain = text =>
  text
    .replace(/``.+?``|`[^`\n]*`/g, 'code')
    .replace(/!?\[([^\]]*)\]\([^)\s]*(?: "[^"]*")?\)/g, '$1')
    .replace(/<[^>\n]+>/g, '')
    .replace(/\*\*|__/g, '')

const lineOf = (text, index) => {
  let line = 1
  for (let at = text.indexOf('\n'); at >= 0 && at < index; at = text.indexOf('\n', at + 1)) line++
  return line
}

/** @returns {Piece[]} headings, paragraphs, list items, table cells, labels of Mermaid diagrams and the languages of code fences. */
export function markdown(text) {
  const found = []
  let paragraph
  let fence
  let header
  const end = () => {
    if (paragraph) found.push(paragraph)
    paragraph = undefined
  }
  text.split('\n').forEach((raw, index) => {
    const line = index + 1
    const mark = /^\s*(```+|~~~+)(.*)$/.exec(raw)
    if (fence) {
      if (mark && mark[1].startsWith(fence.mark) && mark[2].trim() === '') fence = undefined
      else if (fence.language === 'mermaid')
        for (const labels of raw.matchAll(/"([^"]+)"|\|([^|]+)\||[[({]+([^[\](){}"|]+)[\])}]+/g))
          found.push({ line, kind: 'label', text: labels.slice(1).find(label => label !== undefined) })
      return
    }
    if (mark) {
      end()
      fence = { mark: mark[1], language: mark[2].trim().split(/\s/)[0] }
      found.push({ line, kind: 'fence', text: fence.language })
      return
    }
    const heading = /^#{1,6} (.+)$/.exec(raw)
    if (!/^\s*\|/.test(raw)) header = undefined
    if (raw.trim() === '' || raw.startsWith('<!--')) end()
    else if (heading) {
      end()
      found.push({ line, kind: 'heading', text: heading[1] })
    } else if (/^\s*\|/.test(raw)) {
      end()
      const cells = raw.replace(/`[^`]*`/g, code => code.replaceAll('|', '/')).split(/(?<!\\)\|/)
      header ??= cells
      // Columns of what not to write.
      cells.forEach((cell, column) => {
        if (/[a-z]/i.test(cell) && !/^\s*(?:before|not)\s*$/.test(header[column] ?? ''))
          found.push({ line, kind: 'cell', text: cell.trim() })
      })
    } else if (/^\s*(?:[-*+]|\d+\.) /.test(raw)) {
      end()
      paragraph = { line, kind: 'prose', text: raw.replace(/^\s*(?:[-*+]|\d+\.) /, '') }
    } else if (paragraph) paragraph.text += `\n${raw.trim()}`
    else paragraph = { line, kind: 'prose', text: raw.trim() }
  })
  end()
  return found
}

/** @returns {Piece[]} `title` and `description` of a JSON Schema, at any depth. */
export function schema(text) {
  const found = []
  for (const match of text.matchAll(/"(?:title|description|deprecationMessage)"\s*:\s*("(?:[^"\\]|\\.)*")/g))
    found.push({ line: lineOf(text, match.index), kind: 'description', text: JSON.parse(match[1]) })
  return found
}

/** @returns {Piece[]} comments of a YAML file; neighboring lines are one piece. */
export function yaml(text) {
  const found = []
  text.split('\n').forEach((raw, index) => {
    const whole = /^\s*# ?(.*)$/.exec(raw)
    const comment = whole?.[1] ?? /\s# (.*)$/.exec(raw.replace(/"(?:[^"\\]|\\.)*"|'[^']*'/g, quoted => quoted.replaceAll('#', '_')))?.[1]
    if (comment === undefined || comment.trim() === '') return
    const last = found.at(-1)
    if (whole && last?.whole && last.end === index) {
      last.text += `\n${comment}`
      last.end = index + 1
    } else found.push({ line: index + 1, end: index + 1, whole: !!whole, kind: 'comment', text: comment })
  })
  return found
}

const REGEX_AFTER = /(?:^|[=(,:[!&|?{};+\-*%<>~^]|=>|\breturn|\btypeof|\bcase|\bin|\bof|\bawait|\byield)\s*$/

/**
 * Comments and strings of TypeScript or JavaScript. A scanner instead of a parser: it knows comments, strings, templates and regular expressions.
 * @returns {Piece[]} `comment` (neighboring `//` lines are one piece) and `string`; `before` is the code in front of a string.
 */
export function code(text) {
  const found = []
  const templates = []
  let at = 0
  let depth = 0
  const push = (kind, start, value, whole) => {
    const line = lineOf(text, start)
    const last = found.at(-1)
    if (whole && last?.whole && last.end === line - 1) {
      last.text += `\n${value}`
      last.end = line
    } else found.push({ line, end: line, whole, kind, text: value, before: text.slice(Math.max(0, start - 60), start) })
  }
  const template = start => {
    let value = ''
    for (; at < text.length; at++) {
      if (text[at] === '\\') value += unescape(text[++at])
      else if (text[at] === '`') {
        at++
        return push('string', start, value)
      } else if (text[at] === '$' && text[at + 1] === '{') {
        at += 2
        templates.push({ start, value: `${value}\u2039\u203a`, depth })
        return
      } else value += text[at]
    }
  }
  const unescape = char => (char === 'n' ? '\n' : char === 't' ? '\t' : (char ?? ''))
  while (at < text.length) {
    const start = at
    const char = text[at]
    if (text.startsWith('//', at)) {
      const end = text.indexOf('\n', at)
      at = end < 0 ? text.length : end
      const alone = /(?:^|\n)[ \t]*$/.test(text.slice(Math.max(0, start - 80), start))
      push('comment', start, text.slice(start + 2, at).trim(), alone)
    } else if (text.startsWith('/*', at)) {
      const end = text.indexOf('*/', at + 2)
      at = end < 0 ? text.length : end + 2
      push(
        'comment',
        start,
        text
          .slice(start + 2, at - 2)
          .replace(/^\s*\*(?: |$)?/gm, '')
          .trim(),
      )
    } else if (char === "'" || char === '"') {
      let value = ''
      for (at++; at < text.length && text[at] !== char && text[at] !== '\n'; at++)
        value += text[at] === '\\' ? unescape(text[++at]) : text[at]
      at++
      push('string', start, value)
    } else if (char === '`') {
      at++
      template(start)
    } else if (char === '{') {
      depth++
      at++
    } else if (char === '}') {
      at++
      const open = templates.at(-1)
      if (open && open.depth === depth) {
        templates.pop()
        const rest = found.length
        template(open.start)
        const whole = found.length > rest ? found.at(-1) : templates.at(-1)
        if (whole) {
          if (found.length > rest) whole.text = open.value + whole.text
          else whole.value = open.value + whole.value
        }
      } else depth--
    } else if (char === '/' && REGEX_AFTER.test(text.slice(Math.max(0, at - 20), at))) {
      let set = false
      for (at++; at < text.length && text[at] !== '\n' && (set || text[at] !== '/'); at++) {
        if (text[at] === '\\') at++
        else if (text[at] === '[') set = true
        else if (text[at] === ']') set = false
      }
      at++
    } else at++
  }
  return found
}
