/** Functions with a namespace: `strings.quote(text)`. Functions of `math` are in functions-math.ts. */
import type { FunctionEntry } from './function-entry.ts'
import { loadCel } from './cel.ts'
import type { OptionalClass } from './macros.ts'
import { quoteText } from './text.ts'

function decode(text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.replaceAll('=', '').length % 4 === 1)
    throw new Error('base64.decode() takes a base64 string')
  return new Uint8Array(Buffer.from(text, 'base64'))
}

/** Zero, empty, false or null. */
function isZero(x: unknown): boolean {
  if (typeof x === 'object' && x !== null) {
    if (Array.isArray(x) || x instanceof Uint8Array) return x.length === 0
    if (x instanceof Map) return x.size === 0
    return Object.getPrototypeOf(x) === Object.prototype ? Object.keys(x).length === 0 : Number(x) === 0
  }
  return !x
}

export const NAMESPACED: readonly FunctionEntry[] = [
  {
    name: 'strings.quote',
    form: 'function',
    arity: [1],
    usage: 'strings.quote(text)',
    description: 'The string as a literal, with quotes and escapes.',
    examples: [['strings.quote("a\\nb")', '"a\\nb"']],
    overloads: [['strings.quote(string): string', quoteText]],
  },
  {
    name: 'base64.encode',
    form: 'function',
    arity: [1],
    usage: 'base64.encode(bytes)',
    description: 'Encodes bytes as a base64 string.',
    examples: [['base64.encode(bytes("hello"))', 'aGVsbG8=']],
    overloads: [['base64.encode(bytes): string', (b: Uint8Array) => Buffer.from(b).toString('base64')]],
  },
  {
    name: 'base64.decode',
    form: 'function',
    arity: [1],
    usage: 'base64.decode(text)',
    description: 'Decodes a base64 string to bytes; `string(x)` converts them to a string.',
    examples: [['string(base64.decode("aGVsbG8="))', 'hello']],
    overloads: [['base64.decode(string): bytes', decode]],
  },
  {
    name: 'optional.of',
    form: 'function',
    arity: [1],
    usage: 'optional.of(x)',
    description: 'An optional that has a value.',
    examples: [['optional.of(1).hasValue()', true]],
  },
  {
    name: 'optional.none',
    form: 'function',
    arity: [0],
    usage: 'optional.none()',
    description: 'An optional without a value.',
    examples: [['optional.none().hasValue()', false]],
  },
  {
    name: 'optional.ofNonZeroValue',
    form: 'function',
    arity: [1],
    usage: 'optional.ofNonZeroValue(x)',
    description: 'An optional of the value, empty if the value is 0, empty, false or null.',
    examples: [['optional.ofNonZeroValue("").orValue("none")', 'none']],
    overloads: [
      [
        'optional.ofNonZeroValue(dyn): optional<dyn>',
        (x: unknown) => {
          const Optional = loadCel().Optional as unknown as OptionalClass
          return isZero(x) ? Optional.none() : Optional.of(x)
        },
      ],
    ],
  },
  {
    name: 'cel.bind',
    form: 'function',
    arity: [3],
    usage: 'cel.bind(name, value, expression)',
    description: 'Binds a value to a name for use in the expression.',
    examples: [['cel.bind(x, 2 + 3, x * x)', 25]],
  },
]
