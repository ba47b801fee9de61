/** URLs with fields of the message in their path. */
import { DataError, type Message } from '../../../contract/plugin.ts'
import { getter, show } from '../../../kit/values/fields.ts'
import { keyText } from '../../../kit/values/key.ts'

const FIELD = /\{([^{}]*)\}/

export const fieldsIn = (url: string): string[] => [...url.matchAll(new RegExp(FIELD, 'g'))].map(m => m[1])

/** @throws {DataError} when a field is missing or could lead to another path. */
export function urlMaker(template: string): (m: Message) => string {
  const parts = template.split(new RegExp(FIELD, 'g'))
  if (parts.length === 1) return () => template
  const steps = parts.map((part, i) => (i % 2 === 0 ? () => part : segment(part)))
  return m => steps.map(step => step(m)).join('')
}

function segment(field: string): (m: Message) => string {
  const get = getter(field)
  return m => encodeSegment(get(m.value), field)
}

/** @param what names the value in the error. @throws {DataError} when it is not text or a number, or could lead to another path */
export function encodeSegment(value: unknown, what: string): string {
  const text = keyText(value) ?? ''
  // `..` is not changed by encoding and would lead to the parent folder.
  if (text === '' || text === '.' || text === '..')
    throw new DataError(`${what} is part of the URL and must be text or a number, not ${show(value)}`)
  return encodeURIComponent(text)
}
