/** Field paths: `price`, `data.price`. Values of records may be anything, so nothing here throws. */
import { ExactNumber } from '../../contract/plugin.ts'

/** Reads a field of a JSON value; undefined when it, or any part of the path, is missing. */
export type Getter = (value: unknown) => unknown

/** Reads a field path such as `data.price`; undefined if the path does not exist. Create it once, in `create`. */
export function getter(path: string): Getter {
  const parts = path.split('.')
  if (parts.length === 1 && !(path in Object.prototype)) return value => (isObject(value) ? value[path] : undefined)
  return value => {
    let at = value
    for (const part of parts) at = isObject(at) && Object.hasOwn(at, part) ? at[part] : undefined
    return at
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !(value instanceof ExactNumber)
}

/** A value in the form used by error messages: JSON, shortened. */
export function show(value: unknown): string {
  if (value === undefined) return 'missing'
  const text = typeof value === 'number' || typeof value === 'bigint' ? `${value}` : json(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

/** A value from a plugin may be something that JSON cannot represent. */
function json(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return `a value that is not JSON (${(value as object).constructor?.name ?? 'object'})`
  }
}
