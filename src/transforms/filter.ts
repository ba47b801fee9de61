/** Lets a message pass when a condition holds. */
import type { FilterConfig } from '../config.gen.ts'
import { compile } from '../expressions/index.ts'
import { DataError, defineTransform } from '../plugin.ts'
import schema from './filter.schema.json' with { type: 'json' }
import { failOn } from './lib/fail.ts'
import { show } from './lib/fields.ts'

export default defineTransform<FilterConfig>({
  type: 'filter',
  schema,
  create({ condition }) {
    const expression = compile(condition)
    return {
      process(messages, out) {
        for (const m of messages) {
          try {
            const pass = expression.evaluate(m)
            if (pass === true) out.emit(m)
            else if (pass !== false) throw new DataError(`'${condition}' gave ${show(pass)}, not true or false`)
          } catch (error) {
            failOn(m, error, out)
          }
        }
      },
    }
  },
})
