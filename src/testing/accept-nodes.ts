/** Tools of `--accept`: render YAML nodes as text at a position of a file, and convert values to nodes. */
import { Document, isMap, isScalar, isSeq, type Pair, type Scalar, visit, type YAMLMap, type YAMLSeq } from 'yaml'
import { ExactNumber, isJsonNumber, type Json } from '../contract/plugin.ts'

export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

export interface NodePosition {
  readonly node: unknown
  /** Inside `[]` or `{}`: the text must stay on one line. */
  readonly inFlow: boolean
}

/** The node at a path without aliases: changing the target of an alias would change other tests too. */
export function nodeAt(doc: Document, path: readonly (string | number)[]): NodePosition {
  let node: unknown = doc.contents
  let inFlow = false
  for (const part of path) {
    inFlow ||= (isMap(node) || isSeq(node)) && node.flow === true
    if (isMap(node)) node = node.items.find(p => keyOf(p) === String(part))?.value
    else if (isSeq(node)) node = node.items[part as number]
    else return { node: undefined, inFlow }
  }
  return { node, inFlow }
}

/** The node with another value. Comments, styles and the order of keys are kept if possible. With `subset` no keys are added. */
export function updated(node: unknown, value: Json | undefined, subset: boolean): unknown {
  if (isMap(node) && typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber)) {
    node.items = node.items.filter(p => Object.hasOwn(value, keyOf(p)))
    for (const pair of node.items) pair.value = updated(pair.value, value[keyOf(pair)], subset)
    if (!subset) for (const [k, v] of Object.entries(value)) if (!node.has(k)) node.set(k, nodeOf(v))
    return node
  }
  if (isScalar(node) && (typeof value !== 'object' || value === null || value instanceof ExactNumber)) {
    if (node.value !== value) setScalar(node, value)
    return node
  }
  return nodeOf(value as Json)
}

export const keyOf = (pair: Pair): string => String(isScalar(pair.key) ? pair.key.value : pair.key)

export function setScalar(node: Scalar, value: unknown): void {
  // The notation of the old value does not apply to the new one.
  if (typeof value !== typeof node.value || typeof value === 'number') {
    delete node.type
    delete node.format
    delete node.minFractionDigits
  }
  delete node.source
  node.value = value
}

/** Writes numbers with all their digits. */
const newDocument = (): Document =>
  new Document(null, {
    customTags: tags => [
      {
        tag: 'tag:yaml.org,2002:float',
        default: true,
        identify: value => value instanceof ExactNumber,
        resolve: (text: string) => new ExactNumber(text),
        stringify: ({ value }) => String(value),
      },
      ...tags,
    ],
  })

/** A node that is written on one line. */
export const nodeOf = (value: Json): unknown => newDocument().createNode(value, { flow: true })

/** Bytes in the notation of `raw` and `key`. */
export function bytesOf(data: Buffer | null): Json {
  if (data === null) return null
  const text = data.toString()
  return Buffer.from(text).equals(data) ? text : { base64: data.toString('base64') }
}

export function render(node: unknown): string {
  const doc = newDocument()
  doc.contents = node as typeof doc.contents
  visit(doc, {
    Scalar(_, scalar) {
      const { value, source } = scalar
      if (typeof value === 'number' && source !== undefined && isJsonNumber(source) && String(value) !== source)
        scalar.value = new ExactNumber(source)
    },
  })
  return doc.toString({ lineWidth: 0 }).trimEnd()
}

/** The edit that replaces the text of a list or map by its current content. */
export function splice(node: YAMLMap | YAMLSeq, text: string): Edit {
  const [start, end] = node.range!
  // Comments around the node stay in the text.
  node.commentBefore = undefined
  node.comment = undefined
  const rendered = render(node)
  const wasFlow = text[start] === '[' || text[start] === '{'
  const tail = /\s*$/.exec(text.slice(start, end))![0]
  const before = text.slice(0, start).trimEnd().length
  if (wasFlow && !node.flow) {
    const line = text.lastIndexOf('\n', start) + 1
    const column = /^[\s-]*/.exec(text.slice(line))![0].length + 2
    return { start: before, end, text: `\n${indent(rendered, column, true)}` }
  }
  if (!wasFlow && node.flow && text[before - 1] === ':') return { start: before, end, text: ` ${rendered}${tail}` }
  return { start, end, text: indent(rendered, columnOf(text, start), false) + tail }
}

export const columnOf = (text: string, offset: number): number => offset - (text.lastIndexOf('\n', offset - 1) + 1)

export const indent = (text: string, columns: number, first: boolean): string =>
  text
    .split('\n')
    .map((line, i) => (line === '' || (i === 0 && !first) ? line : ' '.repeat(columns) + line))
    .join('\n')
