/** Parses YAML to a tree with positions. Time and memory are limited for any text, because `validate` reads untrusted files. */
import {
  type Alias,
  Composer,
  type CST,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  type Node,
  Parser,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml'
import { isJsonNumber } from '../contract/plugin.ts'
import { numberText } from './numbers.ts'
import type { Problems } from './problems.ts'
import { suggest } from '../kit/text/suggest.ts'
import {
  type MapNode,
  type Path,
  type ScalarNode,
  type ScalarStyle,
  type ScalarValue,
  type SeqNode,
  SourceText,
  type Substitution,
  type TreeNode,
} from './tree.ts'
import { type Marks, reportYamlErrors } from './yaml-errors.ts'

export const MAX_BYTES = 1_000_000
/** The yaml library needs up to 7 µs per token, and its composer recurses once per level. */
const MAX_TOKENS = 30_000
export const MAX_DEPTH = 64
const MAX_SCALAR = 65_536
/** Maximum number of values that all aliases together may expand to. */
const MAX_ALIASED = 10_000

export const FORBIDDEN = new Set(['__proto__', 'constructor', 'prototype'])

const STYLES: Record<string, ScalarStyle> = {
  PLAIN: 'plain',
  QUOTE_SINGLE: 'single',
  QUOTE_DOUBLE: 'double',
  BLOCK_LITERAL: 'literal',
  BLOCK_FOLDED: 'folded',
}

/**
 * @param tolerant a text with YAML errors has a tree, too, of what could be read: for an editor, not for checks
 * @returns the tree; undefined if the text cannot be read (`problems` has the reason).
 */
export function parseText(source: SourceText, problems: Problems, tolerant = false): TreeNode | undefined {
  const { text } = source
  const at = (start: number, end = start): { source: SourceText; start: number; end: number } => ({ source, start, end })
  if (text.length > MAX_BYTES) {
    problems.add('CONFIG_LIMIT', at(0), [], `the file has ${text.length} characters, allowed are ${MAX_BYTES}`)
    return undefined
  }
  const stop = new LimitReached()
  const marks: Marks = { brackets: [], quote: 0 }
  const composer = new Composer({ prettyErrors: false, uniqueKeys: false, schema: 'core', strict: true, logLevel: 'silent' })
  const before = problems.empty
  let broken = false
  let root: Node | null | undefined
  let count = 0
  try {
    for (const doc of composer.compose(tokens(text, marks, stop), true, text.length)) {
      count++
      broken ||= doc.errors.length > 0
      reportYamlErrors(doc.errors, marks, source, problems)
      if (count === 1) root = doc.contents as Node | null
      else if (count === 2)
        problems.add(
          'CONFIG_DOCUMENTS',
          at(doc.range[0], doc.range[0] + 3),
          [],
          'a second document begins here; put each pipeline into its own file',
        )
    }
  } catch (error) {
    if (error !== stop) throw error
    problems.add('CONFIG_LIMIT', at(stop.offset, stop.offset + 1), [], stop.reason)
    return undefined
  }
  // An incomplete tree would only cause false problems.
  if (broken && !tolerant) return undefined
  if (!root || (isScalar(root) && root.value === null)) {
    if (before && problems.empty)
      problems.add(
        'CONFIG_EMPTY',
        at(0),
        [],
        'the file is empty: a pipeline needs at least name, sources and sinks, a topic catalog needs topics',
      )
    return undefined
  }
  return new TreeBuilder(source, problems).build(root, [])
}

class LimitReached extends Error {
  offset = 0
  reason = ''
  at(offset: number, reason: string): this {
    this.offset = offset
    this.reason = reason
    return this
  }
}

/** The parse loop of the library, with limits checked after every token. */
function* tokens(text: string, marks: Marks, stop: LimitReached): Generator<CST.Token> {
  const parser = new Parser()
  let count = 0
  for (const lexeme of new Lexer().lex(text)) {
    if (lexeme.length > MAX_SCALAR) throw stop.at(parser.offset, `one value of ${lexeme.length} characters, allowed are ${MAX_SCALAR}`)
    if (lexeme[0] === '"' || lexeme[0] === "'") marks.quote = parser.offset
    else if (lexeme.length === 1 && '[]{}'.includes(lexeme)) marks.brackets.push({ char: lexeme, at: parser.offset })
    yield* parser.next(lexeme)
    if (++count > MAX_TOKENS) throw stop.at(parser.offset, `more than ${MAX_TOKENS} tokens`)
    if (parser.stack.length > 2 * MAX_DEPTH) throw stop.at(parser.offset, `nested deeper than ${MAX_DEPTH} levels`)
  }
  yield* parser.end()
}

/** Marks a value with a reported problem: later checks skip it. */
const UNKNOWN: Substitution = { template: '', pieces: [], unresolved: true, outside: false }

class TreeBuilder {
  private readonly source: SourceText
  private readonly problems: Problems
  private readonly anchors = new Map<string, TreeNode | 'open'>()
  private aliased = 0

  constructor(source: SourceText, problems: Problems) {
    this.source = source
    this.problems = problems
  }

  build(node: Node, path: Path): TreeNode {
    if (isAlias(node)) return this.alias(node, path)
    const { anchor } = node as { anchor?: string }
    if (anchor) this.anchors.set(anchor, 'open')
    const tag = tagOf(node)
    // Tags of the core schema (`!!str 5`) are also rejected: quotes have the same effect.
    if (tag) this.problems.add('CONFIG_TAG', this.tagSpan(node, tag), path, 'tags are not supported')
    // The result of a tag on a map or a list (`!!omap`, `!!pairs`) may not consist of nodes.
    const built: TreeNode =
      tag && !isScalar(node)
        ? { kind: 'scalar', span: this.span(node), value: null, style: 'plain', substitution: UNKNOWN }
        : isMap(node)
          ? this.map(node as YAMLMap<Node, Node | null>, path)
          : isSeq(node)
            ? this.seq(node as YAMLSeq<Node>, path)
            : this.scalar(node as Scalar, path)
    if (anchor) this.anchors.set(anchor, built)
    return built
  }

  private span(node: Node): { source: SourceText; start: number; end: number } {
    const [start, end] = node.range!
    return { source: this.source, start, end }
  }

  private tagSpan(node: Node, tag: string): { source: SourceText; start: number; end: number } {
    const { start } = this.span(node)
    const written = this.source.text.lastIndexOf('!', Math.max(start - 1, 0))
    return written >= 0 && start - written < tag.length + 80 ? { source: this.source, start: written, end: start } : this.span(node)
  }

  private scalar(node: Scalar, path: Path): ScalarNode {
    const span = this.span(node)
    // A rejected tag may have changed it to an object.
    let value = isValue(node.value) ? node.value : (node.source ?? '')
    // A JSON number beyond the range of a double is kept: the key may have `exact`.
    const beyond = typeof value === 'number' && !Number.isFinite(value)
    if (typeof value === 'bigint' || (beyond && !isJsonNumber(numberText(span)))) {
      this.problems.add('CONFIG_TYPE', span, path, 'numbers are finite')
      value = 0
    }
    return {
      kind: 'scalar',
      span,
      value,
      style: STYLES[node.type ?? 'PLAIN'] ?? 'plain',
      ...(tagOf(node) ? { substitution: UNKNOWN } : {}),
    }
  }

  private seq(node: YAMLSeq<Node>, path: Path): SeqNode {
    return { kind: 'seq', span: this.span(node), items: node.items.map((item, i) => this.build(item, [...path, i])) }
  }

  private map(node: YAMLMap<Node, Node | null>, path: Path): MapNode {
    const entries: MapNode['entries'] = new Map()
    for (const { key, value } of node.items) {
      const keySpan = key?.range ? this.span(key) : this.span(node)
      const tag = key === null ? undefined : tagOf(key)
      if (tag) {
        this.problems.add('CONFIG_TAG', this.tagSpan(key, tag), path, 'tags are not supported')
        continue
      }
      const name = isScalar(key) && key.value !== null ? String(key.value) : undefined
      if (name === undefined) {
        this.problems.add('CONFIG_KEY', keySpan, path, 'a key must be a plain string')
        continue
      }
      if (name === '<<') {
        this.problems.add(
          'CONFIG_MERGE',
          keySpan,
          path,
          'merge keys are not supported; use an alias for the whole value, or write the keys out',
        )
        continue
      }
      if (FORBIDDEN.has(name)) {
        this.problems.add('CONFIG_KEY', keySpan, path, `the key ${name} is not allowed`)
        continue
      }
      const first = entries.get(name)
      if (first) {
        const { line } = this.source.position(first.key.start)
        this.problems.add('CONFIG_DUPLICATE_KEY', keySpan, [...path, name], `duplicate key ${name}, also in line ${line}`)
      }
      const child: TreeNode = value
        ? this.build(value, [...path, name])
        : { kind: 'scalar', span: { ...keySpan, start: keySpan.end }, value: null, style: 'plain' }
      // The first of two equal keys is used; the contents of both are checked.
      if (!first) entries.set(name, { key: keySpan, value: child })
    }
    return { kind: 'map', span: this.span(node), entries }
  }

  private alias(node: Alias, path: Path): TreeNode {
    const target = this.anchors.get(node.source)
    const span = this.span(node)
    const nothing: ScalarNode = {
      kind: 'scalar',
      span,
      value: null,
      style: 'plain',
      substitution: UNKNOWN,
    }
    if (target === undefined || target === 'open') {
      const message = target ? `the value of &${node.source} contains itself` : `no anchor &${node.source} is defined before this alias`
      const near = target ? undefined : suggest(node.source, this.anchors.keys())
      this.problems.add('CONFIG_ALIAS', span, path, message, near && `*${near}`)
      return nothing
    }
    const already = this.aliased > MAX_ALIASED
    this.aliased += already ? 0 : count(target, MAX_ALIASED)
    if (this.aliased > MAX_ALIASED) {
      if (!already) this.problems.add('CONFIG_ALIAS', span, path, `the aliases expand to more than ${MAX_ALIASED} values`)
      return nothing
    }
    return target
  }
}

/** `!!merge` converts its value to a symbol without a tag. */
const tagOf = (node: Node): string | undefined => node.tag ?? (isScalar(node) && typeof node.value === 'symbol' ? '!!merge' : undefined)

const isValue = (value: unknown): value is ScalarValue => value === null || ['string', 'number', 'boolean', 'bigint'].includes(typeof value)

function count(node: TreeNode, limit: number): number {
  if (node.kind === 'scalar') return 1
  let total = 1
  for (const child of node.kind === 'map' ? [...node.entries.values()].map(e => e.value) : node.items) {
    total += count(child, limit - total)
    if (total > limit) break
  }
  return total
}
