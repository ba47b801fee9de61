/** One entry of the function table. */
import type { Json } from '../contract/plugin.ts'

/** A CEL signature, with the name in `as`, and its implementation. */
export type Overload = readonly [signature: string, handler: (...args: any[]) => unknown]

export interface FunctionEntry {
  readonly name: string
  /** `function`: `round(x)`, `math.sqrt(x)`. `method`: `text.upper()`. */
  readonly form: 'function' | 'method'
  /** Numbers of arguments, without the receiver of a method. */
  readonly arity: readonly number[]
  /** The call as shown in docs and messages. */
  readonly usage: string
  readonly description: string
  /** Expressions with their results on an empty record; tested. */
  readonly examples: readonly (readonly [expression: string, result: Json])[]
  /** The implementation; undefined: the function or macro of the library. */
  readonly overloads?: readonly Overload[]
  /** The name inside the library, if this function replaces one with the same name. */
  readonly as?: string
}
