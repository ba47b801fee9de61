/** Takes a valid pipeline file apart and breaks it in one place at a time, using the schemas to compute the position of the error. */
import { loadPlugins } from '../../src/config/load.ts'
import { readFileSync } from 'node:fs'
import frame from '../../schemas/frame.schema.json' with { type: 'json' }
import type { Plugin } from '../../src/contract/plugin.ts'
import { parseText } from '../../src/config/parse.ts'
import { Problems } from '../../src/config/problems.ts'
import { type Kind, Registry } from '../../src/config/registry.ts'
import { alternatives, itemSchema, propertySchema, type Schema, typesOf, views } from '../../src/config/schema.ts'
import { COMMON_KEYS } from '../../src/config/frame.ts'
import { type MapEntry, type MapNode, type ScalarNode, SourceText, type Span, type TreeNode, toValue } from '../../src/config/tree.ts'

export interface Mutation {
  readonly file: string
  readonly title: string
  readonly text: string
  /** `line:column` where the one problem must be; undefined: the text may well be valid. */
  readonly place?: string
  /** The problem may be anywhere from `place` to the end of this line and column (an expression). */
  readonly until?: string
  readonly suggestion?: string
}

const FRAME = frame as unknown as Schema
const SECTIONS: Record<string, Kind> = { sources: 'source', transforms: 'transform', sinks: 'sink', dlq: 'sink' }

export async function mutationsOf(file: string): Promise<Mutation[]> {
  const mutator = new Mutator(file)
  await mutator.run()
  return mutator.out
}

class Mutator {
  readonly out: Mutation[] = []
  private readonly file: string
  private readonly source: SourceText
  private registry = new Registry()

  constructor(file: string) {
    this.file = file
    this.source = new SourceText(file, readFileSync(file, 'utf8'))
  }

  async run(): Promise<void> {
    this.registry = (await loadPlugins(this.file)).registry
    const root = parseText(this.source, new Problems()) as MapNode
    for (const [key, entry] of root.entries) {
      this.key(entry, key)
      const kind = SECTIONS[key]
      if (kind && entry.value.kind === 'seq') for (const item of entry.value.items) await this.step(item as MapNode, kind, kind)
      else if (kind) await this.step(entry.value as MapNode, kind, 'dlq')
      else this.value(entry.value, FRAME.properties![key], FRAME, entry.key)
    }
    this.required(root, ['name', 'sources', 'sinks'], { ...root.span, end: root.span.start }, root)
    this.texts()
  }

  private async step(step: MapNode, kind: Kind, section: Kind | 'dlq'): Promise<void> {
    for (const [key, entry] of step.entries) {
      this.key(entry, key)
      if (COMMON_KEYS[section].includes(key))
        this.value(entry.value, propertySchema(views(FRAME.$defs![section], {}, FRAME), key), FRAME, entry.key)
      else {
        const plugin = (await this.registry.load(kind, key)) as Plugin
        const schema = plugin.schema as Schema
        const short = schema.shorthand && entry.value.kind === 'scalar' ? schema.properties![schema.shorthand] : undefined
        this.value(entry.value, short ?? schema, schema, entry.key, short !== undefined)
      }
    }
    const stranger = section === 'dlq' ? 'when' : undefined
    if (stranger && this.isFlow(step)) this.insert(step, `${stranger}: "true"`, 1)
  }

  private value(node: TreeNode, schema: Schema | undefined, root: Schema, key: Span, short = false): void {
    const schemas = views(schema, toValue(node), root)
    if (node.kind === 'scalar') {
      this.scalar(node, alternatives(schema, root), short)
      return
    }
    const types = new Set(alternatives(schema, root).flatMap(typesOf))
    const start = node.span.start
    if (this.isFlow(node) && !types.has('string') && types.size > 0 && !schemas.some(s => s.shorthand))
      this.replace(node.span, '"text"', `text for a ${node.kind}`, start)
    if (node.kind === 'seq') {
      for (const [i, item] of node.items.entries()) this.value(item, itemSchema(schemas, i), root, key)
      return
    }
    for (const [name, entry] of node.entries) {
      const property = schemas.find(s => s.properties && Object.hasOwn(s.properties, name))
      if (property) this.key(entry, name, Object.keys(property.properties!))
      this.value(entry.value, propertySchema(schemas, name), root, entry.key)
    }
    const needed = schemas.flatMap(s => s.required ?? [])
    this.required(node, needed, key, node)
    for (const [name, entry] of node.entries) {
      const removed = this.isFlow(node) && !needed.includes(name) ? this.withoutFlow(entry) : undefined
      if (removed) this.add(`perhaps without ${name}`, removed.text, undefined)
    }
    if (this.isFlow(node) && schemas.some(s => s.additionalProperties === false)) this.insert(node, 'zzzz: 1', 1)
  }

