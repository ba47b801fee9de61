/** The text of an expression here, for a tree of Bloblang or VRL. */
import { type Path, type Tree, Untranslatable } from './tree.ts'

const RESERVED = new Set(
  'value meta env in true false null as break const continue else for function if import let loop package namespace return var void while has'.split(
    ' ',
  ),
)
const isName = (part: string | number): part is string => typeof part === 'string' && /^[A-Za-z_]\w*$/.test(part)

/** @throws {Untranslatable} with the part that has no translation */
export function render(tree: Tree): string {
  return textOf(tree, 0, false)
}

export function pathText(path: Path, explicit = false): string {
  const [first, ...rest] = path
  if (first === undefined) return 'value'
  const start = !explicit && isName(first) && !RESERVED.has(first) ? first : `value${access(first)}`
  return start + rest.map(access).join('')
}

const access = (part: string | number): string => (isName(part) && !RESERVED.has(part) ? `.${part}` : `[${JSON.stringify(part)}]`)
/** As an optional; undefined fields give none. */
const optional = (path: Path): string =>
  `value${path.map(p => (isName(p) && !RESERVED.has(p) ? `.?${p}` : `[?${JSON.stringify(p)}]`)).join('')}`

const LEVELS: Readonly<Record<string, number>> = {
  '||': 1,
  '&&': 2,
  '==': 3,
  '!=': 3,
  '<': 3,
  '<=': 3,
  '>': 3,
  '>=': 3,
  '+': 4,
  '-': 4,
  '*': 5,
  '/': 5,
  '%': 5,
}

/** @param level of the operator around it @param inside a lambda, whose parameter may have the name of a field */
function textOf(tree: Tree, level: number, inside: boolean): string {
  const of = (t: Tree, l = 0): string => textOf(t, l, inside)
  const wrap = (own: number, text: string): string => (own < level ? `(${text})` : text)
  switch (tree.kind) {
    case 'literal':
      return JSON.stringify(tree.value)
    case 'regex':
      return JSON.stringify(tree.pattern)
    case 'field':
      return pathText(tree.path, inside)
    case 'local':
      return tree.name
    case 'meta':
      return metaText(tree.name)
    case 'env':
      return `env.${tree.name}`
    case 'not':
      return wrap(6, `!${of(tree.of, 7)}`)
    case 'minus':
      return wrap(6, `-${of(tree.of, 7)}`)
    case 'binary':
      return binary(tree, level, of)
    case 'if':
      return wrap(0.5, `${of(tree.condition, 1)} ? ${branch(tree.yes, tree.otherwise, of)} : ${branch(tree.otherwise, tree.yes, of)}`)
    case 'list':
      return `[${tree.items.map(i => of(i)).join(', ')}]`
    case 'object':
      return `{${tree.entries.map(([key, value]) => `${JSON.stringify(key)}: ${of(value)}`).join(', ')}}`
    case 'member':
      return `${of(tree.of, 8)}${access(tree.name)}`
    case 'index':
      return `${of(tree.of, 8)}[${of(tree.at)}]`
    case 'call':
      return call(tree, inside)
    case 'deleted':
      throw new Untranslatable('deleted() inside an expression has no translation')
    case 'nothing':
      throw new Untranslatable('an if without else leaves the value as it was; write what it is otherwise')
    case 'lambda':
      throw new Untranslatable('a lambda has no translation here')
  }
}

function binary({ op, left, right }: Extract<Tree, { kind: 'binary' }>, level: number, of: (t: Tree, l?: number) => string): string {
  if (op === '|' || op === '??') return orElse(left, right, of)
  const nothing = isNull(right) ? left : isNull(left) ? right : undefined
  if (nothing && (op === '==' || op === '!=')) {
    const text = nothing.kind === 'field' && nothing.path.length > 0 ? `${optional(nothing.path)}.orValue(null)` : of(nothing, 4)
    return level > 3 ? `(${text} ${op} null)` : `${text} ${op} null`
  }
  const own = LEVELS[op]
  if (own === undefined) throw new Untranslatable(`the operator ${op} has no translation`)
  // 1 / 2 is 0 here: a whole number in the text of an expression divides without a remainder.
  const number = (t: Tree, l: number): string =>
    op === '/' && t.kind === 'literal' && typeof t.value === 'number' && Number.isInteger(t.value) ? `${t.value}.0` : of(t, l)
  const text = `${number(left, own)} ${op} ${number(right, own + 1)}`
  return own < level ? `(${text})` : text
}

const isNull = (tree: Tree): boolean => tree.kind === 'literal' && tree.value === null

/** Also where the field is null. */
function orElse(left: Tree, right: Tree, of: (t: Tree, l?: number) => string): string {
  if (left.kind === 'field' && left.path.length > 0) return `(${optional(left.path)}.orValue(null) != null ? ${of(left)} : ${of(right)})`
  if (left.kind === 'meta' && metaText(left.name).startsWith('meta.headers'))
    return `meta.headers[?${JSON.stringify(left.name)}].orValue(${of(right)})`
  throw new Untranslatable('a default for an expression that fails has no translation, only one for a field: the record goes to the dlq')
}

