/** Lets a message pass when its value fits a JSON Schema. */
import type { ValidateConfig } from '../generated/config-types.ts'
import { type ConfigProblem, DataError, defineTransform } from '../contract/plugin.ts'
import { compileSchema, explain, loadSchema, type Validate } from './validate/json-schema.ts'
import { withPlainNumbers } from '../kit/values/records.ts'
import schema from './validate.schema.json' with { type: 'json' }

export default defineTransform<ValidateConfig>({
  type: 'validate',
  schema,
  validateConfig,
  create(config) {
    const fits = validator(config)
    return {
      process(messages, out) {
        for (const m of messages) {
          if (fits(withPlainNumbers(m.value))) out.emit(m)
          else out.fail(m, new DataError(explain(fits.errors!)))
        }
      },
    }
  },
})

function validateConfig(config: ValidateConfig): ConfigProblem[] {
  const inline = config.schema !== undefined
  const file = config.schema_file !== undefined
  if (!inline && !file) return [{ path: [], message: 'needs a schema or a schema_file' }]
  if (inline && file) return [{ path: ['schema_file'], message: 'schema and schema_file exclude each other' }]
  const loaded = loadSchema(config)
  if ('problem' in loaded) return [{ path: ['schema_file'], message: loaded.problem }]
  const compiled = compileSchema(loaded.schema)
  if ('validate' in compiled) return []
  // Inside a file there is no place in the pipeline to point at.
  if (!inline)
    return compiled.problems.map(p => ({
      path: ['schema_file'],
      message: `${p.path.length > 0 ? `/${p.path.join('/')} ` : ''}${p.message}`,
      suggestion: p.suggestion,
    }))
  return compiled.problems.map(p => ({ ...p, path: ['schema', ...p.path] }))
}

/** One per pipeline, not per lane: to compile takes milliseconds. */
const validators = new WeakMap<ValidateConfig, Validate>()

function validator(config: ValidateConfig): Validate {
  let validate = validators.get(config)
  if (!validate) {
    const loaded = loadSchema(config)
    if ('problem' in loaded) throw new Error(loaded.problem)
    const compiled = compileSchema(loaded.schema)
    if ('problems' in compiled) throw new Error(compiled.problems[0].message)
    validators.set(config, (validate = compiled.validate))
  }
  return validate
}
