/** A test file as the engine runs it: checked, with files read and places kept. */
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
  /** Its place in the file's list. */
  readonly index: number
  readonly at: Location
  /** What the pipeline file sees instead of the shell's variables. */
  readonly env: Readonly<Record<string, string>>
  readonly set: readonly Override[]
  /** Epoch ms. */
  readonly clock: number
  /** What peers answer, by the name of the step that asks. */
  readonly stubs: ReadonlyMap<string, Stubs>
  readonly steps: readonly TestStep[]
}

export interface Stubs {
  /** Where the test file says so. */
  readonly path: Path
  readonly list: readonly Stub[]
}

/** One answer of a peer. */
export interface Stub {
  /** What it is the answer to; undefined: anything. */
  readonly key: Json | undefined
  readonly rows: readonly Record<string, Json>[]
  /** The peer refuses the question. */
  readonly error: string | undefined
}

/** A value of the pipeline file that a test changes. */
export interface Override {
  /** `path=value`, as `--set` takes it. */
  readonly argument: string
  /** Where the test file says so. */
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
  /** Where in the test file its value is; undefined: it is of no file. */
  readonly place?: Path
  /** Name of the source; undefined: the only one. */
  readonly source: string | undefined
  readonly topic: string | undefined
  readonly partition: number | undefined
  /** Of a source without topics: which of its lanes. */
  readonly lane: string | undefined
  readonly payload: Buffer | null
  /** The payload of a source that reads text; undefined: the same bytes. */
  readonly text: Buffer | undefined
  /** The payload is bytes as a source gets them, not a value: written in the test, or the content of the file of this name. */
  readonly raw?: { readonly file?: string }
  readonly key: Buffer | null
  readonly headers: readonly Header[] | undefined
  /** Epoch ms; undefined: when it is read. */
  readonly time: number | undefined
  readonly failure: string | undefined
}

export interface Expectation {
  /** By sink; the key `undefined` stands for the only one. */
  readonly outputs: ReadonlyMap<string | undefined, Channel>
  readonly deadLetters: Channel | undefined
  readonly metrics: readonly Metric[]
  /** The pipeline has stopped with an error that contains this. */
  readonly stops: { readonly text: string; readonly at: Location } | undefined
}

/** What one sink, or the dead-letter queue, got since the last expectation. */
export interface Channel {
  readonly at: Location
  /** Where `--accept` writes; from the root of the test file. */
  readonly path: Path
  readonly match: 'exact' | 'subset'
  readonly order: 'given' | 'any'
  readonly count: number | undefined
  /** undefined: only the count matters, or nothing does. */
  readonly messages: readonly Expected[] | undefined
}

/** One expected message: what is undefined is not looked at. */
export interface Expected {
  readonly at: Location
  readonly path: Path
  readonly value?: Json
  readonly raw?: Buffer | null
  readonly key?: Buffer | null
  readonly headers?: Readonly<Record<string, string | null>>
  readonly time?: number
  readonly lane?: string
  /** Where the sink writes it to. */
  readonly topic?: string
  // Dead letters only.
  readonly errorType?: string
  readonly step?: string
  /** A part of the error's message. */
  readonly message?: string
  readonly offset?: number
}

export interface Metric {
  readonly at: Location
  readonly path: Path
  /** A step's name, or a counter's with its labels. */
  readonly name: string
  readonly expected: number | Readonly<Partial<Record<'in' | 'out' | 'dead', number>>>
}
