/** One line of the table of functions. */
import type { Json } from '../contract/plugin.ts'

/** A CEL signature, under the name in `as`, and what it does. */
export type Overload = readonly [signature: string, handler: (...args: any[]) => unknown]

export interface FunctionEntry {
  readonly name: string
  /** `function`: `round(x)`, `math.sqrt(x)`. `method`: `text.upper()`. */
  readonly form: 'function' | 'method'
  /** Numbers of arguments it takes, a method's receiver not counted. */
  readonly arity: readonly number[]
  /** How it is written, for docs and messages. */
  readonly usage: string
  readonly description: string
  /** Expression and what it gives, over an empty record; tested. */
  readonly examples: readonly (readonly [expression: string, result: Json])[]
  /** Ours. Without it the library's own function or macro is meant. */
  readonly overloads?: readonly Overload[]
  /** The name inside the library, where ours replaces one of the same name. */
  readonly as?: string
}
