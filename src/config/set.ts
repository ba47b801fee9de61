/** `--set path=value`: overrides of the tree, applied before all checks, so they are checked like the file. */
import { parseText } from './parse.ts'
import type { Problems } from './problems.ts'
import { suggest } from '../kit/text/suggest.ts'
import { formatPath, type MapNode, SourceText, type Span, type TreeNode } from './tree.ts'

/** @param argument of `--set`, such as `sinks[0].kafka.topic=bars.test` */
export function applySet(root: MapNode, argument: string, problems: Problems): void {
  const equals = argument.indexOf('=')
  const source = new SourceText('--set', argument)
  if (equals <= 0) {
    problems.add(
      'CONFIG_SET',
      { source, start: 0, end: argument.length },
      [],
      'write --set path=value, for example --set sinks[0].kafka.topic=bars.test',
    )
    return
  }
  const parts = splitPath(argument.slice(0, equals), source)
  if (!parts) {
    problems.add(
      'CONFIG_SET',
      { source, start: 0, end: equals },
      [],
      `${argument.slice(0, equals)} is not a path such as sinks[0].kafka.topic`,
    )
    return
  }
  const value = parseValue(source, equals + 1, problems)
  if (value) put(root, parts, value, problems)
}

interface Part {
  readonly key: string
  readonly span: Span
}

function splitPath(text: string, source: SourceText): Part[] | undefined {
  const parts: Part[] = []
  const pattern = /(?:^|\.)([^.[\]=]+)|\[(\d+)\]/gy
  let at = 0
  while (at < text.length) {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (!match) return undefined
    const key = match[1] ?? match[2]
    if (['__proto__', 'constructor', 'prototype'].includes(key)) return undefined
    const start = at + match[0].indexOf(key)
    parts.push({ key, span: { source, start, end: start + key.length } })
    at += match[0].length
  }
  return parts.length > 0 ? parts : undefined
}

/** The value is YAML: `5`, `true`, `[a, b]`, `{a: 1}`; no value is an empty string. */
function parseValue(source: SourceText, start: number, problems: Problems): TreeNode | undefined {
  const { text } = source
  if (start === text.length) return { kind: 'scalar', span: { source, start, end: start }, value: '', style: 'plain' }
  // Spaces keep the offsets of the argument; a value such as `a: b` is a string on the command line.
  const padded = new SourceText(source.file, ' '.repeat(start) + text.slice(start))
  const literal: TreeNode = { kind: 'scalar', span: { source, start, end: text.length }, value: text.slice(start), style: 'plain' }
  if (!/^[[{"'|>&*!]/.test(text.slice(start))) {
    const node = parseText(padded, quiet(problems))
    return node?.kind === 'scalar' && typeof node.value !== 'string' ? { ...literal, value: node.value } : literal
  }
  const node = parseText(padded, problems)
  return node && moved(node, source)
}

const quiet = (problems: Problems): Problems => Object.create(problems, { add: { value: () => {} } }) as Problems

function moved(node: TreeNode, source: SourceText): TreeNode {
  const span = { ...node.span, source }
  if (node.kind === 'scalar') return { ...node, span }
  if (node.kind === 'seq') return { ...node, span, items: node.items.map(i => moved(i, source)) }
  return {
    ...node,
    span,
    entries: new Map([...node.entries].map(([k, e]) => [k, { key: { ...e.key, source }, value: moved(e.value, source) }])),
  }
}

function put(root: MapNode, parts: readonly Part[], value: TreeNode, problems: Problems): void {
  let node: TreeNode = root
  const path: (string | number)[] = []
  for (const [i, { key, span }] of parts.entries()) {
    const last = i === parts.length - 1
    const fail = (message: string, near?: string): void => problems.add('CONFIG_SET', span, [...path, key], message, near)
    if (node.kind === 'seq') {
      const index = Number(key)
      if (!/^\d+$/.test(key) || index >= node.items.length + (last ? 1 : 0)) {
        return fail(`${formatPath(path)} is a list of ${node.items.length}: write an index from 0 to ${Math.max(node.items.length - 1, 0)}`)
      }
      path.push(index)
      if (last) {
        node.items[index] = value
        return
      }
      node = node.items[index]
    } else if (node.kind === 'map') {
      path.push(key)
      if (last) {
        node.entries.set(key, { key: span, value })
        return
      }
      let entry = node.entries.get(key)
      if (!entry || (entry.value.kind === 'scalar' && entry.value.value === null)) {
        // `metrics.port=9000` can create the missing map, but a step or a section must exist.
        if (i > 0 || entry || key === 'metrics' || key === 'retry' || key === 'limits') {
          entry = {
            key: entry?.key ?? span,
            value: { kind: 'map', span: { ...span, start: span.end }, entries: new Map(), implicit: true },
          }
          node.entries.set(key, entry)
        } else {
          path.pop()
          return fail(`there is no ${key} in the file`, suggest(key, node.entries.keys()))
        }
      }
      node = entry.value
    } else {
      return fail(`${formatPath(path)} is a single value without keys: remove .${key} from the path`)
    }
  }
}