  /** Typos. */
  private key({ key }: MapEntry, name: string, known: readonly string[] = []): void {
    if (name.length < 4) return
    const mid = Math.floor(name.length / 2)
    const swap = name.split('').findIndex((c, i) => i > 0 && c !== name[i + 1])
    const typos = new Set([
      name.slice(0, mid) + name.slice(mid + 1),
      name.slice(0, mid) + name[mid] + name.slice(mid),
      `${name.slice(0, swap)}${name[swap + 1] ?? ''}${name[swap]}${name.slice(swap + 2)}`,
      `${name.slice(0, mid)}x${name.slice(mid + 1)}`,
      `${name}s`,
      name.replaceAll(/_([a-z])/g, (_, c: string) => c.toUpperCase()),
      name.replaceAll('_', '-'),
    ])
    for (const real of [name, ...known]) typos.delete(real)
    const written = this.source.text.slice(key.start, key.end)
    if (written !== name) return
    for (const typo of typos) this.replace(key, typo, `typo ${name} -> ${typo}`, key.start, { suggestion: name })
    if (name !== 'name') this.replace(key, `"__proto__": 1, ${name}`, `__proto__ before ${name}`, key.start, { flowOnly: true })
  }

  private scalar(node: ScalarNode, options: readonly Schema[], short: boolean): void {
    if (options.length === 0) return
    // A block ends with its line break, which must stay.
    const end = this.source.text[node.span.end - 1] === '\n' ? node.span.end - 1 : node.span.end
    const span = { ...node.span, end }
    const types = new Set(options.flatMap(typesOf))
    const put = (text: string, title: string, more: { suggestion?: string; until?: Span } = {}): void =>
      this.replace(span, text, `${title}: ${text}`, span.start, more)
    // In a short form a map or nothing is the long form.
    if (!short && types.size > 0 && !types.has('object')) put('{ a: { b: 1 } }', 'map')
    if (types.size > 0 && !types.has('array')) put('[[1]]', 'list')
    if (!short && !types.has('null') && types.size > 0) this.replace(span, '~', 'null', span.start)
    put('${NOPE_NOPE}', 'missing variable')
    // Inside an expression the reference itself is the mistake, which golden-cases.ts has.
    if (options.some(o => o.format === 'expression')) put('"a == env.NOPE_NOPE"', 'missing variable inside', { until: span })
    else put('"a ${NOPE_NOPE} b"', 'missing variable inside', { until: span })
    put('"${no closing"', 'reference that is none', { until: span })
    put('*nope', 'unknown alias')
    put('!include x', 'tag')
    put('@x', 'reserved')
    this.maybe(span, options, types)
    const only = (...t: string[]): boolean => [...types].every(x => t.includes(x)) && types.size > 0
    if (only('boolean')) for (const t of ['maybe', '"true"', '1']) put(t, 'not a boolean')
    if (only('integer', 'number')) {
      for (const t of ['many', '"5"', 'true']) put(t, 'not a number')
      if (only('integer')) put('1.5', 'not an integer')
      const [o] = options
      if (typeof o.minimum === 'number') put(String(o.minimum - 1), 'too small')
      if (typeof o.maximum === 'number') put(String(o.maximum + 1), 'too large')
    }
    for (const o of options) this.string(o, options, node, put)
    if (only('string') && !options.some(o => o.enum)) for (const t of ['12', 'true']) put(t, 'not a string')
  }

