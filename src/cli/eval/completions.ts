/** What the word at the end of an expression can become. */
import { typeOfValue } from '../../config/flow/json-schema.ts'
import { typescriptOf } from '../../config/flow/typescript.ts'
import { type FunctionEntry, META_NAMES } from '../../expressions/index.ts'
import { ANY, type RecordType, typeAt } from '../../expressions/record-type.ts'

export interface Word {
  readonly text: string
  readonly kind: 'field' | 'function' | 'namespace' | 'variable'
  /** The type of a field, or the call of a function. */
  readonly detail?: string
  readonly description?: string
}

/** As `readline` wants it: the candidates, and the part of the line that they replace. `value`: the record. */
export function completions(line: string, value: unknown, functions: readonly FunctionEntry[]): [string[], string] {
  const { words, typed } = expressionWords(line, typeOfValue(value), functions, Object.keys(process.env))
  return [[...new Set(words.map(w => w.text))].filter(name => name.startsWith(typed)).sort(), typed]
}

/**
 * All words that can be at the end of an expression.
 * @param line the expression up to the cursor. @param record the type of the record. @param variables names for `env.`
 * @param owner the type of the value before the last dot, if it is known otherwise
 */
export function expressionWords(
  line: string,
  record: RecordType,
  functions: readonly FunctionEntry[],
  variables: readonly string[],
  owner?: RecordType,
): { readonly words: readonly Word[]; readonly typed: string } {
  const path = /[\w.?]*$/.exec(line)![0].replaceAll('.?', '.')
  const cut = path.lastIndexOf('.') + 1
  const [parent, typed] = [path.slice(0, Math.max(0, cut - 1)), path.slice(cut)]
  return { words: cut === 0 ? top(record, functions) : below(parent, record, functions, variables, owner), typed }
}

const call = (f: FunctionEntry, name: string): Word => ({ text: `${name}(`, kind: 'function', detail: f.usage, description: f.description })
const plain = (text: string, kind: Word['kind']): Word => ({ text, kind })

const top = (record: RecordType, functions: readonly FunctionEntry[]): Word[] => [
  ...fields(record),
  ...functions
    .filter(f => f.form === 'function')
    .map(f => (f.name.includes('.') ? plain(`${f.name.split('.')[0]}.`, 'namespace') : call(f, f.name))),
  plain('value', 'variable'),
  plain('meta.', 'namespace'),
  plain('env.', 'namespace'),
]

function below(
  parent: string,
  record: RecordType,
  functions: readonly FunctionEntry[],
  variables: readonly string[],
  owner: RecordType | undefined,
): Word[] {
  if (parent === 'meta') return META_NAMES.map(name => plain(name, 'field'))
  if (parent === 'env') return variables.map(name => plain(name, 'variable'))
  const inside = functions.filter(f => f.name.startsWith(`${parent}.`)).map(f => call(f, f.name.slice(parent.length + 1)))
  if (inside.length > 0) return inside
  const path = parent.split('.')
  // Without a name, the value is the result of a call or an element of a list.
  const at = owner ?? (parent === '' ? ANY : typeAt(record, path[0] === 'value' ? path.slice(1) : path))
  return [...fields(at), ...functions.filter(f => f.form === 'method').map(f => call(f, f.name))]
}

/** Names that are not identifiers need brackets. */
const fields = (type: RecordType): Word[] =>
  type.kind === 'object'
    ? [...type.fields]
        .filter(([name]) => /^[A-Za-z_]\w*$/.test(name))
        .map(([text, f]) => ({
          text,
          kind: 'field',
          detail: `${typescriptOf(f.type)}${f.presence === 'always' ? '' : ', may be missing'}`,
        }))
    : []
