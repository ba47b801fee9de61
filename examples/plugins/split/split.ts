/** Sends each record to the first port whose condition is true. */
import { DataError, defineTransform } from 'pipeline-runner'
import { compile, failOn, show } from 'pipeline-runner/kit'
import type { SplitConfig } from './split.config.ts'
import schema from './split.schema.json' with { type: 'json' }

export default defineTransform<SplitConfig>({
  type: 'split',
  schema,
  ports: ({ ports }) => Object.keys(ports),

  create({ ports }) {
    const routes = Object.entries(ports).map(([port, condition]) => ({ port, condition: compile(condition) }))
    return {
      process(messages, out) {
        for (const m of messages) {
          try {
            const route = routes.find(({ condition }) => {
              const holds = condition.evaluate(m)
              if (typeof holds !== 'boolean') throw new DataError(`'${condition.text}' gave ${show(holds)}, not true or false`)
              return holds
            })
            if (route) out.emitTo(route.port, m)
            else out.emit(m)
          } catch (error) {
            // A DataError fails this message: evaluate throws one for a missing field. Anything else is a bug, and is thrown on.
            failOn(m, error, out)
          }
        }
      },
    }
  },
})
