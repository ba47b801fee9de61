/** The conformance tests of the CEL specification, as records and expressions of the runner. */
import { isDeepStrictEqual } from 'node:util'
import { tests as suite } from '@bufbuild/cel-spec/testdata/conformance.js'
import { DataError, ExactNumber, Message } from '../../src/contract/plugin.ts'
import { check, compile } from '../../src/expressions/index.ts'

/** A value in the JSON form of protocol buffers. */
type ProtoValue = Record<string, any>

export interface ConformanceTest {
  /** `file/section/name`. */
  readonly name: string
  readonly expression: string
  /** Undefined: it passes; otherwise the reason why not. */
  readonly failure: string | undefined
}

interface Original {
  readonly name?: string
  readonly expr: string
  readonly bindings?: Record<string, { readonly value: ProtoValue }>
  readonly value?: ProtoValue
  readonly typedResult?: { readonly result?: ProtoValue }
  readonly evalError?: unknown
  readonly anyEvalErrors?: unknown
}
interface Suite {
  readonly name: string
  readonly suites?: readonly Suite[]
  readonly tests?: readonly { readonly original: Original }[]
}

/** Runs all of them. */
export function conformance(): ConformanceTest[] {
  const found: ConformanceTest[] = []
  const names = new Map<string, number>()
  const visit = ({ name, suites = [], tests = [] }: Suite, path: string): void => {
    for (const { original } of tests) {
      const plain = `${path}${name}/${(original.name ?? original.expr).replaceAll(/\s+/g, ' ').trim()}`
      const count = (names.get(plain) ?? 0) + 1
      names.set(plain, count)
      found.push({ name: count === 1 ? plain : `${plain} #${count}`, expression: original.expr, failure: failureOf(original) })
    }
    for (const inner of suites) visit(inner, name === 'conformance' ? '' : `${path}${name}/`)
  }
  visit(suite as Suite, '')
  return found
}

/** As JSON; values that JSON cannot represent are text. */
function jsonOf(value: ProtoValue): unknown {
  const [[kind, of]] = Object.entries(value)
  switch (kind) {
    case 'int64Value':
    case 'uint64Value':
      return Number.isSafeInteger(Number(of)) ? Number(of) : new ExactNumber(String(of))
    case 'mapValue':
      return Object.fromEntries(
        (of.entries ?? []).map((e: { key: ProtoValue; value: ProtoValue }) => [String(jsonOf(e.key)), jsonOf(e.value)]),
      )
    case 'listValue':
      return (of.values ?? []).map(jsonOf)
    case 'objectValue':
      return of.value ?? of
    case 'typeValue':
      return `type ${of}`
    default:
      return of
  }
}

/** Whether an expression is rejected only for its form, so that the test was never evaluated. */
const isUnreadable = (message: string, { evalError, anyEvalErrors }: Original): boolean =>
  /^(unexpected|unknown function)/.test(message) &&
  !/unbound function|undeclared reference/.test(JSON.stringify([evalError, anyEvalErrors]))

/** The text of an error that a test expects does not count: only that there is one, and that it is not about a form that we do not read. */
function failureOf(test: Original): string | undefined {
  const expected = test.value ?? test.typedResult?.result ?? { boolValue: true }
  const fails = test.evalError !== undefined || test.anyEvalErrors !== undefined
  const record = Object.fromEntries(Object.entries(test.bindings ?? {}).map(([name, { value }]) => [name, jsonOf(value)]))
  // JSON has no bytes: a user encodes them, and so does the test.
  const expression = 'bytesValue' in expected ? `base64.encode(${test.expr})` : test.expr
  const checked = check(expression)
  if ('problems' in checked) {
    const { message } = checked.problems[0]
    return fails && !isUnreadable(message, test) ? undefined : `refused: ${message}`
  }
  // The test is only about the type check.
  if (test.typedResult && !test.typedResult.result) return undefined
  try {
    const result = compile(expression).evaluate(new Message(record))
    if (fails) return `an error was expected, got ${JSON.stringify(result)}`
    return isDeepStrictEqual(comparable(result), comparable(jsonOf(expected))) ? undefined : `got ${JSON.stringify(result)}`
  } catch (error) {
    if (!(error instanceof DataError)) throw error
    return fails ? undefined : `failed: ${error.message}`
  }
}

function comparable(v: unknown): unknown {
  if (v instanceof ExactNumber) return v.plain ?? v.text
  if (Array.isArray(v)) return v.map(comparable)
  if (typeof v === 'object' && v !== null) return Object.fromEntries(Object.entries(v).map(([name, of]) => [name, comparable(of)]))
  return Object.is(v, -0) ? 0 : v
}
