/**
 * Macros with two variables: `list.all(i, x, condition)`, `map.transformMap(key, x, expression)`. The library has macros with one. They
 * are registered like functions whose arguments are trees; `BINDING` lists the names that they bind, for the analysis.
 */
import type { Environment } from '@marcbachmann/cel-js'
import type { CelNode, CelType } from './cel.ts'

/** The parts of the checker, evaluator and scopes of the library that macros use. */
interface Scope {
  forkWithVariable(name: string, type: CelType): Scope
  reuse(parent: Scope): Scope
  setIterValue(value: unknown, evaluator: unknown): Scope
}
interface Checker {
  check(node: CelNode, scope: Scope): CelType
  getType(name: string): CelType
  createError(code: string, message: string, node: CelNode): Error
  readonly registry: { getListType(of: CelType): CelType; getMapType(key: CelType, value: CelType): CelType }
}
interface Evaluator {
  run(node: CelNode, scope: Scope): unknown
  debugType(value: unknown): CelType
  createError(code: string, message: string, node: CelNode): Error
}

type Each = (key: unknown, value: unknown) => unknown

/** The effect of one macro on the elements. */
interface TwoVariables {
  readonly name: string
  readonly type: (checker: Checker, result: CelType, key: CelType) => CelType
  /** @param test the filter; macros with three arguments have none */
  readonly run: (entries: readonly (readonly [unknown, unknown])[], result: Each, test: Each | undefined) => unknown
  /** Whether the last argument is a condition. */
  readonly condition?: true
  readonly filter?: true
}

/** An element with the decisive value decides, even if another element fails. */
function decides(entries: readonly (readonly [unknown, unknown])[], test: Each, decisive: boolean): boolean {
  let failure: { readonly error: unknown } | undefined
  for (const [key, value] of entries)
    try {
      if (test(key, value) === decisive) return decisive
    } catch (error) {
      failure ??= { error }
    }
  if (failure) throw failure.error
  return !decisive
}

const MACROS: readonly TwoVariables[] = [
  { name: 'all', condition: true, type: c => c.getType('bool'), run: (entries, test) => decides(entries, test, false) },
  { name: 'exists', condition: true, type: c => c.getType('bool'), run: (entries, test) => decides(entries, test, true) },
  ...['existsOne', 'exists_one'].map(
    (name): TwoVariables => ({
      name,
      condition: true,
      type: c => c.getType('bool'),
      run: (entries, test) => entries.filter(([key, value]) => test(key, value) === true).length === 1,
    }),
  ),
  {
    name: 'transformList',
    filter: true,
    type: (c, result) => c.registry.getListType(result),
    run: (entries, result, test) => kept(entries, test).map(([key, value]) => result(key, value)),
  },
  {
    name: 'transformMap',
    filter: true,
    type: (c, result, key) => c.registry.getMapType(key, result),
    run: (entries, result, test) => new Map(kept(entries, test).map(([key, value]) => [key, result(key, value)])),
  },
  {
    name: 'transformMapEntry',
    filter: true,
    type: (c, result) => (result.kind === 'map' ? result : c.getType('map')),
    run: (entries, result, test) => {
      const made = new Map<unknown, unknown>()
      for (const [key, value] of kept(entries, test))
        for (const [name, item] of objectEntries(result(key, value))) {
          if (made.has(name)) throw new Error(`transformMapEntry() creates the key ${JSON.stringify(String(name))} twice`)
          made.set(name, item)
        }
      return made
    },
  },
]

const kept = (entries: readonly (readonly [unknown, unknown])[], test: Each | undefined) =>
  test ? entries.filter(([key, value]) => test(key, value) === true) : entries

/** Macro and number of arguments -> number of names that it binds. */
export const BINDING: ReadonlyMap<string, number> = new Map([
  ...MACROS.flatMap(({ name, filter }) => [3, ...(filter ? [4] : [])].map(n => [`${name}/${n}`, 2] as const)),
  ['optMap/2', 1],
  ['optFlatMap/2', 1],
  ['existsOne/2', 1],
])

function objectEntries(value: unknown): (readonly [unknown, unknown])[] {
  const entries = Array.isArray(value) ? undefined : entriesOf(value)
  if (entries === undefined) throw new Error('transformMapEntry() takes an expression that returns an object, such as {x: 1}')
  return entries
}

/** The elements with their keys: list indexes or map keys. */
function entriesOf(collection: unknown): (readonly [unknown, unknown])[] | undefined {
  if (Array.isArray(collection)) return collection.map((value, i) => [BigInt(i), value] as const)
  if (collection instanceof Map) return [...collection]
  if (typeof collection !== 'object' || collection === null) return undefined
  const prototype = Object.getPrototypeOf(collection)
  return prototype === Object.prototype || prototype === null ? Object.entries(collection) : undefined
}

interface Call {
  readonly ast: CelNode
  readonly args: CelNode[]
  readonly receiver: CelNode
}

