/** From the tree of a valid test file to the steps and expectations the engine works on. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Json } from '../plugin.ts'
import type { Problems } from '../runtime/config/problems.ts'
import { type MapNode, type Path, type SeqNode, type TreeNode, toValue } from '../runtime/config/tree.ts'
import { parseDuration } from '../runtime/config/units.ts'
import type { TestSource } from './load.ts'
import type { Channel, Expectation, Expected, InputRecord, Metric, Override, Stub, Stubs, TestCase, TestFile, TestStep } from './model.ts'

/** 2026-01-01T00:00:00Z */
const DEFAULT_CLOCK = 1_767_225_600_000

export function readTests(source: TestSource, pipeline: string, problems: Problems): TestFile {
  return new Reader(source, problems).file(pipeline)
}

class Reader {
  private readonly source: TestSource
  private readonly problems: Problems

  constructor(source: TestSource, problems: Problems) {
    this.source = source
    this.problems = problems
  }

  file(pipeline: string): TestFile {
    const root = this.map([])!
    const seen = new Set<string>()
    const tests = this.items(['tests']).map(path => {
      const test = this.test(path, root)
      if (seen.has(test.name))
        this.problems.add('CONFIG_DUPLICATE_NAME', this.source.span([...path, 'name']), path, `two tests are named '${test.name}'`)
      seen.add(test.name)
      return test
    })
    return { file: this.source.file, pipeline, tests }
  }

  private test(path: Path, root: MapNode): TestCase {
    const steps = this.items([...path, 'steps']).map(p => this.step(p))
    const ended = steps.findIndex(s => s.kind === 'end')
    steps.forEach((step, i) => {
      if (ended >= 0 && i > ended && step.kind !== 'expect' && step.kind !== 'advance')
        this.problems.add(
          'CONFIG_VALUE',
          this.source.span([...path, 'steps', i]),
          [...path, 'steps', i],
          'the input has ended in a step before this one',
        )
    })
    const last = [...path, 'expect']
    if (this.source.node(last)) steps.push({ at: this.source.at(last, 'key'), kind: 'expect', expectation: this.expectation(last) })
    const clock = this.value([...path, 'clock']) ?? (root.entries.has('clock') ? this.value(['clock']) : undefined)
    return {
      name: String(this.value([...path, 'name'])),
      index: path[1] as number,
      at: this.source.at([...path, 'name']),
      env: { ...this.env(['env']), ...this.env([...path, 'env']) },
      set: [...this.set(['set']), ...this.set([...path, 'set'])],
      clock: clock === undefined ? DEFAULT_CLOCK : time(clock),
      stubs: new Map([...this.stubs(['stubs']), ...this.stubs([...path, 'stubs'])]),
      steps,
    }
  }

  private step(path: Path): TestStep {
    const [kind] = this.map(path)!.entries.keys()
    const at = this.source.at([...path, kind], 'key')
    const inner = [...path, kind]
    if (kind === 'input') return { at, kind, records: this.inputs(inner) }
    if (kind === 'advance') return { at, kind, ms: parseDuration(String(this.value(inner)))! }
    if (kind === 'expect') return { at, kind, expectation: this.expectation(inner) }
    return { at, kind: kind as 'crash' | 'restart' | 'end' }
  }

  // Input.

  private inputs(path: Path): InputRecord[] {
    if (this.source.node(path)!.kind === 'seq') return this.items(path).flatMap(p => this.input(p, undefined))
    return [...this.map(path)!.entries.keys()].flatMap(name => this.items([...path, name]).flatMap(p => this.input(p, name)))
  }

