/** The model of a test file for the engine: checked, with the content of its files and positions. */
import type { Header, Json } from '../contract/plugin.ts'
import type { Path } from '../config/tree.ts'
import type { Location } from '../config/model.ts'

export interface TestFile {
  readonly file: string
  /** Path of the pipeline file. */
  readonly pipeline: string
  readonly tests: readonly TestCase[]
}

export interface TestCase {
  readonly name: string
  /** Index in the list of tests. */
  readonly index: number
  readonly at: Location
  /** Variables of the pipeline file, instead of the environment. */
  readonly env: Readonly<Record<string, string>>
  readonly set: readonly Override[]
  /** Epoch ms. */
  readonly clock: number
  /** Stubbed answers by name of the step. */
  readonly stubs: ReadonlyMap<string, Stubs>
  readonly steps: readonly TestStep[]
}

export interface Stubs {
  /** Position in the test file. */
  readonly path: Path
  readonly list: readonly Stub[]
}

/** One stubbed answer. */
export interface Stub {
  /** The key it answers; undefined: any. */
  readonly key: Json | undefined
  readonly rows: readonly Record<string, Json>[]
  /** The query fails with this message. */
  readonly error: string | undefined
}

/** A value of the pipeline file that a test changes. */
export interface Override {
  /** `path=value`, as for `--set`. */
  readonly argument: string
  /** Position in the test file. */
  readonly path: Path
}

export type TestStep = { readonly at: Location } & (
  | { readonly kind: 'input'; readonly records: readonly InputRecord[] }
  | { readonly kind: 'advance'; readonly ms: number }
  | { readonly kind: 'crash' | 'restart' | 'end' }
  | { readonly kind: 'expect'; readonly expectation: Expectation }
)

export interface InputRecord {
  readonly at: Location
  /** Position of its value in the test file; undefined: not from a test file. */
  readonly place?: Path
  /** Name of the source; undefined: the only one. */
  readonly source: string | undefined
  readonly topic: string | undefined
  readonly partition: number | undefined
  /** Lane of a source without topics. */
  readonly lane: string | undefined
  readonly payload: Buffer | null
  /** The payload for sources that read text; undefined: the same bytes. */
  readonly text: Buffer | undefined
  /** The payload is raw input of the source, not a value: from the test file, or from the file of this name. */
  readonly raw?: { readonly file?: string }
  readonly key: Buffer | null
  readonly headers: readonly Header[] | undefined
  /** Epoch ms; undefined: the time of reading. */
  readonly time: number | undefined
  readonly failure: string | undefined
}

export interface Expectation {
  /** By sink; the key `undefined` means the only one. */
  readonly outputs: ReadonlyMap<string | undefined, Channel>
  readonly deadLetters: Channel | undefined
  readonly metrics: readonly Metric[]
  /** The pipeline stops with an error that contains this. */
  readonly stops: { readonly text: string; readonly at: Location } | undefined
}

/** Expected records of one sink or the dead-letter queue since the last expectation. */
export interface Channel {
  readonly at: Location
  /** Path from the root of the test file, where `--accept` writes. */
  readonly path: Path
  readonly match: 'exact' | 'subset'
  readonly order: 'given' | 'any'
  readonly count: number | undefined
  /** Undefined: messages are not compared. */
  readonly messages: readonly Expected[] | undefined
}

/** One expected message; undefined fields are not compared. */
export interface Expected {
  readonly at: Location
  readonly path: Path
  readonly value?: Json
  readonly raw?: Buffer | null
  readonly key?: Buffer | null
  readonly headers?: Readonly<Record<string, string | null>>
  readonly time?: number
  readonly lane?: string
  /** Destination of the sink. */
  readonly topic?: string
  // Only for dead letters.
  readonly errorType?: string
  readonly step?: string
  /** Part of the error message. */
  readonly message?: string
  readonly offset?: number
}

export interface Metric {
  readonly at: Location
  readonly path: Path
  /** Name of a step, or of a counter with its labels. */
  readonly name: string
  readonly expected: number | Readonly<Partial<Record<'in' | 'out' | 'dead', number>>>
}
