/** Generates calls of the most common functions; the interpreter evaluates the others. */
import type { CelNode } from './cel.ts'
import { type Atom, type Code, UNSUPPORTED } from './code.ts'
import { pattern } from './implementations.ts'

type Emit = (node: CelNode, code: Code) => Atom

const num = (js: string): Atom => ({ js, kind: 'num' })

export function emitFunction(name: string, args: CelNode[], code: Code, emit: Emit): Atom {
  const [x, y] = args.map(a => emit(a, code))
  switch (name) {
    case 'round':
      if (args.length === 1) return num(`round(${code.numeric(x)}, 0)`)
      if (args[1].op !== 'value' || !(Number(args[1].args) >= 0 && Number(args[1].args) <= 15) || !Number.isInteger(Number(args[1].args)))
        throw UNSUPPORTED
      return num(`round(${code.numeric(x)}, ${args[1].args})`)
    case 'floor':
    case 'ceil':
    case 'abs':
      return num(`Math.${name}(${code.numeric(x)})`)
    case 'min':
    case 'max': {
      // The result is one of the arguments, unchanged.
      const [a, b] = [code.numeric(x), code.numeric(y)]
      // NaN is left to the interpreter.
      for (const [atom, js] of [
        [x, a],
        [y, b],
      ] as const)
        if (atom.kind === 'num') code.bailIf(`${js} !== ${js}`)
      return {
        js: code.store(`${a} ${name === 'min' ? '<=' : '>='} ${b} ? ${x.js} : ${y.js}`),
        kind: x.kind === 'num' && y.kind === 'num' ? 'num' : 'dyn',
      }
    }
    case 'dyn':
      if (x.kind === 'dyn' || x.kind === 'out') return x
      return { js: code.store(x.js), kind: x.kind === 'int' || x.kind === 'strs' ? 'out' : 'dyn' }
    case 'to_string':
      return toText(x, code)
    case 'to_double':
      return toDouble(x, code)
    case 'to_int':
      return toInteger(x, code)
    case 'size':
      return size(x, code)
    case 'parse_time': {
      const texts = args.map(a => code.need(emit(a, code), 'str'))
      const ms = code.store(`readTime(${texts.join(', ')})`)
      code.bailIf(`${ms} !== ${ms}`)
      return num(ms)
    }
    case 'format_time': {
      if (args.length > 1) throw UNSUPPORTED
      const ms = code.store(code.numeric(x))
      code.bailIf(`!(Math.abs(${ms}) <= 8.64e15)`)
      return { js: `formatTime(${ms})`, kind: 'str' }
    }
    default:
      throw UNSUPPORTED
  }
}

export function emitMethod(name: string, receiver: CelNode, args: CelNode[], code: Code, emit: Emit): Atom {
  const x = emit(receiver, code)
  if (name === 'size') return size(x, code)
  const s = code.need(x, 'str')
  const text = (i: number): string => code.need(emit(args[i], code), 'str')
  switch (name) {
    case 'upper':
      return { js: `${s}.toUpperCase()`, kind: 'str' }
    case 'lower':
      return { js: `${s}.toLowerCase()`, kind: 'str' }
    case 'trimmed':
      return { js: `trim(${s})`, kind: 'str' }
    case 'contains':
      return { js: `${s}.includes(${text(0)})`, kind: 'bool' }
    case 'startsWith':
    case 'endsWith':
      return { js: `${s}.${name}(${text(0)})`, kind: 'bool' }
    case 'replace':
      if (args.length > 2) throw UNSUPPORTED
      return { js: `replace(${s}, ${text(0)}, ${text(1)})`, kind: 'str' }
    case 'parts':
      if (args.length > 1) throw UNSUPPORTED
      return { js: code.store(`split(${s}, ${text(0)})`), kind: 'strs' }
    case 'position':
      if (args.length > 1) throw UNSUPPORTED
      return { js: `indexOf(${s}, ${text(0)})`, kind: 'int' }
    case 're':
      return { js: `${code.constant(pattern(args[0].args))}.test(${s})`, kind: 'bool' }
    default:
      throw UNSUPPORTED
  }
}

function toText(x: Atom, code: Code): Atom {
  const kind = code.kindOf(x)
  if (kind === 'str') return { js: x.js, kind }
  if (kind === 'int' || kind === 'bool') return { js: `\`\${${x.js}}\``, kind: 'str' }
  if (kind === 'num') {
    const n = code.store(x.js)
    code.bailIf(`!isFinite(${n})`)
    return { js: `\`\${${n}}\``, kind: 'str' }
  }
  if (kind !== 'dyn') throw UNSUPPORTED
  code.bailIf(`typeof ${x.js} !== 'string' && !isFinite(${x.js})`)
  return { js: `\`\${${x.js}}\``, kind: 'str' }
}

function toDouble(x: Atom, code: Code): Atom {
  const kind = code.kindOf(x)
  if (kind === 'num' || kind === 'int') return { js: x.js, kind: 'num' }
  if (kind !== 'str' && kind !== 'dyn') throw UNSUPPORTED
  // The interpreter reports unreadable text.
  const n = code.store(
    kind === 'str'
      ? `readDouble(${x.js})`
      : `typeof ${x.js} === 'number' ? ${x.js} : typeof ${x.js} === 'string' ? readDouble(${x.js}) : NaN`,
  )
  code.bailIf(`${n} !== ${n}`)
  return { js: n, kind: 'num' }
}

function toInteger(x: Atom, code: Code): Atom {
  if (x.kind === 'int') return x
  const n = code.store(`Math.trunc(${code.need(x, 'num')}) + 0`)
  code.bailIf(`!isSafe(${n})`)
  return { js: n, kind: 'int' }
}

function size(x: Atom, code: Code): Atom {
  const kind = code.kindOf(x)
  if (kind === 'strs') return { js: `${x.js}.length`, kind: 'int' }
  if (kind === 'str') return { js: `characters(${x.js})`, kind: 'int' }
  if (kind !== 'dyn') throw UNSUPPORTED
  const n = code.store(`typeof ${x.js} === 'string' ? characters(${x.js}) : isArray(${x.js}) ? ${x.js}.length : -1`)
  code.bailIf(`${n} < 0`)
  return { js: n, kind: 'int' }
}
