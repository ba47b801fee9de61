/**
 * One form of a YAML file: indentation, spacing, blank lines and the order of top-level keys. Scalars keep their text and their quotes, so a
 * number keeps its digits. The result is compared with the original: a file whose values or comments would change is rejected.
 */
import {
  type CollectionTag,
  CST,
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  Lexer,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  type ScalarTag,
  Schema,
  visit,
  type YAMLMap,
} from 'yaml'
import type { StringifyContext } from 'yaml/util'
import { FRAME } from '../../config/frame.ts'

/** Columns of texts that have more than one line. */
const WIDTH = 100

export class Unformattable extends Error {}

/** @throws {Unformattable} when a value or a comment would change */
export function formatYaml(original: string): string {
  const text = original.replace(/^\ufeff/, '').replaceAll('\r\n', '\n')
  const before = read(text)
  const doc = read(text)
  order(doc)
  tidy(doc, text)
  const formatted = doc.contents === null ? text : doc.toString({ lineWidth: 0 })
  const after = read(formatted)
  if (after.errors.length > 0) throw new Unformattable('the formatted text would not be valid YAML')
  if (shape(before) !== shape(after)) throw new Unformattable('a value would change')
  const lost = missing(commentsOf(text), commentsOf(formatted))
  if (lost !== undefined) throw new Unformattable(`this comment would be lost: ${lost}`)
  return formatted
}

/** `{ a: 1 }` and `[a, b]`. */
const padded = (tag: CollectionTag, flowCollectionPadding: string): CollectionTag =>
  ({
    ...tag,
    stringify: (item: YAMLMap, ctx: StringifyContext, onComment?: () => void, onChompKeep?: () => void) =>
      item.toString({ ...ctx, flowCollectionPadding }, onComment, onChompKeep),
  }) as unknown as CollectionTag
/** Of the same copy of the library as the documents: the package has one in `dist/vendor`, without its other entries. */
const tagOf = <T extends CollectionTag | ScalarTag>(name: string): T =>
  new Schema({ schema: 'failsafe' }).tags.find(t => t.tag === `tag:yaml.org,2002:${name}`) as T
const MAP = padded(tagOf('map'), ' ')
const SEQ = padded(tagOf('seq'), '')
const TEXT = tagOf<ScalarTag>('str')

/** With strings only: what a plain scalar means is the business of the reader. */
const read = (text: string): Document =>
  parseDocument(text, {
    schema: 'failsafe',
    keepSourceTokens: true,
    customTags: () => [MAP, SEQ, VERBATIM],
  })

const VERBATIM: ScalarTag = {
  identify: value => typeof value === 'string',
  default: true,
  tag: 'tag:yaml.org,2002:str',
  resolve: text => text,
  stringify(item: Scalar, ctx: StringifyContext, onComment, onChompKeep): string {
    const token = item.srcToken as CST.FlowScalar | CST.BlockScalar | undefined
    if (token?.type === 'block-scalar') {
      const lines = token.source.split('\n')
      const old = Math.min(...lines.filter(line => line.trim() !== '').map(line => /^ */.exec(line)![0].length))
      const { source: header } = token.props.find(p => p.type === 'block-scalar-header') as CST.SourceToken
      // With a digit, or text that starts with spaces, the indentation is part of the value.
      if (Number.isFinite(old) && !/\d/.test(header) && /^ *\S/.test(lines[0]) && /^ */.exec(lines[0])![0].length === old) {
        const comment = item.comment ? ` #${item.comment}` : ''
        if (comment !== '') onComment?.()
        if (header.includes('+')) onChompKeep?.()
        const body = lines.map(line => (line.trim() === '' ? '' : ctx.indent + line.slice(old).trimEnd()))
        return `${header}${comment}\n${body.join('\n').replace(/\n+$/, end => (header.includes('+') ? end.slice(1) : ''))}`
      }
    } else if (token && !token.source.includes('\n')) return token.source
    return TEXT.stringify!(item, { ...ctx, options: { ...ctx.options, lineWidth: WIDTH } }, onComment, onChompKeep)
  },
}

/** The order of the reference. A key that is not in it stays behind the one before it; with anchors, the order is kept. */
function order({ contents }: Document): void {
  if (!isMap(contents)) return
  const known = Object.keys((FRAME as { properties: object }).properties)
  const keyOf = (pair: Pair): string => String((pair.key as Scalar | null)?.value)
  if (!contents.items.some(pair => keyOf(pair) === 'sources')) return
  let anchors = false
  visit(contents, { Node: (_, node) => void (anchors ||= isAlias(node) || (node as { anchor?: string }).anchor !== undefined) })
  if (anchors) return
  let last = -1
  const ranks = new Map(
    contents.items.map(pair => {
      const rank = known.indexOf(keyOf(pair))
      if (rank >= 0) last = rank
      return [pair, rank >= 0 ? rank : last]
    }),
  )
  contents.items.sort((a, b) => ranks.get(a)! - ranks.get(b)!)
}

function tidy(doc: Document, text: string): void {
  visit(doc, {
    // `{` over several lines is a block: it has a line for each entry already.
    Collection(_, node) {
      const whole = node.items.length > 0 && node.items.every(item => !isPair(item) || item.value !== null)
      if (node.flow && whole && text.slice(node.range![0], node.range![1]).includes('\n')) node.flow = false
    },
    // An empty value stays empty.
    Pair(_, pair) {
      if (isScalar(pair.value) && pair.value.srcToken === undefined && pair.value.value === '') pair.value.srcToken = EMPTY as never
    },
  })
  if (isMap(doc.contents)) {
    const [first] = doc.contents.items
    if (first && isScalar(first.key)) first.key.spaceBefore = false
  }
}

const EMPTY = { type: 'scalar', offset: 0, indent: 0, source: '' }

/** Everything but layout. Plain and quoted texts differ: `1` is a number, `'1'` is not. */
function shape(doc: Document): string {
  const of = (node: unknown, top = false): unknown => {
    if (isPair(node)) return [of(node.key), of(node.value)]
    if (isAlias(node)) return ['*', node.source]
    const mark = [
      (node as Node | null)?.tag === VERBATIM.tag ? undefined : (node as Node | null)?.tag,
      (node as { anchor?: string } | null)?.anchor,
    ]
    if (isScalar(node)) return [mark, node.type === 'PLAIN' || node.type === undefined ? 'plain' : 'text', node.value]
    if (isSeq(node)) return [mark, node.items.map(item => of(item))]
    if (!isMap(node)) return node ?? null
    const pairs = node.items.map(item => JSON.stringify(of(item)))
    return [mark, top ? pairs.toSorted() : pairs]
  }
  return JSON.stringify(of(doc.contents, true))
}

function commentsOf(text: string): string[] {
  return [...new Lexer().lex(text)].filter(token => CST.tokenType(token) === 'comment').map(token => token.trim())
}

function missing(before: readonly string[], after: readonly string[]): string | undefined {
  const rest = [...after]
  for (const comment of before) {
    const at = rest.indexOf(comment)
    if (at < 0) return comment
    rest.splice(at, 1)
  }
  return rest[0]
}
