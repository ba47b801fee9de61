/**
 * `--accept`: writes what came into the expectations that failed. Only their lists change; everything else in the file stays
 * as it is to the byte, and inside the lists comments and the entries that were right stay too.
 */
import { Document, isMap, isScalar, isSeq, type Pair, parseDocument, type Scalar, type YAMLMap, type YAMLSeq } from 'yaml'
import type { Json } from '../plugin.ts'
import type { Path } from '../runtime/config/tree.ts'
import { header, valueOf } from './compare.ts'
import type { Row } from './align.ts'
import type { ChannelId, Failure, TestResult } from './run.ts'
import type { Written } from './world.ts'

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

export interface Accepted {
  readonly text: string
  /** Expectations written. */
  readonly count: number
  /** Failures no expectation can hold, and places that cannot be edited. */
  readonly left: readonly Failure[]
}

export function accept(text: string, results: readonly TestResult[]): Accepted {
  const doc = parseDocument(text)
  const edits: Edit[] = []
  const left: Failure[] = []
  let count = 0
  for (const { test, failures } of results) {
    const fresh = failures.filter(f => f.kind === 'channel' && !f.expectation)
    for (const failure of failures) {
      if (fresh.includes(failure)) continue
      const edit =
        failure.kind === 'channel' ? editChannel(doc, text, failure) : failure.kind === 'metric' ? editMetric(doc, failure) : undefined
      if (edit) edits.push(edit)
      else left.push(failure)
    }
    const added = fresh.length > 0 ? addExpectations(doc, text, ['tests', test.index], fresh as ChannelFailure[]) : undefined
    if (added) edits.push(added)
    else left.push(...fresh)
    count += failures.length
  }
  let out = text
  for (const { start, end, text: replacement } of edits.sort((a, b) => b.start - a.start))
    out = out.slice(0, start) + replacement + out.slice(end)
  return { text: out, count: count - left.length, left }
}

type ChannelFailure = Extract<Failure, { kind: 'channel' }>

/** The node at a path, when the way to it is plain: changing what an alias stands for would change other tests too. */
function nodeAt(doc: Document, path: Path): unknown {
  let node: unknown = doc.contents
  for (const part of path) {
    if (isMap(node)) node = node.items.find(p => isScalar(p.key) && String(p.key.value) === String(part))?.value
    else if (isSeq(node)) node = node.items[part as number]
    else return undefined
  }
  return node
}

function editMetric(doc: Document, { path, actual }: Extract<Failure, { kind: 'metric' }>): Edit | undefined {
  const node = nodeAt(doc, path)
  return isScalar(node) && actual !== undefined ? { start: node.range![0], end: node.range![1], text: String(actual) } : undefined
}

// Lists that are there.

function editChannel(doc: Document, text: string, failure: ChannelFailure): Edit | undefined {
  const { expectation, rows } = failure
  const { path, messages } = expectation!
  const node = nodeAt(doc, path)
  if (isMap(node)) {
    const count = node.get('count', true)
    if (failure.count && isScalar(count)) setScalar(count, failure.count[1])
    const list = node.get('messages', true)
    if (messages && isSeq(list)) rewrite(list, rows, failure, path.concat('messages'))
    return splice(node, text)
  }
  if (!isSeq(node)) return undefined
  rewrite(node, rows, failure, path)
  return splice(node, text)
}

