/** Reads expectations: messages per sink, dead letters, metrics, an error that stops the pipeline. */
import type { Json } from '../contract/plugin.ts'
import type { Problems } from '../config/problems.ts'
import { type MapNode, type Path, toValue } from '../config/tree.ts'
import type { Channel, Expectation, Expected, Metric } from './model.ts'
import type { TestSource } from './source.ts'
import { bytes, time } from './values.ts'

const CHANNEL_KEYS = new Set(['match', 'order', 'count', 'messages'])

/** `outputs: { count: 3 }`: a map of comparison options; in a map of sinks, all values are lists or maps. */
export function isChannel(node: MapNode): boolean {
  const keys = [...node.entries.keys()]
  return keys.every(key => CHANNEL_KEYS.has(key)) && keys.some(key => key !== 'messages' && node.entries.get(key)!.value.kind === 'scalar')
}

export class ExpectationReader {
  private readonly source: TestSource
  private readonly problems: Problems

  constructor(source: TestSource, problems: Problems) {
    this.source = source
    this.problems = problems
  }

  read(path: Path): Expectation {
    const outputs = new Map<string | undefined, Channel>()
    const node = this.source.node([...path, 'outputs'])
    if (node?.kind === 'seq' || (node?.kind === 'map' && isChannel(node))) outputs.set(undefined, this.channel([...path, 'outputs']))
    else if (node?.kind === 'map') for (const name of node.entries.keys()) outputs.set(name, this.channel([...path, 'outputs', name]))
    const stops = [...path, 'stops']
    return {
      outputs,
      deadLetters: this.source.node([...path, 'dead_letters']) && this.channel([...path, 'dead_letters']),
      metrics: this.metrics([...path, 'metrics']),
      stops: this.source.node(stops) && { text: String(this.source.value(stops)), at: this.source.at(stops) },
    }
  }

  private channel(path: Path): Channel {
    const at = this.source.at(path, 'key')
    const node = this.source.node(path)!
    const messages = node.kind === 'seq' ? path : this.source.node([...path, 'messages']) ? [...path, 'messages'] : undefined
    const option = (key: string): unknown => (node.kind === 'map' ? this.source.value([...path, key]) : undefined)
    return {
      at,
      path,
      match: (option('match') as Channel['match'] | undefined) ?? 'exact',
      order: (option('order') as Channel['order'] | undefined) ?? 'given',
      count: option('count') as number | undefined,
      messages: messages && this.source.items(messages).flatMap(p => this.expected(p)),
    }
  }

  private expected(path: Path): Expected[] {
    const has = (key: string): boolean => this.source.node([...path, key]) !== undefined
    const get = <T>(key: string): T | undefined => this.source.value([...path, key]) as T | undefined
    const payloads = ['value', 'values', 'raw'].filter(has)
    if (payloads.length > 1)
      this.problems.add(
        'CONFIG_VALUE',
        this.source.span([...path, payloads[1]], 'key'),
        path,
        `${payloads.join(' and ')} cannot be combined`,
      )
    const when = get<string | number>('time')
    const common = {
      ...(has('raw') && { raw: bytes(get('raw')) }),
      ...(has('key') && { key: bytes(get('key')) }),
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
      return this.source
        .items([...path, 'values'])
        .map(p => ({ at: this.source.at(p), path: p, value: this.source.exact(p) as Json, ...common }))
    return [{ at: this.source.at(path), path, ...(has('value') && { value: this.source.exact([...path, 'value']) as Json }), ...common }]
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
}
