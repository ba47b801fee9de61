/** Compiles expressions: generated code runs first, then the interpreter for records that it does not support. */
import type { Message } from '../contract/plugin.ts'
import { Code } from './code.ts'
import { emitOutput } from './emit.ts'
import { BAIL, type Fast, generate } from './generate.ts'
import { type Evaluate, interpreter } from './interpreter.ts'
import { type Prepared, prepare } from './prepare.ts'
import type { Expression, ExpressionType } from './types.ts'

/** One expression per text for all lanes: an expression has no state, and shared code is optimized better. */
const compiled = new Map<string, Expression>()

/** @throws {Error} if `check` finds problems in the text */
export function compile(text: string): Expression {
  let expression = compiled.get(text)
  if (!expression) compiled.set(text, (expression = new CompiledExpression(prepared(text))))
  return expression
}

export function prepared(text: string): Prepared {
  const result = prepare(text)
  if ('problems' in result) throw new Error(`invalid expression '${text}': ${result.problems[0].message}`)
  return result
}

export const interpreted = ({ text, program, analysis }: Prepared): Evaluate => interpreter(text, program, analysis)

/** Undefined if only the interpreter supports the expression. */
export function generated({ program }: Prepared): Fast | undefined {
  const code = new Code()
  const result = code.attempt(() => emitOutput(program.ast, code))
  return result === undefined ? undefined : generate(code, `return ${result}`)
}

class CompiledExpression implements Expression {
  readonly text: string
  readonly type: ExpressionType
  private readonly fast: Fast | undefined
  private readonly slow: Evaluate

  constructor(p: Prepared) {
    this.text = p.text
    this.type = p.type
    this.fast = generated(p)
    this.slow = interpreted(p)
  }

  evaluate(message: Message): unknown {
    const value = message.value
    if (this.fast) {
      try {
        const result = this.fast(value, message)
        if (result !== BAIL) return result
      } catch {
        // Too deep or too long: the error of the interpreter is reported.
      }
    }
    return this.slow(message)
  }
}
