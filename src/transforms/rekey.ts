/** Changes the key of messages. */
import type { RekeyConfig } from '../generated/config-types.ts'
import { compile } from '../expressions/index.ts'
import { DataError, defineTransform } from '../contract/plugin.ts'
import { failOn } from '../kit/fail.ts'
import { show } from '../kit/values/fields.ts'
import { keyText } from '../kit/values/key.ts'
import schema from './rekey.schema.json' with { type: 'json' }

export default defineTransform<RekeyConfig>({
  type: 'rekey',
  schema,
  create({ key, allow_null }) {
    const expression = compile(key)
    const keyOf = (result: unknown): string | null => {
      if (result === null && allow_null) return null
      const text = keyText(result)
      if (text !== undefined) return text
      throw new DataError(
        `'${key}' gave ${show(result)}, which is not a key${result === null ? ' (to write records without a key, set allow_null)' : ''}`,
      )
    }
    return {
      process(messages, out) {
        for (const m of messages) {
          try {
            m.key = keyOf(expression.evaluate(m))
          } catch (error) {
            failOn(m, error, out)
            continue
          }
          out.emit(m)
        }
      },
    }
  },
})
