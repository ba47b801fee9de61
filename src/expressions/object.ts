/** Compiles several expressions to the fields of one new object, with one generated function and one hidden class. */
import { DataError, type Message } from '../contract/plugin.ts'
import { Code } from './code.ts'
import { interpreted, prepared } from './compile.ts'
import { emitOutput } from './emit.ts'
import { BAIL, generate } from './generate.ts'

/** Field name -> expression, or the shape of a nested object. */
export type Shape = { readonly [name: string]: string | Shape }

/** @throws {DataError} if one of the expressions does; the message starts with the path of the field */
export type MakeObject = (message: Message, base?: object) => Record<string, unknown>

/**
 * @param onto the objects start with the fields of `base`; fields of the shape replace or follow them
 * @returns a function that creates the object, with plain JSON values
 * @throws {Error} if an expression is invalid
 */
export function compileObject(shape: Shape, onto = false): MakeObject {
  const fields = leaves(shape, [])
  const compiled = fields.map(f => prepared(f.text))
  const slow = compiled.map(interpreted)
  const names = fields.map((_, i) => `v${i}`)
  const literal = `{ ${onto ? '...base, ' : ''}${objectFields(shape, names.values())} }`
  const make: (base: object | undefined, ...values: unknown[]) => Record<string, unknown> = new Function(
    'base',
    ...names,
    `return ${literal}`,
  ) as never

  const code = new Code()
  compiled.forEach((p, i) => {
    // A field that only the interpreter supports must not disable generated code for the others.
    const js = code.attempt(() => emitOutput(p.program.ast, code)) ?? `slow[${i}](m)`
    code.line(`const v${i} = ${js}`)
  })
  const fast = generate(code, `return make(${['base', ...names].join(', ')})`, { make, slow })

  const explain = (message: Message, base?: object): Record<string, unknown> =>
    make(
      base,
      ...slow.map((evaluate, i) => {
        try {
          return evaluate(message)
        } catch (error) {
          if (error instanceof DataError) throw new DataError(`${fields[i].path.join('.')}: ${error.message}`, error.cause)
          throw error
        }
      }),
    )
  return (message, base) => {
    const value = message.value
    try {
      const result = fast(value, message, base)
      if (result !== BAIL) return result as Record<string, unknown>
    } catch {
      // The interpreter reports which expression failed and why.
    }
    return explain(message, base)
  }
}

function leaves(shape: Shape, path: readonly string[]): { path: readonly string[]; text: string }[] {
  return Object.entries(shape).flatMap(([name, of]) => {
    const at = [...path, name]
    return typeof of === 'string' ? [{ path: at, text: of }] : leaves(of, at)
  })
}

/** Fields in the order of the shape; `[...]` makes `__proto__` an ordinary field. */
function objectFields(shape: Shape, names: Iterator<string>): string {
  const fields = Object.entries(shape).map(([name, of]) => {
    const key = name === '__proto__' ? '["__proto__"]' : JSON.stringify(name)
    return `${key}: ${typeof of === 'string' ? names.next().value : `{ ${objectFields(of, names)} }`}`
  })
  return fields.join(', ')
}
