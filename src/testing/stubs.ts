/** Answers of peers that a test does not have. */
import { type Answer, compareNumbers, DataError, encodeJson, ExactNumber, type Json, parseJson } from '../contract/plugin.ts'
import type { Stub } from './model.ts'

/** The first stub whose key fits the question answers it; nothing fits: no rows. */
export function answerer(stubs: readonly Stub[]): Answer {
  return question => {
    const stub = stubs.find(s => s.key === undefined || fits(s.key, question))
    if (stub?.error !== undefined) throw new DataError(stub.error)
    // Of its own each time: a step may change what it gets.
    return parseJson(encodeJson(stub?.rows ?? [])) as Record<string, Json>[]
  }
}

/** Objects have at least these fields; numbers and their texts are the same, as they are for a database. */
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