  /** Values at the limits: rejected, or valid enough to run. */
  private maybe(span: Span, options: readonly Schema[], types: ReadonlySet<string>): void {
    const texts = new Set<string>(['""', 'x', '"${X:-}"', '"${X:-1}"'])
    if (types.has('boolean')) for (const t of ['true', 'false', '"${X:-no}"']) texts.add(t)
    for (const o of options) {
      for (const t of [o.minimum, o.maximum, o.exclusiveMinimum, 0, 1, 1e15])
        if (typeof t === 'number' && typesOf(o).some(x => x === 'integer' || x === 'number')) texts.add(String(t))
      for (const e of o.enum ?? []) texts.add(JSON.stringify(e))
      for (const e of o.examples ?? []) texts.add(JSON.stringify(e))
      if (o.format === 'duration') for (const t of ['0s', '1ms', '36525d', '0.5s', '7m', '1d1h']) texts.add(t)
      if (o.format === 'size') for (const t of ['0B', '1B', '8TiB', '0.5KiB']) texts.add(t)
      if (o.format === 'expression')
        for (const t of ['"true"', '"1.0"', '"\'x\'"', '"null"', '"value"', '"[1, 2]"', 'nofield', '"meta.key"', '"dyn(1)"']) texts.add(t)
      if (o.format === 'field') for (const t of ['a.b.c', '"0"', 'toString', '"a-b"']) texts.add(t)
      if (o.format === 'timestamp') for (const t of ['"0"', '2026-01-01', '"2026-01-01T00:00:00+02:00"']) texts.add(t)
    }
    for (const text of texts)
      this.add(`perhaps ${text}`, this.source.text.slice(0, span.start) + text + this.source.text.slice(span.end), undefined)
  }

  private string(
    o: Schema,
    options: readonly Schema[],
    node: ScalarNode,
    put: (text: string, title: string, more?: { suggestion?: string; until?: Span }) => void,
  ): void {
    if (options.length > 1 && !o.enum) return
    if (o.format === 'duration')
      for (const t of ['5 seconds', '10', '10x', 'soon', '"-1s"', '1s2', '1m 30s', '"1,5s"', '""']) put(t, 'bad duration')
    if (o.format === 'size') for (const t of ['5 megs', '10', '10XB', 'big', '"-1KiB"', '""']) put(t, 'bad size')
    if (o.format === 'topic') for (const t of ['a b', 'a/b', '"a,b"', '..', '"ä"', '""']) put(t, 'bad topic')
    if (o.format === 'field') for (const t of ['a..b', '.a', '"a."', 'a.__proto__.b', '""']) put(t, 'bad field')
    if (o.format === 'timestamp') for (const t of ['yesterday', '2026-13-01', '"2026-01-01T25:00:00Z"']) put(t, 'bad timestamp')
    if (o.format === 'expression') {
      for (const t of ['nosuch(1.0)', '"1.0 + true"', 'a &&', '"(a"', '"a b"', '"1 +* 2"', '"\'open"', '"a = 1"'])
        put(t, 'bad expression', { until: node.span })
      if (o.returns === 'bool') put('1 + 1', 'no condition')
    }
    if (o.enum && node.value !== null) {
      const value = String(node.value)
      if (value.length > 3 && o.enum.includes(value)) put(`${value.slice(0, 2)}${value.slice(3)}`, 'typo in a word', { suggestion: value })
      put('nothing_like_it', 'unknown word')
    }
  }

  private required(map: MapNode, keys: readonly string[], place: Span, holder: MapNode): void {
    for (const name of keys) {
      const entry = map.entries.get(name)
      if (!entry) continue
      const root = place.end === place.start
      if (!root && !this.isFlow(holder)) continue
      const removed = root ? this.withoutBlock(map, name) : this.withoutFlow(entry)
      if (!removed) continue
      const first = root
        ? [...map.entries].find(([k]) => k !== name)![1].key.start - (entry.key.start === map.span.start ? removed.cut : 0)
        : place.start
      this.add(`without ${name}`, removed.text, first)
    }
  }

  /** A key of the root with all its lines. */
  private withoutBlock(map: MapNode, name: string): { text: string; cut: number } {
    const entries = [...map.entries]
    const i = entries.findIndex(([k]) => k === name)
    const start = entries[i][1].key.start
    const end = entries[i + 1]?.[1].key.start ?? this.source.text.length
    return { text: this.source.text.slice(0, start) + this.source.text.slice(end), cut: end - start }
  }