/** Both branches must have one type; that of a field is open. */
const branch = (tree: Tree, other: Tree, of: (t: Tree, l?: number) => string): string => {
  const fixed = tree.kind === 'literal' && !(other.kind === 'literal' && typeof other.value === typeof tree.value && !isNull(tree))
  return fixed || tree.kind === 'list' || tree.kind === 'object' ? `dyn(${of(tree)})` : of(tree, 1)
}

const META: Readonly<Record<string, string>> = {
  kafka_key: 'meta.key',
  kafka_topic: 'meta.topic',
  kafka_partition: 'meta.partition',
  kafka_offset: 'meta.offset',
  kafka_timestamp_ms: 'meta.time',
  path: 'meta.lane',
}

const metaText = (name: string): string => (Object.hasOwn(META, name) ? META[name] : `meta.headers[${JSON.stringify(name)}]`)

type Make = (x: string, args: readonly string[]) => string
const method =
  (name: string): Make =>
  (x, args) =>
    `${x}.${name}(${args.join(', ')})`
const wrapped =
  (name: string): Make =>
  (x, args) =>
    `${name}(${[x, ...args].join(', ')})`
const same: Make = x => x

/** Methods of Bloblang and functions of VRL, by name and number of arguments after the first. */
const CALLS: Readonly<Record<string, Make>> = {
  'uppercase/0': method('upper'),
  'upcase/0': method('upper'),
  'lowercase/0': method('lower'),
  'downcase/0': method('lower'),
  'trim/0': method('trim'),
  'strip_whitespace/0': method('trim'),
  'contains/1': method('contains'),
  'has_prefix/1': method('startsWith'),
  'starts_with/1': method('startsWith'),
  'has_suffix/1': method('endsWith'),
  'ends_with/1': method('endsWith'),
  'replace_all/2': method('replace'),
  'replace/2': method('replace'),
  'split/1': method('split'),
  'join/1': method('join'),
  'length/0': wrapped('size'),
  'strlen/0': wrapped('size'),
  'string/0': wrapped('string'),
  'to_string/0': wrapped('string'),
  'number/0': wrapped('decimal'),
  'to_float/0': wrapped('decimal'),
  'int64/0': wrapped('int'),
  'to_int/0': wrapped('int'),
  'bool/0': wrapped('bool'),
  'to_bool/0': wrapped('bool'),
  'round/0': wrapped('round'),
  'round/1': wrapped('round'),
  'floor/0': wrapped('floor'),
  'ceil/0': wrapped('ceil'),
  'abs/0': wrapped('abs'),
  'includes/1': (x, [item]) => `(${item} in ${x})`,
  'index/1': (x, [at]) => `${x}[${at}]`,
  // What the source reads is JSON already.
  'int/0': same,
  'float/0': same,
  'object/0': same,
  'array/0': same,
  'not_null/0': same,
}
const REGEX = new Set(['re_match', 'match'])
const LAMBDAS: Readonly<Record<string, string>> = { map_each: 'map', filter: 'filter', any: 'exists', all: 'all' }
const CLOCKS = new Set([
  'now',
  'timestamp_unix',
  'timestamp_unix_nano',
  'timestamp_unix_milli',
  'uuid_v4',
  'uuid_v7',
  'random_int',
  'random_float',
  'random_bool',
  'ksuid',
  'nanoid',
  'ulid',
  'count',
  'counter',
  'hostname',
  'get_hostname',
])

function call({ name, of: target, args: given }: Extract<Tree, { kind: 'call' }>, inside: boolean): string {
  if (CLOCKS.has(name))
    throw new Untranslatable(`${name}() differs in each run, and a replay must give the same result; meta.time is the time of the record`)
  const [x, ...args] = target ? [target, ...given] : given
  if (x === undefined) throw new Untranslatable(`${name}() has no translation`)
  const of = (t: Tree, l = 0): string => textOf(t, l, inside)
  if (name === 'or' && args.length === 1) return orElse(x, args[0], of)
  if (name === 'exists' && x.kind === 'field') {
    const more = args[0]?.kind === 'literal' ? String(args[0].value).split('.') : []
    return `${optional([...x.path, ...more])}.hasValue()`
  }
  if ((name === 'is_null' || name === 'is_nullish') && args.length === 0)
    return binary({ kind: 'binary', op: '==', left: x, right: { kind: 'literal', value: null } }, 4, of)
  if (REGEX.has(name) && args.length === 1) {
    if (args[0].kind !== 'regex' && args[0].kind !== 'literal') throw new Untranslatable('a pattern must be a literal')
    return `${of(x, 8)}.re(${of(args[0])})`
  }
  if (Object.hasOwn(LAMBDAS, name) && args[0]?.kind === 'lambda')
    return `${of(x, 8)}.${LAMBDAS[name]}(${args[0].name}, ${textOf(args[0].body, 0, true)})`
  if (args.some(a => a.kind === 'regex')) throw new Untranslatable(`${name}() with a pattern has no translation`)
  // Without a target it is VRL, where it asserts the type.
  if (!target && (name === 'string' || name === 'bool')) return of(x, 8)
  const make = CALLS[`${name}/${args.length}`]
  if (!Object.hasOwn(CALLS, `${name}/${args.length}`)) throw new Untranslatable(`${name}() has no translation`)
  return make(
    of(x, 8),
    args.map(a => of(a)),
  )
}
