/** Converts the tree of a valid test file to steps and expectations. */
import type { Json } from '../contract/plugin.ts'
import type { Problems } from '../config/problems.ts'
import type { MapNode, Path } from '../config/tree.ts'
import { parseDuration } from '../kit/text/units.ts'
import { ExpectationReader } from './expectation.ts'
import { InputReader } from './input.ts'
import type { Override, Stub, Stubs, TestCase, TestFile, TestStep } from './model.ts'
import type { TestSource } from './source.ts'
import { time } from './values.ts'

/** 2026-01-01T00:00:00Z */
const DEFAULT_CLOCK = 1_767_225_600_000

export function readTests(source: TestSource, pipeline: string, problems: Problems): TestFile {
  return new Reader(source, problems).file(pipeline)
}

class Reader {
  private readonly source: TestSource
  private readonly problems: Problems
  private readonly inputs: InputReader
  private readonly expectations: ExpectationReader

  constructor(source: TestSource, problems: Problems) {
    this.source = source
    this.problems = problems
    this.inputs = new InputReader(source, problems)
    this.expectations = new ExpectationReader(source, problems)
  }

  file(pipeline: string): TestFile {
    const root = this.source.map([])!
    const seen = new Set<string>()
    const tests = this.source.items(['tests']).map(path => {
      const test = this.test(path, root)
      if (seen.has(test.name))
        this.problems.add('CONFIG_DUPLICATE_NAME', this.source.span([...path, 'name']), path, `two tests are named '${test.name}'`)
      seen.add(test.name)
      return test
    })
    return { file: this.source.file, pipeline, tests }
  }

  private test(path: Path, root: MapNode): TestCase {
    const steps = this.source.items([...path, 'steps']).map(p => this.step(p))
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
    if (this.source.node(last)) steps.push({ at: this.source.at(last, 'key'), kind: 'expect', expectation: this.expectations.read(last) })
    const clock = this.source.value([...path, 'clock']) ?? (root.entries.has('clock') ? this.source.value(['clock']) : undefined)
    return {
      name: String(this.source.value([...path, 'name'])),
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
    const [kind] = this.source.map(path)!.entries.keys()
    const at = this.source.at([...path, kind], 'key')
    const inner = [...path, kind]
    if (kind === 'input') return { at, kind, records: this.inputs.records(inner) }
    if (kind === 'advance') return { at, kind, ms: parseDuration(String(this.source.value(inner)))! }
    if (kind === 'expect') return { at, kind, expectation: this.expectations.read(inner) }
    return { at, kind: kind as 'crash' | 'restart' | 'end' }
  }

  private env(path: Path): Record<string, string> {
    const values = (this.source.value(path) ?? {}) as Record<string, unknown>
    return Object.fromEntries(Object.entries(values).map(([k, v]) => [k, String(v)]))
  }

  private set(path: Path): Override[] {
    const values = (this.source.value(path) ?? {}) as Record<string, unknown>
    // JSON is valid YAML, and a string stays a string.
    return Object.entries(values).map(([k, v]) => ({ argument: `${k}=${JSON.stringify(v)}`, path: [...path, k] }))
  }

  private stubs(path: Path): [string, Stubs][] {
    const node = this.source.node(path)
    if (node?.kind !== 'map') return []
    return [...node.entries.keys()].map(name => {
      const own = [...path, name]
      const list = this.source.items(own).map((p): Stub => {
        const { key, row, rows, error } = this.source.exact(p) as {
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
}
