/** The CEL environment: the library with our functions, and with operators that mix integers and doubles. */
import type { Environment } from '@marcbachmann/cel-js'
import { type CelNode, loadCel, type Program } from './cel.ts'
import { FUNCTIONS } from './functions.ts'

/** Far more than anybody writes by hand, and little enough that no text can hang or overflow the checker. */
export const LIMITS = {
  length: 4096,
  maxAstNodes: 2000,
  maxDepth: 48,
  maxListElements: 500,
  maxMapEntries: 200,
  maxCallArguments: 8,
} as const

let environment: Environment | undefined

/** @throws the library's ParseError. The tree is not checked yet. */
export function parse(text: string): Program {
  environment ??= create()
  return environment.parse(text) as unknown as Program
}

function create(): Environment {
  const { length: _, ...limits } = LIMITS
  const env = new (loadCel().Environment)({
    unlistedVariablesAreDyn: true,
    enableOptionalTypes: true,
    // JSON mixes types in lists and maps.
    homogeneousAggregateLiterals: false,
    limits,
  })
  // Numbers of JSON are doubles, the `2` of `price * 2` is an integer: without these it would not type-check.
  for (const [op, f] of MIXED) {
    env.registerOperator(`double ${op} int: double`, (a: number, b: bigint) => f(a, Number(b)))
    env.registerOperator(`int ${op} double: double`, (a: bigint, b: number) => f(Number(a), b))
  }
  env.registerOperator('double % double: double', (a: number, b: number) => a % b)
  // biome-ignore lint: a number equals a bigint of the same value only with ==
  env.registerOperator('double == int', (a: number, b: bigint) => a == (b as unknown))
  for (const { overloads } of FUNCTIONS)
    for (const [signature, handler] of overloads ?? []) env.registerFunction(signature, guarded(handler), { async: false })
  return env
}

const MIXED: readonly (readonly [string, (a: number, b: number) => number])[] = [
  ['+', (a, b) => a + b],
  ['-', (a, b) => a - b],
  ['*', (a, b) => a * b],
  ['/', (a, b) => a / b],
  ['%', (a, b) => a % b],
]

/** Bad arguments become the library's own kind of error, which knows its place in the text. */
function guarded(handler: (...args: any[]) => unknown): (...args: any[]) => unknown {
  const { EvaluationError } = loadCel()
  return (...args) => {
    try {
      return handler(...args)
    } catch (error) {
      throw new EvaluationError({ code: 'bad_argument', message: (error as Error).message })
    }
  }
}

/** Adds nothing to the tree but its types. @returns the library's name of the type, or its error. */
export function typeOf(program: Program): { type: string } | { error: Error } {
  const result = program.check()
  return result.valid ? { type: result.type! } : { error: result.error! }
}

/** The tree after the expansion of macros: what is really evaluated. */
export const expanded = (node: CelNode): CelNode => node.meta.alternate ?? node
