/**
 * Variables in expressions. `env.NAME` inserts the value of a variable as a string literal. `${NAME}` would insert its text as code, so it
 * is rejected inside an expression. As the whole value (`filter: ${CONDITION}`), the variable is the expression.
 */
import { addSecret } from '../kit/text/secrets.ts'
import { suggest } from '../kit/text/suggest.ts'
import { type Env, resolveTree, TextPieces } from './env.ts'
import type { Problems } from './problems.ts'
import { spanInScalar } from './scalar.ts'
import { itemSchema, propertySchema, type Schema, views } from './schema.ts'
import { isJsonNumber } from '../contract/plugin.ts'
import {
  nearby,
  type Parameters,
  type Path,
  type ScalarNode,
  type Span,
  type Substitution,
  toExactValue,
  toValue,
  type TreeNode,
} from './tree.ts'

interface Binding {
  readonly root: Schema
  readonly env: Env
  readonly problems: Problems
  /** The step is disabled: a missing variable is allowed. */
  readonly lenient: boolean
}

/** A copy of the tree with the variables of its expressions inserted; the same tree if there are none. */
export function bindVariables(node: TreeNode, schema: Schema | undefined, path: Path, binding: Binding): TreeNode {
  if (node.kind === 'scalar') {
    if (typeof node.value !== 'string' || !/\b(env|param)\b|\$\{/.test(node.substitution?.template ?? node.value)) return node
    const format = views(schema, node.value, binding.root).find(s => s.format !== undefined)?.format
    return format === 'expression' ? bind(node, path, binding) : node
  }
  const schemas = views(schema, toValue(node), binding.root)
  if (node.kind === 'seq') {
    const items = node.items.map((item, i) => bindVariables(item, itemSchema(schemas, i), [...path, i], binding))
    return items.every((item, i) => item === node.items[i]) ? node : { ...node, items }
  }
  let changed = false
  const entries = new Map(
    [...node.entries].map(([key, entry]) => {
      const value = bindVariables(entry.value, propertySchema(schemas, key), [...path, key], binding)
      changed ||= value !== entry.value
      return [key, { ...entry, value }]
    }),
  )
  return changed ? { ...node, entries } : node
}

/** Strings, comments, and `env.NAME` or `param.NAME` that is not a field of another value. */
const TOKEN =
  /r?"""[^]*?"""|r?'''[^]*?'''|r?"(?:\\.|[^"\\\n])*"|r?'(?:\\.|[^'\\\n])*'|\/\/[^\n]*|(?<![\w.])env\s*\.\s*(\?\s*)?([A-Z_][A-Z0-9_]*)\b(?!\s*\()|(?<![\w.])param\s*\.\s*([A-Za-z_]\w*)\b(?!\s*\()/g

function bind(node: ScalarNode, path: Path, binding: Binding): ScalarNode {
  const { substitution } = node
  if (substitution !== undefined) return isWhole(substitution) ? node : refuse(node, substitution, path, binding)
  const template = node.value as string
  const out = new TextPieces()
  let from = 0
  let unresolved = false
  for (const match of template.matchAll(TOKEN)) {
    const [all, optional, name, parameter] = match
    const parameters = node.span.source.use?.parameters
    // Without parameters, it is a field of the record.
    const isParameter = parameter !== undefined && parameters !== undefined && parameters.size > 0
    if (name === undefined && !isParameter) continue
    out.push(template.slice(from, match.index), from, match.index)
    from = match.index + all.length
    if (isParameter) {
      const given = parameters.get(parameter)
      if (given === undefined) noParameter(parameter, parameters, node, path, match.index, from, binding.problems)
      const literal = given && literalOf(parameter, given, path, binding)
      unresolved ||= literal === undefined
      out.push(literal?.text ?? 'null', match.index, from, all, literal?.outside === true)
      continue
    }
    const value = binding.env[name]
    if (value !== undefined) addSecret(value)
    // As with `:-`, an empty variable counts as not set.
    if (optional !== undefined) out.push(value ? `optional.of(${JSON.stringify(value)})` : 'optional.none()', match.index, from, all, true)
    else {
      out.push(JSON.stringify(value ?? ''), match.index, from, all, true)
      if (value === undefined) unresolved = true
      if (value === undefined && !binding.lenient) missing(name, node, path, match.index, from, binding)
    }
  }
  if (out.pieces.length === 0) return node
  out.push(template.slice(from), from, template.length)
  return {
    ...node,
    value: out.text,
    substitution: { template, pieces: out.pieces, unresolved, outside: out.pieces.some(piece => piece.outside) },
  }
}