  private withoutFlow({ key, value }: MapEntry): { text: string; cut: number } | undefined {
    const { text } = this.source
    const after = /^\s*,\s*/.exec(text.slice(value.span.end))
    const before = /,\s*$/.exec(text.slice(0, key.start))
    const start = !after && before ? key.start - before[0].length : key.start
    const end = value.span.end + (after?.[0].length ?? 0)
    return { text: text.slice(0, start) + text.slice(end), cut: end - start }
  }

  private insert(map: MapNode, entry: string, offset: number): void {
    const at = map.span.start + offset
    this.add(`${entry} put in`, `${this.source.text.slice(0, at)} ${entry},${this.source.text.slice(at)}`, at + 1)
  }

  /** Mutations that break the YAML syntax. */
  private texts(): void {
    const { text } = this.source
    for (const match of text.matchAll(/^ +(?=\S)/gm))
      this.add('tab', `${text.slice(0, match.index)}\t${text.slice(match.index + match[0].length)}`, match.index)
    for (const match of text.matchAll(/[[{][^[\]{}]*[\]}]/g)) {
      if (
        text[match.index - 1] === '$' ||
        /["'].*\{/.test(text.slice(text.lastIndexOf('\n', match.index), match.index).replaceAll(/"[^"]*"/g, ''))
      )
        continue
      if (this.inQuotes(match.index) || this.isNested(match.index)) continue
      const end = match.index + match[0].length - 1
      this.add(`without ${text[end]}`, text.slice(0, end) + text.slice(end + 1), match.index)
    }
    for (const match of text.matchAll(/^([a-z_]+): \S.*$/gm)) {
      this.add(`${match[1]} twice`, `${text.trimEnd()}\n${match[0]}\n`, text.trimEnd().length + 1)
      this.add(
        `${match[1]} without colon`,
        `${text.slice(0, match.index)}${match[1]} ${text.slice(match.index + match[1].length + 2)}`,
        undefined,
      )
    }
    this.add('second document', `${text.trimEnd()}\n---\na: 1\n`, text.trimEnd().length + 1)
    this.add('merge key', `${text.trimEnd()}\n<<: {}\n`, text.trimEnd().length + 1)
    this.add('unknown key', `${text.trimEnd()}\nzzzz: {}\n`, text.trimEnd().length + 1)
    this.add('byte order mark', `\uFEFF${text}`, undefined)
    this.add('windows line ends', text.replaceAll('\n', '\r\n'), undefined)
  }

  /** Without its bracket an inner one takes that of the outer one, and the outer one is the one that is open. */
  private isNested(offset: number): boolean {
    const line = this.source.text.slice(this.source.text.lastIndexOf('\n', offset) + 1, offset)
    return /[[{]/.test(line)
  }

  private inQuotes(offset: number): boolean {
    const line = this.source.text.slice(this.source.text.lastIndexOf('\n', offset) + 1, offset)
    return (line.match(/"/g)?.length ?? 0) % 2 === 1
  }

  private isFlow(node: TreeNode): boolean {
    return '[{'.includes(this.source.text[node.span.start])
  }

  private replace(
    span: Span,
    by: string,
    title: string,
    at: number,
    more: { suggestion?: string; until?: Span; flowOnly?: boolean } = {},
  ): void {
    const { text } = this.source
    // In a block, a second entry would need a line of its own.
    if (more.flowOnly && !/[{,]\s*$/.test(text.slice(0, span.start))) return
    this.add(title, text.slice(0, span.start) + by + text.slice(span.end), at, more.suggestion, more.until && span.start + by.length)
  }

  private add(title: string, text: string, at: number | undefined, suggestion?: string, until?: number): void {
    const source = new SourceText(this.file, text)
    const format = (offset: number): string => {
      const { line, column } = source.position(offset)
      return `${line}:${column}`
    }
    this.out.push({
      file: this.file,
      title,
      text,
      ...(at === undefined ? {} : { place: format(at) }),
      ...(until === undefined ? {} : { until: format(until) }),
      ...(suggestion === undefined ? {} : { suggestion }),
    })
  }
}
