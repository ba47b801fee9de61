/**
 * The interpreter defines the meaning of an expression; generated code may only be faster. Thousands of random
 * expressions over random records: result by result, failure by failure, both must agree.
 */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { generated, interpreted, prepared } from '../../src/expressions/compile.ts'
import { BAIL } from '../../src/expressions/generate.ts'
import { check, compile, compileObject } from '../../src/expressions/index.ts'
import { DataError, Message } from '../../src/contract/plugin.ts'
import { expression, records } from './arbitraries.ts'

type Outcome = { value: unknown } | { failed: true }

function outcome(run: () => unknown): Outcome {
  try {
    return { value: run() }
  } catch (error) {
    if (!(error instanceof DataError)) throw error
    return { failed: true }
  }
}

const show = (o: Outcome): string => ('failed' in o ? 'failure' : JSON.stringify(o.value))

test('generated code and the interpreter agree on every expression and record', () => {
  const seen = { expressions: 0, generated: 0, evaluations: 0, fast: 0, failures: 0 }
  fc.assert(
    fc.property(expression, records, (text, messages) => {
      if ('problems' in check(text)) return
      seen.expressions++
      const p = prepared(text)
      const fast = generated(p)
      const slow = interpreted(p)
      const whole = compile(text)
      if (fast) seen.generated++
      for (const make of messages) {
        seen.evaluations++
        const expected = outcome(() => slow(make()))
        if ('failed' in expected) seen.failures++
        const message = make()
        let direct: unknown = BAIL
        try {
          direct = fast ? fast(message.value, message) : BAIL
        } catch {
          direct = BAIL
        }
        if (direct !== BAIL) {
          seen.fast++
          if (!isDeepStrictEqual({ value: direct }, expected))
            throw new Error(`${text}: generated ${show({ value: direct })}, interpreter ${show(expected)}`)
        }
        const both = outcome(() => whole.evaluate(make()))
        if (!isDeepStrictEqual(both, expected)) throw new Error(`${text}: evaluate ${show(both)}, interpreter ${show(expected)}`)
      }
    }),
    { numRuns: Number(process.env.FUZZ_RUNS ?? 6000) },
  )
  if (process.env.FUZZ_SHOW) console.log(seen)
  // A property over expressions that are never generated, never fast or never fail would prove nothing.
  expect(seen.generated / seen.expressions).toBeGreaterThan(0.45)
  expect(seen.fast / seen.evaluations).toBeGreaterThan(0.1)
  expect(seen.failures / seen.evaluations).toBeGreaterThan(0.1)
})

test('an object of expressions evaluates to the result of each one', () => {
  fc.assert(
    fc.property(fc.array(expression, { minLength: 1, maxLength: 4 }), records, (texts, messages) => {
      const good = texts.filter(t => !('problems' in check(t)))
      if (good.length === 0) return
      const make = compileObject(Object.fromEntries(good.map((t, i) => [`f${i}`, t])))
      const each = good.map(t => interpreted(prepared(t)))
      for (const message of messages) {
        const expected = outcome(() => Object.fromEntries(each.map((evaluate, i) => [`f${i}`, evaluate(message())])))
        const got = outcome(() => make(message()))
        if (!isDeepStrictEqual(got, expected)) throw new Error(`${JSON.stringify(good)}: ${show(got)}, interpreter ${show(expected)}`)
      }
    }),
    { numRuns: Number(process.env.FUZZ_RUNS ?? 1500) },
  )
})

test('min and max of 0/0 match the interpreter', () => {
  for (const text of ['min(a / a, a)', 'min(a, a / a)', 'max(a / a, a)', 'max(a, a / a)', 'min(1, min(a / a, 2)) > 0']) {
    const p = prepared(text)
    const message = new Message({ a: 0 })
    const fast = generated(p)?.(message.value, message)
    expect([text, fast === undefined || fast === BAIL ? 'left' : outcome(() => fast)]).toEqual([
      text,
      fast === undefined || fast === BAIL ? 'left' : outcome(() => interpreted(p)(message)),
    ])
  }
})
