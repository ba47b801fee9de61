/** Stubbed answers for steps that query other systems. */
import { type Answer, compareNumbers, DataError, encodeJson, ExactNumber, type Json, parseJson } from '../contract/plugin.ts'
import type { Stub } from './model.ts'

/** Returns the answer of the first stub with a matching key; without a match, no rows. */
export function answerer(stubs: readonly Stub[]): Answer {
  return question => {
    const stub = stubs.find(s => s.key === undefined || fits(s.key, question))
    if (stub?.error !== undefined) throw new DataError(stub.error)
    // A new copy each time: a step may change its rows.
    return parseJson(encodeJson(stub?.rows ?? [])) as Record<string, Json>[]
  }
}

/** An object needs at least the fields of the key; numbers equal their text, as in a database. */
function fits(key: Json, question: Json | undefined): boolean {
  if (question === undefined) return false
  if (isNumber(key) && isNumber(question)) return compareNumbers(key, question) === 0
  if (key === null || question === null || typeof key !== 'object' || key instanceof ExactNumber)
    return key === question || (scalar(question) && String(key) === String(question))
  if (Array.isArray(key)) return Array.isArray(question) && key.length === question.length && key.every((k, i) => fits(k, question[i]))
  return (
    typeof question === 'object' &&
    !Array.isArray(question) &&
    !(question instanceof ExactNumber) &&
    Object.entries(key).every(([name, value]) => fits(value, question[name]))
  )
}

const isNumber = (value: Json): value is number | ExactNumber => typeof value === 'number' || value instanceof ExactNumber
const scalar = (value: Json): boolean => typeof value !== 'object' || value instanceof ExactNumber
