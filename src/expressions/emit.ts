/** Generates JS for one node of a checked tree. Supports numbers, strings and booleans; the interpreter evaluates the rest. */
import { type CelNode, FIELD, META, VALUE } from './cel.ts'
import { type Atom, type Code, type Kind, UNSUPPORTED } from './code.ts'
import { emitFunction, emitMethod } from './emit-calls.ts'
import { isBinary } from './numbers.ts'

export function emit(node: CelNode, code: Code): Atom {
  if (node.meta.alternate) throw UNSUPPORTED
  const { op, args } = node
  switch (op) {
    case 'value':
      return literal(args)
    case 'id':
      return variable(args, code)
    case '.':
      return access(args[0], args[1], code)
    case '[]':
      return index(args[0], args[1], code)
    case '?:':
      return ternary(args, code)
    case '&&':
    case '||':
      return logical(op, args, code)
    case '!_':
      return { js: `(!${code.need(emit(args, code), 'bool')})`, kind: 'bool' }
    case '-_':
      return negative(emit(args, code), code)
    case '==':
    case '!=':
      return equal(op, emit(args[0], code), emit(args[1], code), code)
    case '<':
    case '<=':
    case '>':
    case '>=':
      return compare(op, emit(args[0], code), emit(args[1], code), code)
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
      return arithmetic(op, emit(args[0], code), emit(args[1], code), isBinary(node), code)
    case 'in':
      return member(args[0], args[1], code)
    case 'call':
      return node.meta.macro ? has(node.meta.macro.args![0], code) : emitFunction(args[0], args[1], code, emit)
    case 'rcall':
      if (node.meta.macro && args[0] !== 'orValue') throw UNSUPPORTED
      return node.meta.macro
        ? orValue(node.meta.macro.receiver!, node.meta.macro.arg!, code)
        : emitMethod(args[0], args[1], args[2], code, emit)
    default:
      throw UNSUPPORTED
  }
}

/** The JS of a node as an output, checked to be JSON. Map and list literals are also supported here. */
export function emitOutput(node: CelNode, code: Code): string {
  if (!node.meta.alternate && node.op === 'list') return `[${node.args.map((n: CelNode) => emitOutput(n, code)).join(', ')}]`
  const literalKeys = node.op === 'map' && node.args.every(([key]: [CelNode]) => key.op === 'value' && typeof key.args === 'string')
  if (!node.meta.alternate && literalKeys)
    return `{ ${node.args.map(([key, value]: [CelNode, CelNode]) => `${JSON.stringify(key.args)}: ${emitOutput(value, code)}`).join(', ')} }`
  const atom = emit(node, code)
  const kind = code.kindOf(atom)
  if (kind === 'num') {
    const x = /^\w+$/.test(atom.js) ? atom.js : code.store(atom.js)
    if (node.op !== 'value') code.bailIf(`!isFinite(${x})`)
    return x
  }
  if (kind === 'dyn' || kind === 'out') code.bailIf(`!isJson(${atom.js})`)
  return atom.js
}

function literal(value: unknown): Atom {
  switch (typeof value) {
    case 'number':
      return { js: `${value}`, kind: 'num' }
    case 'bigint':
      if (!Number.isSafeInteger(Number(value))) throw UNSUPPORTED
      return { js: `${value}`, kind: 'int' }
    case 'string':
      return { js: JSON.stringify(value), kind: 'str' }
    case 'boolean':
      return { js: `${value}`, kind: 'bool' }
    default:
      if (value === null) return { js: 'null', kind: 'null' }
      throw UNSUPPORTED
  }
}

function variable(name: string, code: Code): Atom {
  if (name === VALUE) return code.here('r')
  if (name === META || !name.startsWith(FIELD)) throw UNSUPPORTED
  return code.here(code.load(name.slice(FIELD.length)))
}

function access(owner: CelNode, name: string, code: Code): Atom {
  if (owner.op === 'id' && owner.args === META) {
    if (name === 'key' || name === 'time' || name === 'offset') return code.here(code.store(`m.${name}`))
    if (name === 'topic' || name === 'partition' || name === 'source' || name === 'lane' || name === 'file')
      return code.here(code.store(`m.origin?.${name}`))
    if (name === 'line') return code.here(code.store('(m.origin?.lines ? m.offset : undefined)'))
    throw UNSUPPORTED
  }
  return code.here(field(owner, name, code))
}

/** `value.price` is the same as `price`. */
function field(owner: CelNode, name: string, code: Code): string {
  return owner.op === 'id' && owner.args === VALUE ? code.load(name) : code.fieldOf(emit(owner, code), name)
}

