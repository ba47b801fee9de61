/** The CEL environment: the library with our functions, and with operators that mix integers and doubles. */
import type { Environment } from '@marcbachmann/cel-js'
import { type CelNode, loadCel, type Program } from './cel.ts'
import { compareNumbers, ExactNumber } from '../contract/plugin.ts'
import type { Numeric } from '../kit/values/arithmetic.ts'
import { FUNCTIONS, NAMESPACES } from './functions.ts'
import { Duration, plus, Timestamp } from './instants.ts'
import { type OptionalClass, registerMacros } from './macros.ts'
import { restore, rewrite } from './syntax.ts'

/** Above the needs of handwritten expressions, and low enough that no text can hang or overflow the checker. */
export const LIMITS = {
  length: 4096,
  maxAstNodes: 2000,
  maxDepth: 48,
  maxListElements: 500,
  maxMapEntries: 200,
  maxCallArguments: 8,
} as const

let environment: Environment | undefined

/** Parses without a type check. @throws ParseError of the library */
export function parse(text: string): Program {
  environment ??= create()
  const rewritten = rewrite(text)
  const program = environment.parse(rewritten?.text ?? text) as unknown as Program
  if (rewritten) restore(program.ast, rewritten)
  return program
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
  // JSON numbers are doubles, and the `2` in `price * 2` is an integer: without these operators the type check would fail.
  for (const [op, f] of MIXED) {
    env.registerOperator(`double ${op} int: double`, (a: number, b: bigint) => f(a, Number(b)))
    env.registerOperator(`int ${op} double: double`, (a: bigint, b: number) => f(Number(a), b))
  }
  env.registerOperator('double % double: double', (a: number, b: number) => a % b)
  // A number that no double can represent. The operators are declared here and implemented in `numbers.ts`.
  env.registerType('decimal', { ctor: ExactNumber, fields: {} } as never)
  for (const other of ['double', 'int']) {
    for (const op of ['+', '-', '*', '%']) both(env, op, other, 'decimal')
    both(env, '/', other, 'double')
    for (const op of ['<', '<=', '>', '>=', '==']) both(env, op, other, 'bool')
  }
  for (const op of ['+', '-', '*', '%']) env.registerOperator(`decimal ${op} decimal: decimal`, replaced)
  env.registerOperator('decimal / decimal: double', replaced)
  for (const op of ['<', '<=', '>', '>=']) env.registerOperator(`decimal ${op} decimal: bool`, replaced)
  env.registerOperator('decimal == decimal', (a: Numeric, b: Numeric) => sameNumber(a, b))
  env.registerOperator('-decimal: decimal', replaced)
  // biome-ignore lint: a number equals a bigint of the same value only with ==
  env.registerOperator('double == int', (a: number, b: bigint) => a == (b as unknown))
  for (const other of ['int', 'decimal']) env.registerOperator(`uint == ${other}`, sameNumber)
  for (const [op, test] of ORDER)
    env.registerOperator(`bytes ${op} bytes: bool`, (a: Uint8Array, b: Uint8Array) => test(Buffer.compare(a, b)))
  registerTimes(env)
  registerMacros(env, loadCel().Optional as unknown as OptionalClass)
  for (const name of NAMESPACES) {
    // `cel` and `optional` belong to the library.
    if (name === 'cel' || name === 'optional') continue
    const Namespace = class {}
    env.registerType(typeOfNamespace(name), Namespace)
    env.registerConstant(name, typeOfNamespace(name), new Namespace() as never)
  }
  for (const { overloads } of FUNCTIONS)
    for (const [signature, handler] of overloads ?? []) {
      const [, name, rest] = /^(\w+)(\..*)$/.exec(signature) ?? []
      if (name === undefined || !NAMESPACES.has(name)) env.registerFunction(signature, guarded(handler), { async: false })
      // The namespace is the first argument.
      else
        env.registerFunction(
          typeOfNamespace(name) + rest,
          guarded((_, ...args) => handler(...args)),
          { async: false },
        )
    }
  return env
}

const typeOfNamespace = (name: string): string => (name === 'optional' ? 'OptionalNamespace' : `${name}Namespace`)

function registerTimes(env: Environment): void {
  env.registerType('timestamp', { ctor: Timestamp, fields: {} } as never)
  env.registerType('duration', { ctor: Duration, fields: {} } as never)
  const operator = (signature: string, handler: (a: any, b: any) => unknown) => env.registerOperator(signature, guarded(handler))
  operator('timestamp + duration: timestamp', plus)
  operator('duration + timestamp: timestamp', (a: Duration, b: Timestamp) => plus(b, a))
  operator('timestamp - duration: timestamp', (a: Timestamp, b: Duration) => new Timestamp(a.ns - b.ns))
  operator('timestamp - timestamp: duration', (a: Timestamp, b: Timestamp) => new Duration(a.ns - b.ns))
  operator('duration + duration: duration', (a: Duration, b: Duration) => new Duration(a.ns + b.ns))
  operator('duration - duration: duration', (a: Duration, b: Duration) => new Duration(a.ns - b.ns))
  env.registerOperator('-duration: duration', (a: Duration) => new Duration(-a.ns))
  for (const type of ['timestamp', 'duration']) {
    operator(`${type} == ${type}`, (a, b) => a.ns === b.ns)
    for (const [op, test] of ORDER) operator(`${type} ${op} ${type}: bool`, (a, b) => test(a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : 0))
  }
}

/** Declares an operator of decimals and other numbers, in both orders. */
function both(env: Environment, op: string, other: string, result: string): void {
  env.registerOperator(`decimal ${op} ${other}: ${result}`, op === '==' ? sameNumber : replaced)
  // The library adds the reverse order of equality.
  if (op !== '==') env.registerOperator(`${other} ${op} decimal: ${result}`, replaced)
}

const replaced = (): never => {
  throw new Error('not replaced')
}

const sameNumber = (a: Numeric, b: Numeric): boolean =>
  compareNumbers(typeof a === 'bigint' ? new ExactNumber(String(a)) : a, typeof b === 'bigint' ? new ExactNumber(String(b)) : b) === 0

const ORDER: readonly (readonly [string, (order: number) => boolean])[] = [
  ['<', order => order < 0],
  ['<=', order => order <= 0],
  ['>', order => order > 0],
  ['>=', order => order >= 0],
]

const MIXED: readonly (readonly [string, (a: number, b: number) => number])[] = [
  ['+', (a, b) => a + b],
  ['-', (a, b) => a - b],
  ['*', (a, b) => a * b],
  ['/', (a, b) => a / b],
  ['%', (a, b) => a % b],
]

/** Converts errors for invalid arguments to an error of the library, which has the position in the text. */
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

/** Adds types to the tree. @returns the type name of the library, or its error */
export function typeOf(program: Program): { type: string } | { error: Error } {
  const result = program.check()
  return result.valid ? { type: result.type! } : { error: result.error! }
}

/** The node after macro expansion, which is evaluated. */
export const expanded = (node: CelNode): CelNode => node.meta.alternate ?? node
