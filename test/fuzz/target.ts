/** The interface of a fuzz target. */
import type { Random } from './random.ts'

export interface Target {
  readonly name: string
  /** Valid inputs to start from. */
  readonly seeds: () => readonly Buffer[]
  /** Pieces that mean something to the decoder. */
  readonly dictionary?: readonly (Buffer | string)[]
  /** Changes the structure of an input, instead of its bytes; undefined: it has none. */
  readonly restructure?: (input: Buffer, other: Buffer, random: Random) => Buffer | undefined
  /** Makes a mutated input well-formed again where a decoder looks first (a CRC, a length): otherwise nothing behind that is tried. */
  readonly repair?: (input: Buffer, random: Random) => Buffer
  /**
   * Decodes the input. Returns a rough outcome (an input with a new outcome is mutated further).
   * @throws for whatever must not happen; an error of the expected class is an outcome
   */
  readonly run: (input: Buffer) => string | Promise<string>
}

/** Fails the input that is being tried. */
export function assert(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`property broken: ${what}`)
}

/** The outcome of an error: its class and its message without numbers and quoted pieces. */
export const outcomeOf = (error: unknown): string =>
  `${(error as Error).name}: ${(error as Error).message
    .replace(/"[^]*"|'[^]*'|`[^]*`/g, '…')
    .replace(/\d+/g, 'N')
    .slice(0, 80)}`

/** Runs `decode`; an error of one of the classes is an outcome, any other one a defect. */
export function expected(classes: readonly (new (...args: never[]) => Error)[], decode: () => string): string {
  try {
    return decode()
  } catch (error) {
    if (classes.some(c => error instanceof c)) return outcomeOf(error)
    throw error
  }
}
