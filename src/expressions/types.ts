/** The interface of the expression language (CEL), independent of the CEL library. */
import type { Message } from '../contract/plugin.ts'

export type ExpressionType =
  | 'bool'
  | 'string'
  | 'double'
  | 'int'
  | 'decimal'
  | 'bytes'
  | 'list'
  | 'map'
  | 'null'
  | 'timestamp'
  | 'duration'
  | 'dyn'

/** `start` and `end` are character offsets in the expression, end exclusive. */
export interface ExpressionProblem {
  readonly message: string
  readonly start: number
  readonly end: number
  readonly suggestion?: string
}

export interface Expression {
  readonly text: string
  readonly type: ExpressionType
  /**
   * Evaluates one message: the top-level fields of its value are variables, `value` is the whole value, `meta` has
   * key, time (epoch ms), topic, partition, offset, headers.
   * @returns JSON values: numbers if a double has the value, otherwise `ExactNumber`; never BigInt.
   * @throws {DataError} if the data does not match (missing field, wrong operand types).
   */
  evaluate(message: Message): unknown
}
