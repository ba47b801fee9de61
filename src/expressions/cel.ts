/**
 * Types of the checked syntax tree, which the typings of the library omit. All internal names of @marcbachmann/cel-js 8 in use are typed
 * here, so an incompatible version breaks here.
 */
import * as Cel from '@marcbachmann/cel-js'
import { UnsignedInt } from '@marcbachmann/cel-js/evaluator'
import * as Re2 from 're2js'

export interface CelType {
  /** `double`, `list<string>`, `dyn`, `optional<dyn>`… */
  readonly name: string
  readonly kind: string
  matches(other: CelType): boolean
}

export interface CelNode {
  /** `value`, `id`, `.`, `.?`, `[]`, `[?]`, `call`, `rcall`, `list`, `map`, `?:`, `comprehension`, an operator; unary ones are `!_` and `-_`. */
  readonly op: string
  /** Depends on `op`: the literal, the name, or the operands. */
  args: any
  /** Range in the text. */
  readonly start: number
  readonly end: number
  /** Position for errors: the name in `x.name`. */
  readonly pos: number
  /** Present after the type check. */
  readonly checkedType?: CelType
  /** Overloads of a call, present after the type check. */
  readonly candidates?: {
    readonly declarations: readonly { readonly receiverType: CelType | null; readonly argTypes: readonly CelType[] }[]
  }
  /** `alternate`: the expansion of a macro. `macro`: a macro with its own evaluation (`has`, `orValue`). */
  readonly meta: {
    readonly alternate?: CelNode
    readonly macro?: { readonly args?: CelNode[]; readonly receiver?: CelNode; readonly arg?: CelNode }
    readonly check?: (checker: any, node: CelNode, scope: unknown) => CelType
    readonly evaluate?: (ev: any, node: CelNode, scope: unknown) => unknown
  }
  /** `check` and `evaluate` replace those of the operator; `async` is false if neither returns a promise. */
  setMeta(key: 'check' | 'evaluate' | 'async', value: unknown): this
  /** A node with another operator at the same position. */
  clone(op: { readonly name: string; readonly check: unknown; readonly evaluate: unknown }, args: unknown): CelNode
}

/** The operands of a `comprehension` node. */
export interface Comprehension {
  readonly iterVarName: string
  readonly iterable: CelNode
  readonly init: CelNode
  readonly step: CelNode
}

/** An error of the library: of parsing, checking or evaluating. */
export interface CelError extends Error {
  readonly code: string
  /** The message without the source excerpt. */
  readonly summary: string
  readonly range?: { readonly start: number; readonly end: number }
  readonly node?: CelNode
}

/** Other errors also have a `code`; only errors of the library have a `summary`. */
export const isCelError = (error: unknown): error is CelError => error instanceof Error && typeof (error as CelError).summary === 'string'

export interface Program {
  (variables: Record<string, unknown>): unknown
  readonly ast: CelNode
  check(): Cel.TypeCheckResult
}

export const loadCel = (): typeof Cel => Cel
export const loadRe2 = (): typeof Re2 => Re2

export const makeUnsigned = (x: bigint): unknown => new UnsignedInt(x)

/** The value of an unsigned integer; undefined for other values. */
export const unsigned = (x: unknown): bigint | undefined => (x instanceof UnsignedInt ? x.valueOf() : undefined)

/** Free names of an expression get this prefix, so no field can clash with `type`, `string`, `cel`… of the library. */
export const FIELD = '$'
export const VALUE = '$value'
export const META = '$meta'
