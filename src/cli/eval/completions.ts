/** What the word at the end of an expression can become. */
import { type FunctionEntry, META_NAMES } from '../../expressions/index.ts'
import { isRecord } from '../../kit/values/records.ts'

/** As `readline` wants it: the candidates, and the part of the line that they replace. `value`: the record. */
export function completions(line: string, value: unknown, functions: readonly FunctionEntry[]): [string[], string] {
  const path = /[\w.]*$/.exec(line)![0]
  const cut = path.lastIndexOf('.') + 1
  const [parent, word] = [path.slice(0, Math.max(0, cut - 1)), path.slice(cut)]
  const names = cut === 0 ? top(value, functions) : below(parent, value, functions)
  return [[...new Set(names)].filter(name => name.startsWith(word)).sort(), word]
}

const top = (value: unknown, functions: readonly FunctionEntry[]): string[] => [
  ...fields(value),
  ...functions.filter(f => f.form === 'function').map(f => (f.name.includes('.') ? `${f.name.split('.')[0]}.` : `${f.name}(`)),
  'value',
  'meta.',
  'env.',
]

function below(parent: string, value: unknown, functions: readonly FunctionEntry[]): string[] {
  if (parent === 'meta') return [...META_NAMES]
  if (parent === 'env') return Object.keys(process.env)
  const inside = functions.filter(f => f.name.startsWith(`${parent}.`)).map(f => `${f.name.slice(parent.length + 1)}(`)
  if (inside.length > 0) return inside
  const path = parent.split('.')
  let at: unknown = value
  for (const name of path[0] === 'value' ? path.slice(1) : path) at = isRecord(at) ? at[name] : undefined
  return [...fields(at), ...functions.filter(f => f.form === 'method').map(f => `${f.name}(`)]
}

const fields = (value: unknown): string[] => (isRecord(value) ? Object.keys(value).filter(name => /^[A-Za-z_]\w*$/.test(name)) : [])