  private input(path: Path, source: string | undefined): InputRecord[] {
    const payloads = this.payloads(path)
    const headers = this.value([...path, 'headers']) as Record<string, string | null> | undefined
    const when = this.value([...path, 'time'])
    const common = {
      source,
      topic: this.value([...path, 'topic']) as string | undefined,
      partition: this.value([...path, 'partition']) as number | undefined,
      lane: this.value([...path, 'lane']) as string | undefined,
      key: this.source.node([...path, 'key']) ? this.bytes([...path, 'key']) : null,
      headers: headers && Object.entries(headers).map(([n, v]) => [n, v === null ? null : Buffer.from(v)] as const),
      time: when === undefined ? undefined : time(when),
      failure: this.value([...path, 'failure']) as string | undefined,
    }
    return payloads.map(({ payload, text, at }) => ({ ...common, at: this.source.at(at), payload, text }))
  }

  private payloads(path: Path): { payload: Buffer | null; text?: Buffer; at: Path }[] {
    const given = ['value', 'values', 'raw', 'file'].filter(key => this.source.node([...path, key]))
    if (given.length !== 1) {
      const what = given.length === 0 ? 'a record needs one of value, values, raw or file' : `${given.join(' and ')} exclude each other`
      this.problems.add(
        'CONFIG_VALUE',
        this.source.span(given.length === 0 ? path : [...path, given[1]], given.length === 0 ? 'value' : 'key'),
        path,
        what,
      )
      return []
    }
    const inner = [...path, given[0]]
    if (given[0] === 'value') return [{ ...encoded(this.value(inner)), at: path }]
    if (given[0] === 'values') return this.items(inner).map(p => ({ ...encoded(this.value(p)), at: p }))
    if (given[0] === 'raw') return [{ payload: this.bytes(inner), at: path }]
    return this.lines(inner).map(line => ({ payload: line, at: path }))
  }

  private lines(path: Path): Buffer[] {
    const file = join(dirname(this.source.file), String(this.value(path)))
    try {
      const text = readFileSync(file)
      const lines: Buffer[] = []
      for (let start = 0; start < text.length; ) {
        const newline = text.indexOf(10, start)
        const end = newline < 0 ? text.length : newline
        if (end > start) lines.push(text.subarray(start, end))
        start = end + 1
      }
      return lines
    } catch (error) {
      this.problems.add('CONFIG_VALUE', this.source.span(path), path, `${file} cannot be read: ${(error as Error).message}`)
      return []
    }
  }

  // Expectations.

  private expectation(path: Path): Expectation {
    const outputs = new Map<string | undefined, Channel>()
    const node = this.source.node([...path, 'outputs'])
    if (node?.kind === 'seq') outputs.set(undefined, this.channel([...path, 'outputs']))
    else if (node?.kind === 'map') for (const name of node.entries.keys()) outputs.set(name, this.channel([...path, 'outputs', name]))
    const stops = [...path, 'stops']
    return {
      outputs,
      deadLetters: this.source.node([...path, 'dead_letters']) && this.channel([...path, 'dead_letters']),
      metrics: this.metrics([...path, 'metrics']),
      stops: this.source.node(stops) && { text: String(this.value(stops)), at: this.source.at(stops) },
    }
  }

  private channel(path: Path): Channel {
    const at = this.source.at(path, 'key')
    const node = this.source.node(path)!
    const messages = node.kind === 'seq' ? path : this.source.node([...path, 'messages']) ? [...path, 'messages'] : undefined
    const option = (key: string): unknown => (node.kind === 'map' ? this.value([...path, key]) : undefined)
    return {
      at,
      path,
      match: (option('match') as Channel['match'] | undefined) ?? 'exact',
      order: (option('order') as Channel['order'] | undefined) ?? 'given',
      count: option('count') as number | undefined,
      messages: messages && this.items(messages).flatMap(p => this.expected(p)),
    }
  }