/** The value of a parameter as a literal of the language: it cannot change the expression. */
function literalOf(
  name: string,
  { type, value }: { readonly type: string; readonly value: TreeNode },
  path: Path,
  { env, problems }: Binding,
): { text: string; outside: boolean } | undefined {
  const resolved = resolveTree(value, path, env, '', problems)
  const { unresolved = false, outside = false } = (resolved.kind === 'scalar' && resolved.substitution) || {}
  if (unresolved) return undefined
  if (outside) addSecret(String(toValue(resolved)))
  const text = resolved.kind === 'scalar' && outside ? String(resolved.value) : undefined
  if (text === undefined || type === 'string') return { text: JSON.stringify(toExactValue(resolved)), outside }
  if (type === 'number' ? isJsonNumber(text) : type === 'boolean' && (text === 'true' || text === 'false')) return { text, outside }
  problems.add('CONFIG_USE', value.span, path, `the parameter ${name} is a ${type}; the variable has another value`)
  return undefined
}

function noParameter(
  name: string,
  parameters: Parameters,
  node: ScalarNode,
  path: Path,
  start: number,
  end: number,
  problems: Problems,
): void {
  const near = suggest(name, parameters.keys())
  const span = spanInScalar(node, start, end) ?? nearby(node.span)
  problems.add('CONFIG_USE', span, path, `there is no parameter ${name}; declare it under parameters`, near && `param.${near}`)
}

/** A text with `param.NAME` replaced, to print it outside the file that declares the parameter. */
export const literalParameters = ({ span }: ScalarNode, text: string): string =>
  text.replaceAll(TOKEN, (all, _optional, _name, parameter?: string) => {
    const given = parameter === undefined ? undefined : span.source.use?.parameters.get(parameter)
    if (given === undefined) return all
    const value = toExactValue(given.value)
    const [, body] = /^\$\{([^}]*)\}$/.exec(String(value)) ?? []
    if (body === undefined) return JSON.stringify(value)
    return given.type === 'number' ? `decimal(${asCode(body)})` : given.type === 'boolean' ? `${asCode(body)} == "true"` : asCode(body)
  })

function missing(name: string, node: ScalarNode, path: Path, start: number, end: number, { env, problems }: Binding): void {
  const near = suggest(name, Object.keys(env))
  problems.add(
    'CONFIG_ENV_MISSING',
    spanInScalar(node, start, end) ?? nearby(node.span),
    path,
    `the environment variable ${name} is not set; for a default, write env.?${name}.orValue("…")`,
    near && `env.${near}`,
  )
}

const isReference = (piece: Substitution['pieces'][number]): boolean => piece.variable !== undefined && piece.variable !== '$'

/** The whole value is one reference: the variable contains the expression. An escaped `${` is not a reference. */
function isWhole({ template, pieces }: Substitution): boolean {
  const references = pieces.filter(isReference)
  return references.length === 0 || (references.length === 1 && template.trim() === references[0].variable)
}

function refuse(node: ScalarNode, substitution: Substitution, path: Path, { problems }: Binding): ScalarNode {
  const { template, pieces } = substitution
  const [first, ...others] = pieces.filter(isReference)
  const spanOf = ({ start, end }: typeof first): Span =>
    spanInScalar({ ...node, value: template, substitution: undefined }, start, end) ?? nearby(node.span)
  const [what, instead] = first.variable!.startsWith('${param.') ? ['parameter', 'param'] : ['variable', 'env']
  // The problem below replaces those of missing variables.
  for (const piece of [first, ...others]) problems.withdraw('CONFIG_ENV_MISSING', spanOf(piece))
  problems.add(
    'CONFIG_EXPRESSION',
    spanOf(first),
    path,
    `${first.variable} would insert the ${what} as code; to use its value in an expression, write ${instead}.NAME`,
    template.includes('${file:') ? undefined : modern(template),
  )
  return { ...node, substitution: { ...substitution, unresolved: true } }
}

/** The value of a reference, such as `NAME:-default`, in an expression. */
function asCode(body: string): string {
  if (body.startsWith('param.')) return body
  const [, name, fallback] = /^([A-Za-z_]\w*)(?::-([^]*))?$/.exec(body) ?? ['', body]
  return fallback === undefined ? `env.${name}` : `env.?${name}.orValue(${JSON.stringify(fallback)})`
}

/** Suggests the expression with `env.NAME`; a reference outside quotes is converted to a number. */
function modern(template: string): string {
  return template.replaceAll(
    /"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|\$\{([^}]*)\}/g,
    (all, double?: string, single?: string, bare?: string) => {
      if (bare !== undefined) return bare.startsWith('param.') ? bare : `decimal(${asCode(bare)})`
      const quote = all[0]
      const parts = (double ?? single)!
        .split(/(\$\{[^}]*\})/)
        .filter(part => part !== '')
        .map(part => (part.startsWith('${') ? asCode(part.slice(2, -1)) : `${quote}${part}${quote}`))
      if (!all.includes('${')) return all
      return parts.length === 1 ? parts[0] : `(${parts.join(' + ')})`
    },
  )
}
