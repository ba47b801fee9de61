/**
 * Checks what a person reads against the voice of CONTRIBUTING.md and the terms of docs/glossary.md: documentation, schema descriptions,
 * messages, comments and test titles. The rules are data in scripts/words-rules.js. `npm run lint` and `npm test` run it.
 *
 * Usage: npx node scripts/words.js [FILE...]
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { LONGEST, PHRASES, PROPER, SPELLING } from './words-rules.js'
import { code, markdown, plain, schema, yaml } from './words-text.js'

/** Not written by us, generated from checked text, or inputs of tests. */
const SKIPPED = [
  /^src\/generated\//,
  /^schemas\/pipeline\.schema\.json$/,
  /^test\/suites\//,
  /^test\/config\/corpus\//,
  /^scripts\/words-rules\.js$/,
  /^test\/infra\/words\.test\.ts$/,
  /lock\.(?:json|yaml)$/,
]
const TITLE = /(?:\b(?:test|it|describe)(?:\.\w+)*(?:<[^(]*>)?(?:\(|`)|[\])`]\()\s*$/

/** Names of the tests in a `*.test.yaml`. */
const names = text =>
  text.split('\n').flatMap((line, i) => {
    const name = /^ *- name: (.+)$/.exec(line)?.[1]
    return name ? [{ line: i + 1, kind: 'title', text: name }] : []
  })

/** @returns {import('./words-text.js').Piece[]} what a person reads in a file. */
export function pieces(file, text) {
  if (file.endsWith('.md')) return markdown(text)
  if (file.endsWith('schema.json')) return schema(text)
  if (/\.test\.ya?ml$/.test(file)) return [...yaml(text), ...names(text)]
  if (/\.ya?ml$/.test(file)) return yaml(text)
  if (!/\.[jt]s$/.test(file)) return []
  return code(text).flatMap(piece => {
    if (piece.kind === 'comment') return [piece]
    if (!/\p{L} \p{L}/u.test(piece.text)) return []
    if (file.startsWith('src/') || file.startsWith('bin/')) return [{ ...piece, kind: 'message' }]
    return TITLE.test(piece.before) ? [{ ...piece, kind: 'title' }] : []
  })
}

/** SQL and scripts, which are strings of the sources but not messages. */
const CODE = /^\s*(?:select|insert|update|delete|create|with|pragma|local)\b/i

const spelling = new RegExp(String.raw`\b(?:${Object.keys(SPELLING).join('|')})\b`, 'gi')

/** @returns {string[]} what is wrong with one piece of text. */
export function problems({ kind, text }) {
  if (kind === 'fence') return text === '' ? ['a code fence names its language (console, text, yaml, …)'] : []
  const found = []
  // Indented lines of a comment are diagrams or examples.
  const words = plain(kind === 'comment' ? text.replace(/^ {2,}.*$/gm, '.') : text)
    .replace(/"[^"\n]{1,40}"/g, 'quoted')
    .replace(/\s+/g, ' ')
  for (const { match, write, kinds, except } of PHRASES) {
    if (kinds && !kinds.includes(kind)) continue
    const hit = match.exec(except ? words.replace(new RegExp(except.source, `${except.flags}g`), '…') : words)
    if (hit) found.push(`"${hit[0].trim()}": write ${write}`)
  }
  for (const [word] of words.matchAll(spelling)) found.push(`"${word}": write ${SPELLING[word.toLowerCase()]}`)
  const longest = kind === 'message' && CODE.test(text) ? undefined : LONGEST[kind]
  if (longest)
    for (const sentence of words.split(/(?<=[.!?:;])\s+/)) {
      const count = sentence.split(' ').filter(word => /\p{Ll}{2}/u.test(word)).length
      if (count > longest) found.push(`a sentence of ${count} words, at most ${longest}: "${sentence.slice(0, 60)}…"`)
    }
  if (kind === 'heading')
    for (const word of words
      .replace(/^(?:\d+[.:]?|\[[^\]]*\]) /, '')
      .split(/(?<=[.:]) \S+|\s+/)
      .slice(1))
      if (word && /^\W*\p{Lu}/u.test(word) && !PROPER.test(word)) found.push(`"${word}" in a heading: sentence case`)
  return found
}

/** @returns {string[]} `file:line: kind: problem` of the files under version control, or of `only`. */
export function violations(root, only) {
  const files =
    only ?? execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' }).split('\n')
  return files
    .filter(file => file !== '' && !SKIPPED.some(skipped => skipped.test(file)) && existsSync(join(root, file)))
    .flatMap(file =>
      /\.(?:md|ya?ml|[jt]s|json)$/.test(file)
        ? pieces(file, readFileSync(join(root, file), 'utf8')).flatMap(piece =>
            problems(piece).map(problem => `${file}:${piece.line}: ${piece.kind}: ${problem}`),
          )
        : [],
    )
}

if (process.argv[1] && resolve(process.argv[1]) === import.meta.filename) {
  const found = violations(process.cwd(), process.argv.length > 2 ? process.argv.slice(2) : undefined)
  for (const line of found) console.error(line)
  if (found.length > 0) {
    console.error(`${found.length} to rewrite: see "Voice" in CONTRIBUTING.md`)
    process.exitCode = 1
  }
}