function index(owner: CelNode, at: CelNode, code: Code): Atom {
  if (at.op !== 'value') throw UNSUPPORTED
  if (typeof at.args === 'string') return access(owner, at.args, code)
  if (typeof at.args !== 'bigint') throw UNSUPPORTED
  const list = emit(owner, code)
  const kind = code.kindOf(list)
  if (kind !== 'dyn' && kind !== 'strs') throw UNSUPPORTED
  if (kind === 'dyn') code.bailIf(`!isArray(${list.js})`)
  const item = code.here(code.store(`${list.js}[${at.args}]`))
  return kind === 'strs' ? { js: item.js, kind: 'str' } : item
}

const join = (a: Kind, b: Kind): Kind => (a === b ? a : [a, b].some(k => k === 'int' || k === 'out' || k === 'strs') ? 'out' : 'dyn')

function ternary([condition, yes, no]: CelNode[], code: Code): Atom {
  const test = code.need(emit(condition, code), 'bool')
  return choose(
    test,
    () => emit(yes, code),
    () => emit(no, code),
    code,
  )
}

/** `test ? yes : no`, where each side may have its own statements. */
function choose(test: string, yes: () => Atom, no: () => Atom, code: Code): Atom {
  const a = code.branch(yes)
  const b = code.branch(no)
  const kind = join(a.result.kind, b.result.kind)
  if (kind === 'strs') throw UNSUPPORTED
  if (kind !== 'dyn' && kind !== 'out' && a.statements.length + b.statements.length === 0)
    return { js: `(${test} ? ${a.result.js} : ${b.result.js})`, kind }
  const t = code.fresh()
  code.line(`let ${t}`)
  code.line(
    `if (${test}) {\n${[...a.statements, `${t} = ${a.result.js}`].join('\n')}\n} else {\n${[...b.statements, `${t} = ${b.result.js}`].join('\n')}\n}`,
  )
  return { js: t, kind }
}

function logical(op: '&&' | '||', [left, right]: CelNode[], code: Code): Atom {
  const a = code.need(emit(left, code), 'bool')
  const { statements, result: b } = code.branch(() => code.need(emit(right, code), 'bool'))
  if (statements.length === 0) return { js: `(${a} ${op} ${b})`, kind: 'bool' }
  const t = code.fresh()
  code.line(`let ${t} = ${op === '||'}`)
  code.line(`if (${op === '||' ? `!(${a})` : a}) {\n${[...statements, `${t} = ${b}`].join('\n')}\n}`)
  return { js: t, kind: 'bool' }
}

// An integer is never -0, because of `0 - x` and `+ 0`.
function negative(x: Atom, code: Code): Atom {
  return x.kind === 'int' ? { js: `(0 - ${x.js})`, kind: 'int' } : { js: `(-${code.need(x, 'num')})`, kind: 'num' }
}

const number = (k: Kind): boolean => k === 'num' || k === 'int'

function equal(op: '==' | '!=', a: Atom, b: Atom, code: Code): Atom {
  const [ka, kb] = [code.kindOf(a), code.kindOf(b)]
  if (number(ka) && number(kb)) return same(op, a.js, b.js)
  if (ka === 'null' && kb === 'null') throw UNSUPPORTED
  if (ka === 'null' || kb === 'null') {
    const other = ka === 'null' ? b : a
    if (code.kindOf(other) !== 'dyn') throw UNSUPPORTED
    return same(op, code.primitive(other, true), 'null')
  }
  if (ka === 'dyn' && kb === 'dyn') {
    const [x, y] = [code.primitive(a, false), code.light(b)]
    code.bailIf(`typeof ${x} !== typeof ${y}`)
    return same(op, x, y)
  }
  if (number(ka) || number(kb)) return same(op, code.numeric(a), code.numeric(b))
  const kind = ka === 'dyn' ? kb : ka
  if (kind !== 'str' && kind !== 'bool') throw UNSUPPORTED
  return same(op, code.need(a, kind), code.need(b, kind))
}

const same = (op: '==' | '!=', a: string, b: string): Atom => ({ js: `(${a} ${op}= ${b})`, kind: 'bool' })

