/**
 * `--accept`: writes the actual messages into failed expectations. Only their lists change; all other bytes of the file stay the
 * same. Inside the lists, comments and correct entries are kept.
 */
import { DLQ_HEADERS } from '../kit/dead-letter/headers.ts'
import { Document, isMap, isScalar, isSeq, parseDocument, type Scalar, type YAMLMap, type YAMLSeq } from 'yaml'
import type { Json } from '../contract/plugin.ts'
import type { Path } from '../config/tree.ts'
import { bytesOf, columnOf, type Edit, indent, keyOf, nodeAt, nodeOf, render, setScalar, splice, updated } from './accept-nodes.ts'
import type { Row } from './align.ts'
import { header, valueOf } from './compare.ts'
import type { ChannelId, Failure, TestResult } from './run.ts'
import type { Written } from './in-memory-sinks.ts'

export interface Accepted {
  readonly text: string
  /** Number of expectations written. */
  readonly count: number
  /** Failures that have no expectation or whose position cannot be edited. */
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
  for (const { start, end, text: replacement } of edits.toSorted((a, b) => b.start - a.start))
    out = out.slice(0, start) + replacement + out.slice(end)
  return { text: out, count: count - left.length, left }
}

type ChannelFailure = Extract<Failure, { kind: 'channel' }>

function editMetric(doc: Document, { path, actual }: Extract<Failure, { kind: 'metric' }>): Edit | undefined {
  const { node } = nodeAt(doc, path)
  return isScalar(node) && actual !== undefined ? { start: node.range![0], end: node.range![1], text: String(actual) } : undefined
}

// Existing lists.

function editChannel(doc: Document, text: string, failure: ChannelFailure): Edit | undefined {
  const { expectation, rows } = failure
  const { path, messages } = expectation!
  const { node, inFlow } = nodeAt(doc, path)
  if (isMap(node)) {
    const count = node.get('count', true)
    if (failure.count && isScalar(count)) setScalar(count, failure.count[1])
    const list = node.get('messages', true)
    if (messages && isSeq(list)) rewrite(list, rows, failure, [...path, 'messages'], inFlow || node.flow === true)
    return splice(node, text)
  }
  if (!isSeq(node)) return undefined
  rewrite(node, rows, failure, path, inFlow)
  return splice(node, text)
}

function rewrite(list: YAMLSeq, rows: readonly Row[], failure: ChannelFailure, path: Path, inFlow: boolean): void {
  const out: unknown[] = []
  const wasEmpty = list.items.length === 0
  const subset = failure.expectation!.match === 'subset'
  /** New contents of each `values` entry; set at the end, because paths refer to the old contents. */
  const groups = new Map<unknown, unknown[]>()
  let open: unknown[] | undefined
  for (const row of failure.expectation!.order === 'any' ? byPlace(rows) : rows) {
    const value = row.kind === 'missing' ? undefined : valueOf(row.actual).json
    if (row.kind === 'unexpected') {
      // An unexpected value between values of one entry is added to that entry.
      if (open && failure.channel.kind === 'sink' && value !== undefined) open.push(nodeOf(value))
      else out.push(messageNode(row.actual, failure.channel))
      continue
    }
    const [at, key, nth] = row.expected.path.slice(path.length) as [number, string?, number?]
    const entry = list.items[at] as YAMLMap
    if (key !== 'values') {
      open = undefined
      if (row.kind === 'changed') update(entry, row, subset)
      if (row.kind !== 'missing') out.push(entry)
      continue
    }
    open = groups.get(entry)
    if (!open) {
      groups.set(entry, (open = []))
      out.push(entry)
    }
    const old = valuesOf(entry).items[nth!]
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
  else if (wasEmpty) list.flow = inFlow
}

const valuesOf = (entry: YAMLMap): YAMLSeq => entry.get('values', true) as unknown as YAMLSeq

const byPlace = (rows: readonly Row[]): Row[] => rows.toSorted((a, b) => place(a) - place(b) || 0)

const place = (row: Row): number =>
  row.kind === 'unexpected' ? Number.POSITIVE_INFINITY : row.expected.at.line * 10_000 + row.expected.at.column

/** Updates the keys that differ. No keys are added to an entry. */
function update(entry: YAMLMap, { actual, differences }: Extract<Row, { kind: 'changed' }>, subset: boolean): void {
  const wrong = new Set(differences.map(d => /^\w+/.exec(d.path)![0]))
  const { json } = valueOf(actual)
  for (const pair of entry.items) {
    const key = keyOf(pair)
    if (!wrong.has(key)) continue
    if (key === 'value' && json !== undefined) pair.value = updated(pair.value, json, subset)
    else if (key === 'value') {
      pair.key = nodeOf('raw')
      pair.value = nodeOf(bytesOf(actual.value))
    } else if (key === 'headers') {
      const headers = pair.value as YAMLMap
      headers.items = headers.items.filter(h => header(actual, keyOf(h)) !== undefined)
      for (const h of headers.items) h.value = updated(h.value, header(actual, keyOf(h))!, subset)
    } else pair.value = updated(pair.value, came(key, actual, pair.value), subset)
  }
}

function came(key: string, actual: Written, old: unknown): Json {
  if (key === 'raw') return bytesOf(actual.value)
  if (key === 'key') return bytesOf(actual.key)
  if (key === 'time') return isScalar(old) && typeof old.value === 'string' ? new Date(actual.time).toISOString() : actual.time
  if (key === 'lane') return actual.lane
  if (key === 'topic') return actual.topic ?? null
  if (key === 'offset') return Number(header(actual, DLQ_HEADERS.offset))
  return header(actual, key === 'message' ? DLQ_HEADERS.message : key) ?? null
}

// Missing lists.

/** Adds `expect` at the end of the test, or its missing keys. */
function addExpectations(doc: Document, text: string, path: Path, failures: readonly ChannelFailure[]): Edit | undefined {
  const { node: test } = nodeAt(doc, path)
  const { node: expect } = nodeAt(doc, [...path, 'expect'])
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
  return { start: end, end, text: `\n${indent(rendered, column, true)}` }
}

/** The end of the text of the last entry, without the line break. */
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

function messageNode(record: Written, channel: ChannelId): unknown {
  const out: Record<string, unknown> = {}
  if (channel.kind === 'dlq') {
    out.error_type = header(record, DLQ_HEADERS.errorType)
    out.step = header(record, DLQ_HEADERS.step)
    out.message = header(record, DLQ_HEADERS.message)
  }
  const { json } = valueOf(record)
  if (json !== undefined) out.value = json
  else if (record.value === null || record.value.length <= 1024) out.raw = bytesOf(record.value)
  if (record.key !== null) out.key = bytesOf(record.key)
  return nodeOf(out as Json)
}