function rewrite(list: YAMLSeq, rows: readonly Row[], failure: ChannelFailure, path: Path): void {
  const out: unknown[] = []
  const wasEmpty = list.items.length === 0
  const subset = failure.expectation!.match === 'subset'
  /** What each `values` entry ends up with; put in place at the end, because until then the old places count. */
  const groups = new Map<unknown, unknown[]>()
  let open: unknown[] | undefined
  for (const row of failure.expectation!.order === 'any' ? byPlace(rows) : rows) {
    const value = row.kind === 'missing' ? undefined : valueOf(row.actual).json
    if (row.kind === 'unexpected') {
      // Between the values of one entry it is one more of them.
      if (open && failure.channel.kind === 'sink' && value !== undefined) open.push(nodeOf(value, true))
      else out.push(messageNode(row.actual, failure.channel))
      continue
    }
    const [at, key, place] = row.expected.path.slice(path.length) as [number, string?, number?]
    const entry = list.items[at] as YAMLMap
    if (key !== 'values') {
      open = undefined
      if (row.kind === 'changed') update(entry, row.actual, failure)
      if (row.kind !== 'missing') out.push(entry)
      continue
    }
    open = groups.get(entry)
    if (!open) {
      groups.set(entry, (open = []))
      out.push(entry)
    }
    const old = valuesOf(entry).items[place!]
    if (row.kind === 'same') open.push(old)
    else if (row.kind === 'changed' && value !== undefined) open.push(updated(old, value, subset))
    else if (row.kind === 'changed') {
      out.push(messageNode(row.actual, failure.channel))
      open = undefined
    }
  }
  for (const [entry, values] of groups) valuesOf(entry as YAMLMap).items = values
  list.items = out.filter(item => groups.get(item)?.length !== 0)
  if (list.items.length === 0) list.flow = true
  else if (wasEmpty) list.flow = false
}

const valuesOf = (entry: YAMLMap): YAMLSeq => entry.get('values', true) as unknown as YAMLSeq

function byPlace(rows: readonly Row[]): Row[] {
  const place = (row: Row): number =>
    row.kind === 'unexpected' ? Number.POSITIVE_INFINITY : row.expected.at.line * 10_000 + row.expected.at.column
  return [...rows].sort((a, b) => place(a) - place(b) || 0)
}

/** Brings the keys an entry has to what came; it gets no new ones. */
function update(entry: YAMLMap, actual: Written, { expectation }: ChannelFailure): void {
  const value = valueOf(actual)
  for (const pair of entry.items as Pair<Scalar<string>, any>[]) {
    const key = pair.key.value
    if (key === 'value' && value.json !== undefined) pair.value = updated(pair.value, value.json, expectation!.match === 'subset')
    else if (key === 'value' || key === 'raw') {
      pair.key = new Document().createNode('raw') as Scalar<string>
      pair.value = nodeOf(bytesOf(actual.value), true)
    } else if (key === 'key') pair.value = nodeOf(bytesOf(actual.key), true)
    else if (key === 'time')
      pair.value = typeof pair.value.value === 'string' ? nodeOf(new Date(actual.time).toISOString(), true) : nodeOf(actual.time, true)
    else if (key === 'lane') pair.value = nodeOf(actual.lane, true)
    else if (key === 'offset') pair.value = nodeOf(Number(header(actual, 'source_offset')), true)
    else if (key === 'error_type' || key === 'step') pair.value = nodeOf(header(actual, key) ?? null, true)
    else if (key === 'message' && !header(actual, 'error_message')?.includes(String(pair.value.value)))
      pair.value = nodeOf(header(actual, 'error_message') ?? null, true)
    else if (key === 'headers' && isMap(pair.value)) {
      for (const h of pair.value.items as Pair<Scalar<string>, unknown>[]) h.value = nodeOf(header(actual, h.key.value) ?? null, true)
    }
  }
}

/** The node with another value: comments, styles and the order of keys stay where they can. */
function updated(node: unknown, value: Json | undefined, subset: boolean): unknown {
  if (isMap(node) && typeof value === 'object' && value !== null && !Array.isArray(value)) {
    node.items = node.items.filter(p => Object.hasOwn(value, keyOf(p)))
    for (const pair of node.items) pair.value = updated(pair.value, value[keyOf(pair)], subset)
    if (!subset) for (const [k, v] of Object.entries(value)) if (!node.has(k)) node.set(k, nodeOf(v, true))
    return node
  }
  if (isScalar(node) && (typeof value !== 'object' || value === null)) {
    if (node.value !== value) setScalar(node, value)
    return node
  }
  return nodeOf(value as Json, true)
}

const keyOf = (pair: Pair): string => String(isScalar(pair.key) ? pair.key.value : pair.key)

