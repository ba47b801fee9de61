/** Checks the value of messages against a JSON Schema. */
import type { ValidateConfig } from '../generated/config-types.ts'
import { type ConfigProblem, DataError, defineTransform } from '../contract/plugin.ts'
import { messageHeader } from '../kit/dead-letter/headers.ts'
import { compileSchema, type Validate } from './validate/json-schema.ts'
import schema from './validate.schema.json' with { type: 'json' }

export default defineTransform<ValidateConfig>({
  type: 'validate',
  schema,
  validateConfig,
  ports: config => (config.on_invalid === 'port' ? ['invalid'] : []),
  create(config) {
    const problemOf = validator(config)
    const toPort = config.on_invalid === 'port'
    return {
      process(messages, out) {
        for (const m of messages) {
          const problem = problemOf(m.value)
          if (problem === undefined) out.emit(m)
          else if (!toPort) out.fail(m, new DataError(problem))
          else {
            m.headers = [...(m.headers ?? []), messageHeader(problem)]
            out.emitTo('invalid', m)
          }
        }
      },
    }
  },
})

function validateConfig(config: ValidateConfig): ConfigProblem[] {
  const inline = config.schema !== undefined
  const file = config.schema_file !== undefined
  if (!inline && !file) return [{ path: [], message: 'needs a schema or a schema_file' }]
  if (inline && file) return [{ path: ['schema_file'], message: 'write schema or schema_file, not both' }]
  const compiled = compileSchema(config)
  return 'problem' in compiled ? [compiled.problem] : []
}

/** One per pipeline, not per lane: compilation takes milliseconds. */
const validators = new WeakMap<ValidateConfig, Validate>()

function validator(config: ValidateConfig): Validate {
  let validate = validators.get(config)
  if (!validate) {
    const compiled = compileSchema(config)
    if ('problem' in compiled) throw new Error(compiled.problem.message)
    validators.set(config, (validate = compiled.validate))
  }
  return validate
}