/** The optional class of the library. */
export interface OptionalClass {
  new (...args: never[]): { hasValue(): boolean; value(): unknown }
  of(value: unknown): unknown
  none(): unknown
}

export function registerMacros(env: Environment, Optional: OptionalClass): void {
  const register = (signature: string, handler: (call: Call) => unknown) => env.registerFunction(signature, handler as never)
  for (const macro of MACROS) {
    register(`list.${macro.name}(ast, ast, ast): dyn`, call => twoVariables(macro, call))
    if (macro.filter) register(`list.${macro.name}(ast, ast, ast, ast): dyn`, call => twoVariables(macro, call))
  }
  register('list.existsOne(ast, ast): dyn', ({ ast, args, receiver }) =>
    twoVariables(MACROS.find(m => m.name === 'existsOne')!, { ast, args, receiver }, 1),
  )
  const invalid = (checker: Checker, node: CelNode, type: CelType) =>
    checker.createError('optional_expected', `must be an optional, got '${type.name}'`, node)
  for (const name of ['optMap', 'optFlatMap'])
    register(`optional.${name}(ast, ast): dyn`, ({ ast, args, receiver }) => {
      let inner: Scope
      return {
        ast,
        receiver,
        async: false,
        typeCheck(checker: Checker, _: unknown, scope: Scope): CelType {
          const type = checker.check(receiver, scope) as CelType & { readonly valueType?: CelType }
          if (type.kind !== 'optional' && type.kind !== 'dyn') throw invalid(checker, receiver, type)
          inner = scope.forkWithVariable(variable(checker, args[0]), checker.getType('dyn'))
          const result = checker.check(args[1], inner)
          if (name === 'optFlatMap' && result.kind !== 'optional' && result.kind !== 'dyn') throw invalid(checker, args[1], result)
          return checker.getType('optional<dyn>')
        },
        evaluate(ev: Evaluator, _: unknown, scope: Scope): unknown {
          const found = ev.run(receiver, scope)
          if (!(found instanceof Optional))
            throw ev.createError('optional_expected', `no optional: '${ev.debugType(found).name}'`, receiver)
          if (!found.hasValue()) return Optional.none()
          const result = ev.run(args[1], inner.reuse(scope).setIterValue(found.value(), ev))
          return name === 'optMap' ? Optional.of(result) : result
        },
      }
    })
}

function variable(checker: Checker, node: CelNode): string {
  if (node.op !== 'id') throw checker.createError('invalid_macro_argument', 'must be a name', node)
  return node.args
}

/** @param variables 1: only the element */
function twoVariables(macro: TwoVariables, { ast, args, receiver }: Call, variables = 2): unknown {
  const result = args.at(-1)!
  const test = args.length === 4 ? args[2] : undefined
  let outer: Scope
  let inner: Scope
  const isCondition = (checker: Checker, node: CelNode) => {
    const type = checker.check(node, inner)
    if (type.kind !== 'dyn' && type.name !== 'bool')
      throw checker.createError('invalid_condition_type', `must be bool, got '${type.name}'`, node)
  }
  return {
    ast,
    receiver,
    async: false,
    typeCheck(checker: Checker, _: unknown, scope: Scope): CelType {
      const range = checker.check(receiver, scope) as CelType & { readonly keyType?: CelType; readonly valueType?: CelType }
      if (range.kind !== 'list' && range.kind !== 'map' && range.kind !== 'dyn')
        throw checker.createError('invalid_comprehension_range', `no range: '${range.name}'`, receiver)
      const dyn = checker.getType('dyn')
      const key = range.kind === 'list' ? checker.getType('int') : dyn
      outer = variables === 2 ? scope.forkWithVariable(variable(checker, args[0]), key) : scope
      inner = outer.forkWithVariable(variable(checker, args[variables - 1]), range.kind === 'list' ? range.valueType! : dyn)
      if (test) isCondition(checker, test)
      if (macro.condition) isCondition(checker, result)
      return macro.type(checker, checker.check(result, inner), range.kind === 'map' ? range.keyType! : key)
    },
    evaluate(ev: Evaluator, _: unknown, scope: Scope): unknown {
      const range = ev.run(receiver, scope)
      const entries = entriesOf(range)
      if (!entries) throw ev.createError('invalid_comprehension_range', `no range: '${ev.debugType(range).name}'`, receiver)
      const each =
        (node: CelNode): Each =>
        (key, value) => {
          const around = variables === 2 ? outer.reuse(scope).setIterValue(key, ev) : scope
          return ev.run(node, inner.reuse(around).setIterValue(value, ev))
        }
      const checked =
        (node: CelNode): Each =>
        (key, value) => {
          const holds = each(node)(key, value)
          if (typeof holds !== 'boolean')
            throw ev.createError('invalid_condition_type', `must be bool, got '${ev.debugType(holds).name}'`, node)
          return holds
        }
      return macro.run(entries, macro.condition ? checked(result) : each(result), test && checked(test))
    },
  }
}