function setScalar(node: Scalar, value: unknown): void {
  // What YAML remembers of how the old value was written does not fit the new one.
  if (typeof value !== typeof node.value || typeof value === 'number') {
    delete node.type
    delete node.format
    delete node.minFractionDigits
  }
  delete node.source
  node.value = value
}

// Lists that are not there yet.

/** An `expect` at the end of the test, or the keys it lacks. */
function addExpectations(doc: Document, text: string, path: Path, failures: readonly ChannelFailure[]): Edit | undefined {
  const test = nodeAt(doc, path)
  const expect = nodeAt(doc, [...path, 'expect'])
  if (!isMap(test) || test.flow || (expect !== undefined && (!isMap(expect) || expect.flow))) return undefined
  const content: Record<string, unknown> = {}
  for (const { channel, rows, what } of failures) {
    const messages = rows.map(r => messageNode((r as { actual: Written }).actual, channel))
    if (channel.kind === 'dlq') content.dead_letters = messages
    else if (what === 'outputs') content.outputs = messages
    else content.outputs = { ...(content.outputs as object), [channel.name]: messages }
  }
  const target = isMap(expect) ? expect : test
  if (isMap(expect) && Object.keys(content).some(k => expect.has(k))) return undefined
  const rendered = render(new Document().createNode(isMap(expect) ? content : { expect: content }))
  const column = columnOf(text, (target.items[0].key as Scalar).range![0])
  const end = endOfLine(text, endOf(target))
  return { start: end, end, text: `\n${indent(rendered.trimEnd(), column, true)}` }
}

/** Where the last entry's text ends, without what belongs to the next line. */
function endOf(map: YAMLMap): number {
  const last = map.items.at(-1)!
  return ((last.value as Scalar | null)?.range ?? (last.key as Scalar).range!)[1]
}

function endOfLine(text: string, offset: number): number {
  let end = offset
  while (end > 0 && /\s/.test(text[end - 1])) end--
  const newline = text.indexOf('\n', end)
  return newline < 0 ? text.length : newline
}

// Nodes to text.

function messageNode(record: Written, channel: ChannelId): unknown {
  const out: Record<string, unknown> = {}
  if (channel.kind === 'dlq') {
    out.error_type = header(record, 'error_type')
    out.step = header(record, 'step')
    out.message = header(record, 'error_message')
  }
  const { json } = valueOf(record)
  if (json !== undefined) out.value = json
  else if (record.value === null || record.value.length <= 1024) out.raw = bytesOf(record.value)
  if (record.key !== null) out.key = bytesOf(record.key)
  return nodeOf(out as Json, true)
}

/** As `raw` and `key` write bytes. */
function bytesOf(data: Buffer | null): Json {
  if (data === null) return null
  const text = data.toString()
  return Buffer.from(text).equals(data) ? text : { base64: data.toString('base64') }
}

const nodeOf = (value: Json, flow: boolean): unknown => new Document().createNode(value, { flow })

function render(node: unknown): string {
  const doc = new Document()
  doc.contents = node as typeof doc.contents
  return doc.toString({ lineWidth: 0 })
}

function splice(node: YAMLMap | YAMLSeq, text: string): Edit {
  const [start, end] = node.range!
  // Comments around the node stay in the text.
  node.commentBefore = undefined
  node.comment = undefined
  const rendered = render(node).trimEnd()
  const wasFlow = text[start] === '[' || text[start] === '{'
  const tail = /\s*$/.exec(text.slice(start, end))![0]
  if (wasFlow && !node.flow) {
    const before = text.slice(0, start).trimEnd().length
    const line = text.lastIndexOf('\n', start) + 1
    const column = /^[\s-]*/.exec(text.slice(line))![0].length + 2
    return { start: before, end, text: `\n${indent(rendered, column, true)}` }
  }
  return { start, end, text: indent(rendered, columnOf(text, start), false) + tail }
}

const columnOf = (text: string, offset: number): number => offset - (text.lastIndexOf('\n', offset - 1) + 1)

const indent = (text: string, columns: number, first: boolean): string =>
  text
    .split('\n')
    .map((line, i) => (line === '' || (i === 0 && !first) ? line : ' '.repeat(columns) + line))
    .join('\n')
