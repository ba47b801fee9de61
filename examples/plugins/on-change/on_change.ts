/** Passes a record only when a field has changed since the last record of the same key that passed. */
import { type ConfigProblem, DataError, defineTransform } from 'pipeline-runner'
import { getter, keyJson } from 'pipeline-runner/kit'
import type { OnChangeConfig } from './on_change.config.ts'
import schema from './on_change.schema.json' with { type: 'json' }

/** What is remembered of a key. JSON, because it is saved with the checkpoint. */
type Passed = { value: string; time: number }

export default defineTransform<OnChangeConfig>({
  type: 'on_change',
  schema,
  stateful: true,

  validateConfig({ field, by }): ConfigProblem[] {
    return field === by ? [{ path: ['field'], message: 'must be another field than by: within one key it never changes' }] : []
  },

  create({ field, by, repeat_after = Number.POSITIVE_INFINITY }, ctx) {
    const passed = ctx.state<Passed>('passed')
    const [valueOf, keyOf] = [getter(field), getter(by)]
    return {
      process(messages, out) {
        for (const m of messages) {
          const [key, value] = [keyOf(m.value), valueOf(m.value)]
          if (key === undefined || value === undefined) {
            out.fail(m, new DataError(`${key === undefined ? by : field} is missing`))
            continue
          }
          const [name, text] = [keyJson(key), keyJson(value)]
          const last = passed.get(name)
          if (last?.value === text && m.time - last.time < repeat_after) continue
          passed.set(name, { value: text, time: m.time })
          out.emit(m)
        }
      },
    }
  },
})
