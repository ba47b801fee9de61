/** The files of a new transform plugin. */

export function pluginFiles(name: string): Record<string, string> {
  const schema = {
    description: 'Adds a field with the price, changed by a factor.',
    type: 'object',
    properties: { factor: { description: 'The price is multiplied by it.', type: 'number', exclusiveMinimum: 0, default: 1 } },
    additionalProperties: false,
  }
  return {
    [`${name}.ts`]: `import { DataError, defineTransform } from 'pipeline-runner'
import schema from './${name}.schema.json' with { type: 'json' }

export default defineTransform<{ factor: number }>({
  type: '${name}',
  schema,
  create: ({ factor }) => ({
    process(messages, out) {
      for (const m of messages) {
        const record = m.value as { price?: unknown } | null
        // Goes to the dlq with this reason; the other records continue.
        if (typeof record?.price !== 'number') out.fail(m, new DataError('price is missing'))
        else out.emit(m.derive({ ...record, ${name}: record.price * factor }))
      }
    },
  }),
})
`,
    [`${name}.schema.json`]: `${JSON.stringify(schema, null, 2)}\n`,
    [`${name}.yaml`]: `name: ${name.replaceAll('_', '-')}
plugins: [./${name}.ts]
sources: [{ stdin: {} }]
transforms: [{ ${name}: { factor: 0.9 } }]
sinks: [{ stdout: {} }]
dlq: { file: { path: ${name}.dead.jsonl, envelope: true } }
`,
    [`${name}.test.yaml`]: `tests:
  - name: a record with a price, and one without
    steps:
      - input: [{ values: [{ price: 200 }, { id: 2 }] }]
    expect:
      outputs: [{ value: { price: 200, ${name}: 180 } }]
      dead_letters: [{ step: ${name}, message: price is missing }]
`,
  }
}
