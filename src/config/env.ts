/** `${VAR}`, `${VAR:-default}`, `${file:path}` in parsed strings, never in the raw text: a value cannot change the structure of the file. */
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Problems } from './problems.ts'
import { spanInScalar } from './scalar.ts'
import { suggest } from '../kit/text/suggest.ts'
import { nearby, type Path, type ScalarNode, type Substitution, type TreeNode } from './tree.ts'

/** Key of an environment in which `${file:path}` is not read. */
export const NO_FILES = Symbol('no files')

export type Env = Readonly<Record<string, string | undefined>> & { readonly [NO_FILES]?: true }

const MAX_FILE = 65_536

export type EnvError = {
  readonly code: 'CONFIG_ENV_MISSING' | 'CONFIG_ENV_SYNTAX' | 'CONFIG_ENV_FILE'
  readonly start: number
  readonly end: number
  readonly message: string
  readonly suggestion?: string
}

export interface Replaced {
  readonly text: string
  readonly substitution: Substitution
  readonly errors: readonly EnvError[]
}

/** Replaces parts of a template, and records which part of the result comes from where. */
export class TextPieces {
  text = ''
  readonly pieces: Substitution['pieces'][number][] = []

  /** @param value text for `start` to `end` of the template. @param variable the reference that it replaces */
  push(value: string, start: number, end: number, variable?: string, outside = false): void {
    if (start === end) return
    const at = this.text.length
    this.pieces.push({ start, end, at, to: at + value.length, variable, ...(outside ? { outside: true } : {}) })
    this.text += value
  }
}

/** @param base base folder of `file:` paths. @returns undefined if the text has no references */
export function substitute(template: string, env: Env, base: string): Replaced | undefined {
  if (!template.includes('${')) return undefined
  const errors: EnvError[] = []
  const out = new TextPieces()
  const near = nearestIn(env)
  let replaced = false
  let i = 0
  while (i < template.length) {
    const open = template.indexOf('${', i)
    if (open < 0) break
    if (template[open - 1] === '$' && open > i) {
      out.push(template.slice(i, open - 1), i, open - 1)
      out.push('${', open - 1, open + 2, '$')
      i = open + 2
      continue
    }
    out.push(template.slice(i, open), i, open)
    const close = template.indexOf('}', open)
    const end = close < 0 ? template.length : close + 1
    const result =
      close < 0 ? syntax(open, end, '${ is not closed') : reference(template.slice(open + 2, close), open, end, env, base, near)
    if ('text' in result) out.push(result.text, open, end, template.slice(open, end), result.outside)
    else {
      errors.push(result)
      out.push('', open, end, template.slice(open, end))
    }
    replaced = true
    i = end
  }
  out.push(template.slice(i), i, template.length)
  // `$${` alone is an escape, not a reference: the value stays a string.
  return {
    text: out.text,
    errors,
    substitution: { template, pieces: out.pieces, unresolved: errors.length > 0, outside: replaced && out.pieces.some(p => p.outside) },
  }
}

interface Value {
  readonly text: string
  /** From a variable or a file; false: the default in the file. */
  readonly outside: boolean
}

/** Names per text that are searched for: a text of references to missing variables would take seconds. */
const MAX_SEARCHED = 50

function nearestIn(env: Env): (name: string) => string | undefined {
  const found = new Map<string, string | undefined>()
  return name => {
    if (!found.has(name) && found.size < MAX_SEARCHED) found.set(name, suggest(name, Object.keys(env)))
    return found.get(name)
  }
}

function reference(
  body: string,
  start: number,
  end: number,
  env: Env,
  base: string,
  nearest: (name: string) => string | undefined,
): Value | EnvError {
  if (body.startsWith('file:')) {
    if (env[NO_FILES]) return { code: 'CONFIG_ENV_FILE', start, end, message: '${file:…} is not read with --no-plugins' }
    return readSecret(body.slice(5), start, end, base)
  }
  const match = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([^]*))?$/.exec(body)
  if (!match) return syntax(start, end, `\${${body}} is not a reference: write \${VAR}, \${VAR:-default} or \${file:/path}`)
  const [, name, fallback] = match
  const value = env[name]
  // As in a shell, `:-` also applies to an empty variable.
  if (fallback !== undefined && (value === undefined || value === '')) return { text: fallback, outside: false }
  if (value !== undefined) return { text: value, outside: true }
  const near = nearest(name)
  return {
    code: 'CONFIG_ENV_MISSING',
    start,
    end,
    message: `the environment variable ${name} is not set`,
    ...(near ? { suggestion: `\${${near}}` } : {}),
  }
}

const syntax = (start: number, end: number, message: string): EnvError => ({ code: 'CONFIG_ENV_SYNTAX', start, end, message })

function readSecret(path: string, start: number, end: number, base: string): Value | EnvError {
  const failed = (message: string): EnvError => ({ code: 'CONFIG_ENV_FILE', start, end, message })
  if (path === '' || path.includes('\0')) return failed('${file:…} needs a path')
  try {
    const full = resolve(base, path)
    const stat = statSync(full)
    // Reading a pipe or a device would never end.
    if (!stat.isFile()) return failed(`${path} is not a file`)
    if (stat.size > MAX_FILE) return failed(`${path} is larger than 64 KB`)
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(full)).replace(/[\r\n]+$/, ''), outside: true }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return failed(
      `${path} ${code === 'ENOENT' ? 'does not exist' : code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'is not UTF-8 text' : `cannot be read (${code})`}`,
    )
  }
}

/** A copy of the tree with every string leaf replaced. With `lenient`, unresolved references are allowed (a disabled step). */
export function resolveTree(node: TreeNode, path: Path, env: Env, base: string, problems: Problems, lenient = false): TreeNode {
  if (node.kind === 'scalar') return resolveScalar(node, path, env, base, lenient ? undefined : problems)
  if (node.kind === 'seq')
    return { ...node, items: node.items.map((item, i) => resolveTree(item, [...path, i], env, base, problems, lenient)) }
  const entries = new Map(
    [...node.entries].map(([k, e]) => [k, { key: e.key, value: resolveTree(e.value, [...path, k], env, base, problems, lenient) }]),
  )
  return { ...node, entries }
}

export function resolveScalar(node: ScalarNode, path: Path, env: Env, base: string, problems: Problems | undefined): ScalarNode {
  if (typeof node.value !== 'string') return node
  const result = substitute(node.value, env, base)
  if (!result) return node
  for (const e of result.errors)
    problems?.add(e.code, spanInScalar(node, e.start, e.end) ?? nearby(node.span), path, e.message, e.suggestion)
  return { ...node, value: result.text, substitution: result.substitution }
}