function compare(op: string, a: Atom, b: Atom, code: Code): Atom {
  const [ka, kb] = [code.kindOf(a), code.kindOf(b)]
  if (ka === 'dyn' && kb === 'dyn') {
    const [x, y] = lightPair(a, b, code)
    return { js: `(typeof ${x} === 'string' ? compareTexts(${x}, ${y}) ${op} 0 : ${x} ${op} ${y})`, kind: 'bool' }
  }
  if (ka === 'str' || kb === 'str') return { js: `(compareTexts(${code.need(a, 'str')}, ${code.need(b, 'str')}) ${op} 0)`, kind: 'bool' }
  return { js: `(${code.numeric(a)} ${op} ${code.numeric(b)})`, kind: 'bool' }
}

/** Two strings or two numbers. */
function lightPair(a: Atom, b: Atom, code: Code): [string, string] {
  const [x, y] = [code.light(a), code.light(b)]
  code.bailIf(`typeof ${x} !== typeof ${y} || (typeof ${x} !== 'number' && typeof ${x} !== 'string')`)
  return [x, y]
}

function arithmetic(op: string, a: Atom, b: Atom, binary: boolean, code: Code): Atom {
  const [ka, kb] = [code.kindOf(a), code.kindOf(b)]
  if (op === '+' && (ka === 'str' || kb === 'str')) return { js: `(${code.need(a, 'str')} + ${code.need(b, 'str')})`, kind: 'str' }
  if (op === '+' && ka === 'dyn' && kb === 'dyn') {
    const [x, y] = lightPair(a, b, code)
    const sum = code.store(binary ? `${x} + ${y}` : `typeof ${x} === 'number' ? fastAdd(${x}, ${y}) : ${x} + ${y}`)
    code.bailIf(`${sum} !== ${sum}`)
    return { js: sum, kind: 'dyn' }
  }
  if (ka === 'int' && kb === 'int') return integer(op, a.js, b.js, code)
  const [x, y] = [code.numeric(a), code.numeric(b)]
  if (binary) return { js: `(${x} ${op} ${y})`, kind: 'num' }
  const result = code.store(`${EXACT[op]}(${x}, ${y})`)
  // Results with more digits than a double are left to the interpreter.
  code.bailIf(`${result} !== ${result}`)
  return { js: result, kind: 'num' }
}

const EXACT: Readonly<Record<string, string>> = { '+': 'fastAdd', '-': 'fastSubtract', '*': 'fastMultiply', '%': 'fastRemainder' }

/** 64-bit integers of CEL as doubles: exact if operands and result are safe, which division by zero is not. */
function integer(op: string, left: string, right: string, code: Code): Atom {
  const [a, b] = [code.store(left), code.store(right)]
  const t = code.store(op === '/' ? `(${a} - ${a} % ${b}) / ${b} + 0` : `${a} ${op} ${b} + 0`)
  code.bailIf(`!isSafe(${t})`)
  return { js: t, kind: 'int' }
}

function member(item: CelNode, list: CelNode, code: Code): Atom {
  const values: unknown[] =
    list.op === 'list' && !list.meta.alternate ? list.args.map((n: CelNode) => (n.op === 'value' ? n.args : undefined)) : []
  const texts = values.every(v => typeof v === 'string')
  const numbers = values.every(v => typeof v === 'number' || (typeof v === 'bigint' && Number.isSafeInteger(Number(v))))
  if (values.length === 0 || (!texts && !numbers)) throw UNSUPPORTED
  const x = emit(item, code)
  const js = texts ? code.need(x, 'str') : code.numeric(x)
  return { js: `${code.constant(new Set<unknown>(texts ? values : values.map(Number)))}.has(${js})`, kind: 'bool' }
}

function has(path: CelNode, code: Code): Atom {
  const [owner, name] = path.args as [CelNode, string]
  if (path.op !== '.' || hasOptional(owner) || isMeta(owner)) throw UNSUPPORTED
  const found = field(owner, name, code)
  // A value that is not JSON (from a plugin) is not inspected by the interpreter either.
  code.bailIf(`typeof ${found} === 'object' && !isJsonType(${found})`)
  return { js: `(${found} !== undefined)`, kind: 'bool' }
}

function orValue(receiver: CelNode, fallback: CelNode, code: Code): Atom {
  if (receiver.op !== '.?' || hasOptional(receiver.args[0]) || isMeta(receiver.args[0])) throw UNSUPPORTED
  const found = field(receiver.args[0], receiver.args[1], code)
  return choose(
    `${found} !== undefined`,
    () => ({ js: found, kind: 'dyn' }),
    () => emit(fallback, code),
    code,
  )
}

const hasOptional = (node: CelNode): boolean => node.op === '.?' || (node.op === '.' && hasOptional(node.args[0]))
const isMeta = (node: CelNode): boolean => (node.op === '.' ? isMeta(node.args[0]) : node.args === META)
