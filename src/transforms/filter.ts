/** Keeps messages for which a condition is true. */
import type { FilterConfig } from '../generated/config-types.ts'
import { compile } from '../expressions/index.ts'
import { DataError, defineTransform } from '../contract/plugin.ts'
import schema from './filter.schema.json' with { type: 'json' }
import { failOn } from '../kit/fail.ts'
import { show } from '../kit/values/fields.ts'

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