  private expected(path: Path): Expected[] {
    const has = (key: string): boolean => this.source.node([...path, key]) !== undefined
    const get = <T>(key: string): T | undefined => this.value([...path, key]) as T | undefined
    const payloads = ['value', 'values', 'raw'].filter(has)
    if (payloads.length > 1)
      this.problems.add(
        'CONFIG_VALUE',
        this.source.span([...path, payloads[1]], 'key'),
        path,
        `${payloads.join(' and ')} exclude each other`,
      )
    const when = get<string | number>('time')
    const common = {
      ...(has('raw') && { raw: this.bytes([...path, 'raw']) }),
      ...(has('key') && { key: this.bytes([...path, 'key']) }),
      ...(has('headers') && { headers: get<Record<string, string | null>>('headers') }),
      ...(when !== undefined && { time: time(when) }),
      ...(has('lane') && { lane: get<string>('lane') }),
      ...(has('topic') && { topic: get<string>('topic') }),
      ...(has('error_type') && { errorType: get<string>('error_type') }),
      ...(has('step') && { step: get<string>('step') }),
      ...(has('message') && { message: get<string>('message') }),
      ...(has('offset') && { offset: get<number>('offset') }),
    }
    if (has('values'))
      return this.items([...path, 'values']).map(p => ({ at: this.source.at(p), path: p, value: this.value(p) as Json, ...common }))
    return [{ at: this.source.at(path), path, ...(has('value') && { value: get<Json>('value') }), ...common }]
  }

  private metrics(path: Path): Metric[] {
    const node = this.source.node(path)
    if (node?.kind !== 'map') return []
    return [...node.entries].map(([name, entry]) => ({
      at: this.source.at([...path, name], 'key'),
      path: [...path, name],
      name,
      expected: toValue(entry.value) as Metric['expected'],
    }))
  }

  // Pieces.

  private env(path: Path): Record<string, string> {
    const values = (this.value(path) ?? {}) as Record<string, unknown>
    return Object.fromEntries(Object.entries(values).map(([k, v]) => [k, String(v)]))
  }

  private set(path: Path): Override[] {
    const values = (this.value(path) ?? {}) as Record<string, unknown>
    // As JSON, which is YAML: a text stays a text, whatever it looks like.
    return Object.entries(values).map(([k, v]) => ({ argument: `${k}=${JSON.stringify(v)}`, path: [...path, k] }))
  }

  private stubs(path: Path): [string, Stubs][] {
    const node = this.source.node(path)
    if (node?.kind !== 'map') return []
    return [...node.entries.keys()].map(name => {
      const own = [...path, name]
      const list = this.items(own).map((p): Stub => {
        const { key, row, rows, error } = this.value(p) as {
          key?: Json
          row?: Record<string, Json>
          rows?: Record<string, Json>[]
          error?: string
        }
        if ([row, rows, error].filter(given => given !== undefined).length !== 1)
          this.problems.add('CONFIG_VALUE', this.source.span(p), p, 'an answer needs one of row, rows or error')
        return { key, rows: rows ?? (row === undefined ? [] : [row]), error }
      })
      return [name, { path: own, list }]
    })
  }

  private bytes(path: Path): Buffer | null {
    const value = this.value(path) as null | string | { base64: string } | { hex: string } | { text: string; repeat?: number }
    if (value === null) return null
    if (typeof value === 'string') return Buffer.from(value)
    if ('base64' in value) return Buffer.from(value.base64, 'base64')
    if ('hex' in value) return Buffer.from(value.hex.replaceAll(/\s/g, ''), 'hex')
    return Buffer.from(value.text.repeat(value.repeat ?? 1))
  }

  private value(path: Path): unknown {
    const node = this.source.node(path)
    return node && toValue(node)
  }

  private map(path: Path): MapNode | undefined {
    return this.source.node(path) as MapNode | undefined
  }

  private items(path: Path): Path[] {
    const node: TreeNode | undefined = this.source.node(path)
    return ((node as SeqNode | undefined)?.items ?? []).map((_, i) => [...path, i])
  }
}

/** As a producer would send it; a string is sent without quotes where text is read. */
const encoded = (value: unknown): { payload: Buffer; text?: Buffer } => ({
  payload: Buffer.from(JSON.stringify(value)),
  ...(typeof value === 'string' && { text: Buffer.from(value) }),
})

const time = (value: unknown): number =>
  typeof value === 'number' ? value : /^\d+$/.test(String(value)) ? Number(value) : Date.parse(String(value))
