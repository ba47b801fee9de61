/** Reads the records of an `input` step, from the test file or from a file next to it. */
import { readRegular } from '../kit/read-regular.ts'
import { join } from 'node:path'
import type { Problems } from '../config/problems.ts'
import type { Path } from '../config/tree.ts'
import type { InputRecord } from './model.ts'
import type { TestSource } from './source.ts'
import { bytes, time } from './values.ts'
import { reasonOf } from '../kit/system-error.ts'

export class InputReader {
  private readonly source: TestSource
  private readonly problems: Problems

  constructor(source: TestSource, problems: Problems) {
    this.source = source
    this.problems = problems
  }

  records(path: Path): InputRecord[] {
    if (this.source.node(path)!.kind === 'seq') return this.source.items(path).flatMap(p => this.input(p, undefined))
    return [...this.source.map(path)!.entries.keys()].flatMap(name => this.source.items([...path, name]).flatMap(p => this.input(p, name)))
  }

  private input(path: Path, source: string | undefined): InputRecord[] {
    const payloads = this.payloads(path)
    const headers = this.source.value([...path, 'headers']) as Record<string, string | null> | undefined
    const when = this.source.value([...path, 'time'])
    const common = {
      source,
      topic: this.source.value([...path, 'topic']) as string | undefined,
      partition: this.source.value([...path, 'partition']) as number | undefined,
      lane: this.source.value([...path, 'lane']) as string | undefined,
      key: this.source.node([...path, 'key']) ? bytes(this.source.value([...path, 'key'])) : null,
      headers: headers && Object.entries(headers).map(([n, v]) => [n, v === null ? null : Buffer.from(v)] as const),
      time: when === undefined ? undefined : time(when),
      failure: this.source.value([...path, 'failure']) as string | undefined,
    }
    return payloads.map(({ payload, text, raw, at }) => ({ ...common, at: this.source.at(at), place: at, payload, text, raw }))
  }

  private payloads(path: Path): { payload: Buffer | null; text?: Buffer; raw?: InputRecord['raw']; at: Path }[] {
    const given = ['value', 'values', 'raw', 'file'].filter(key => this.source.node([...path, key]))
    if (given.length !== 1) {
      const what = given.length === 0 ? 'a record needs one of value, values, raw or file' : `${given.join(' and ')} cannot be combined`
      this.problems.add(
        'CONFIG_VALUE',
        this.source.span(given.length === 0 ? path : [...path, given[1]], given.length === 0 ? 'value' : 'key'),
        path,
        what,
      )
      return []
    }
    const inner = [...path, given[0]]
    if (given[0] === 'value') return [{ ...encoded(this.source.exact(inner)), at: path }]
    if (given[0] === 'values') return this.source.items(inner).map(p => ({ ...encoded(this.source.exact(p)), at: p }))
    if (given[0] === 'raw') return [{ payload: bytes(this.source.value(inner)), raw: {}, at: path }]
    return this.content(inner).map(payload => ({ payload, raw: { file: String(this.source.value(inner)) }, at: path }))
  }

  private content(path: Path): Buffer[] {
    const file = join(this.source.base, String(this.source.value(path)))
    try {
      return [readRegular(file)]
    } catch (error) {
      this.problems.add('CONFIG_VALUE', this.source.span(path), path, `${file} cannot be read: ${reasonOf(error)}`)
      return []
    }
  }
}

/** Encoded as by a producer; for text sources a string has no quotes. */
const encoded = (value: unknown): { payload: Buffer; text?: Buffer } => ({
  payload: Buffer.from(JSON.stringify(value)),
  ...(typeof value === 'string' && { text: Buffer.from(value) }),
})
